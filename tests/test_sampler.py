"""A model's schedule and solver do what its makers' code does."""

import pytest
import torch

from memflow_cli.backbone import Sampling
from memflow_cli.sampler import denoise, schedule

LONGLIVE2 = Sampling(
    steps=(999, 937, 833, 624),
    sigmas=(0.99979985, 0.93726546, 0.83305538, 0.62468737),
    solver="unipc",
)


def test_warped_steps():
    timesteps = [level.timestep for level in schedule(Sampling())]
    assert timesteps == pytest.approx([1000, 937.5, 833.33333, 625])
    assert [level.timestep for level in schedule(Sampling(warp=False))] == [1000, 750, 500, 250]


def test_a_film_s_first_generated_chunk_may_take_other_steps():
    sampling = Sampling(steps=(1000, 500), first_chunk_steps=(1000, 750, 500, 250))
    assert [len(schedule(sampling, first_chunk)) for first_chunk in (False, True)] == [2, 4]


def test_noise_levels_that_do_not_follow_from_the_steps_are_kept_apart():
    assert [tuple(level) for level in schedule(LONGLIVE2)][1] == (937, 0.93726546)


def test_unipc_takes_the_steps_that_longlive_2_takes():
    """Written out, its four steps are these; the network is told whole timesteps, the solver uses the exact levels."""
    start = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    told, flows = [], []

    def predict(latents, timestep):
        told.append(timestep)
        flows.append(torch.sin(latents + timestep))
        return flows[-1]

    made = denoise(predict, iter([start]), schedule(LONGLIVE2), LONGLIVE2)
    clean, latents = [], start
    weights = (
        (0.9374531, 0.0625469),
        (0.8332221, 0.0173073, 0.1494705),
        (0.6248124, 0.0204357, -0.0675830, 0.4223348),
    )
    for step, sigma in enumerate(LONGLIVE2.sigmas):
        clean.append(latents - sigma * flows[step])
        if step < 3:
            first, *others = weights[step]
            latents = first * start + sum(w * x for w, x in zip(others, clean, strict=True))
    assert told == [999, 937, 833, 624]
    torch.testing.assert_close(made, clean[-1], atol=2e-6, rtol=0)
