"""Chunks are led by their prompt (classifier-free guidance): what a guided step is, how many there are, what stays as it was."""

from dataclasses import replace

import pytest
import torch

from memflow_cli.backbone import Sampling
from memflow_cli.guidance import Lacking, led
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.models.entry import check_entry
from memflow_cli.pipeline import Shot, Walk
from tiny_model import HEIGHT, WIDTH, tiny_backbone, tiny_entry, tiny_prompts


def walked(sampling: Sampling, num_chunks: int = 3, **memory):
    """Chunks of one shot, and every pass that made them: (timestep, whether it was under the shot's prompt, prediction)."""
    model = tiny_backbone(tiny_entry())
    model.sampling = sampling
    [embeds] = tiny_prompts(1)
    told = model.project_prompt(embeds.unsqueeze(0)).keys[0]
    predict, passes = model.predict, []

    def keep(latents, timestep, prompt, context):
        prediction = predict(latents, timestep, prompt, context)
        passes.append((timestep, torch.equal(prompt.keys[0], told), prediction))
        return prediction

    model.predict = keep
    walk = Walk(model, (WIDTH, HEIGHT), 16, make_policy(MemoryOptions(policy="nam", **memory), model.geometry))
    walk.enter(Shot("a fox", embeds, seed=1))
    return [walk.chunk().latents for _ in range(num_chunks)], passes


def test_what_differs_from_a_pass_that_lacks_something_is_added():
    answer, poorer, other = (torch.randn(2, 3) for _ in range(3))
    lead = led(lambda *_: answer, [Lacking(lambda *_: poorer, 2.0, 500), Lacking(lambda *_: other, 0.5, 250)])
    assert torch.allclose(lead(answer, 750), answer + 2 * (answer - poorer) + 0.5 * (answer - other))
    assert torch.allclose(lead(answer, 500), answer + 0.5 * (answer - other)), "until a timestep, not at it"
    assert torch.equal(lead(answer, 250), answer)


@pytest.mark.parametrize("activate", [None, 2])
def test_the_first_steps_are_led_by_the_prompt(activate):
    """Passes of a chunk of four steps, two of them guided: with the prompt, without it, twice; then with it."""
    sampling = Sampling(steps=(1000, 750, 500, 250), guidance_scale=3.0, guided_steps=2)
    chunks, passes = walked(sampling, activate=activate)
    steps = [timestep for timestep, _, _ in passes[:6]]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 4
    assert [prompted for _, prompted, _ in passes] == [True, False, True, False, True, True] * len(chunks)
    plain, _ = walked(replace(sampling, guidance_scale=1.0), activate=activate)
    assert not any(torch.equal(one, other) for one, other in zip(chunks, plain, strict=True))
    assert sampling.passes == 4 + 2 + 1


def test_a_chunk_of_one_step_is_what_the_formula_says():
    [chunk], [(_, _, prompted), (_, _, unprompted)] = walked(
        Sampling(steps=(1000,), prediction="sample", guidance_scale=2.5, guided_steps=1), num_chunks=1
    )
    assert not torch.equal(prompted, unprompted)
    assert torch.allclose(chunk, prompted + 1.5 * (prompted - unprompted))


def test_a_scale_of_one_leads_nowhere_and_costs_nothing():
    steps = (1000, 500)
    chunks, passes = walked(Sampling(steps=steps))
    for sampling in (Sampling(steps=steps, guided_steps=2), Sampling(steps=steps, guidance_scale=4.0)):
        again, as_many = walked(sampling)
        assert len(as_many) == len(passes) == len(steps) * len(chunks)
        assert all(torch.equal(one, other) for one, other in zip(chunks, again, strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"guidance_scale": 0.5},
        {"guidance_scale": 1000},
        {"guidance_scale": float("nan")},
        {"guided_steps": 3},
        {"guided_steps": -1},
    ],
)
def test_guidance_that_no_model_has_is_refused(wrong):
    entry = tiny_entry()
    check_entry(replace(entry, sampling=replace(entry.sampling, guidance_scale=2, guided_steps=2)))
    with pytest.raises(ValueError, match=next(iter(wrong))):
        check_entry(replace(entry, sampling=replace(entry.sampling, **wrong)))
