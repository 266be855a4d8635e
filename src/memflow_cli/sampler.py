"""Few-step flow matching: the schedule of a model, its solvers, and the noise of a film.

x_t = (1 - sigma) * x_0 + sigma * noise. A few-step model is asked for x_0 at each step. `renoise` goes on with x_0 under
fresh noise (Self-Forcing, arXiv:2506.08009; MemFlow, arXiv:2512.14699); `unipc` with what UniPC makes of the predictions
so far (arXiv:2302.04867; LongLive 2.0).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memflow_cli.backbone import Sampling


class Level(NamedTuple):
    """A denoising step: the timestep that the transformer is told, in 0..1000, and the noise level that it stands for."""

    timestep: float
    sigma: float


Predict = Callable[[Tensor, float], Tensor]
"""(latents, timestep) -> one pass of the backbone."""


def schedule(sampling: Sampling, first_chunk: bool = False) -> tuple[Level, ...]:
    """The denoising steps of a chunk, noise levels descending. `first_chunk`: of the film's first generated one.

    A step s in 1..1000 is warped by the shift: sigma = shift * s / (1 + (shift - 1) * s), with s / 1000.
    """
    if sampling.sigmas:
        return tuple(Level(step, sigma) for step, sigma in zip(sampling.steps, sampling.sigmas, strict=True))
    steps = sampling.first_chunk_steps if first_chunk and sampling.first_chunk_steps else sampling.steps
    levels = [step / 1000 for step in steps]
    if sampling.warp:
        levels = [sampling.shift * level / (1 + (sampling.shift - 1) * level) for level in levels]
    return tuple(Level(1000 * level, level) for level in levels)


def denoise(
    predict: Predict,
    noise: Iterator[Tensor],
    levels: Sequence[Level],
    sampling: Sampling,
    hold: Callable[[Tensor], Tensor] = lambda latents: latents,
) -> Tensor:
    """Noise to clean latents [B, F, C, h, w], fp32.

    `predict(latents, timestep)` is one pass of the backbone; `noise` yields the starting noise, then, for a solver that
    asks for it, fresh noise for each further step. `hold`: puts back what is known of the latents, before each pass and
    at the end.
    """
    assert levels, "a schedule needs at least one step"
    if sampling.solver == "unipc":
        return hold(_by_unipc(predict, next(noise), levels, hold))
    return hold(_by_renoising(predict, noise, levels, sampling.prediction, hold))


def _by_renoising(
    predict: Predict,
    noise: Iterator[Tensor],
    levels: Sequence[Level],
    prediction: str,
    hold: Callable[[Tensor], Tensor],
) -> Tensor:
    latents = next(noise)
    for step, (timestep, sigma) in enumerate(levels):
        latents = hold(latents)
        output = predict(latents, timestep)
        clean = latents - sigma * output if prediction == "flow" else output
        if step + 1 < len(levels):
            following = levels[step + 1].sigma
            latents = (1 - following) * clean + following * next(noise)
    return clean


def _by_unipc(predict: Predict, latents: Tensor, levels: Sequence[Level], hold: Callable[[Tensor], Tensor]) -> Tensor:
    """diffusers' solver, which starts afresh at each chunk, with a model's own timesteps and noise levels put into it."""
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler  # here: seconds to import

    solver = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=2)
    solver.set_timesteps(len(levels))
    solver.timesteps = torch.tensor([level.timestep for level in levels], dtype=torch.float64)
    solver.sigmas = torch.tensor([*(level.sigma for level in levels), 0.0])
    for timestep in solver.timesteps:
        latents = hold(latents)
        latents = solver.step(predict(latents, float(timestep)), timestep, latents, return_dict=False)[0]
    return latents


def chunk_noise(segment_seed: int, chunk: int, shape: Sequence[int]) -> Iterator[Tensor]:
    """All the noise of a segment's chunk (counted from the segment's start): fp32 on the host, endless.

    It depends on nothing but its arguments, so that a chunk can be made again without those before it.
    """
    generator = torch.Generator().manual_seed((segment_seed * 1_000_003 + chunk) % 2**63)
    while True:
        yield torch.randn(tuple(shape), generator=generator)
