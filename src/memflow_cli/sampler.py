"""Few-step flow matching: the warped schedule, the noise of a film, and `denoise()`.

x_t = (1 - sigma) * x_0 + sigma * noise. A few-step model is asked for x_0 at each step; between steps fresh noise is
added. Source: Self-Forcing (arXiv:2506.08009), MemFlow (arXiv:2512.14699).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from memflow_cli.backbone import Sampling


def sigmas(sampling: Sampling) -> tuple[float, ...]:
    """The noise level of each denoising step, in (0, 1], descending.

    A step s in 1..1000 is warped by the shift: sigma = shift * s / (1 + (shift - 1) * s), with s / 1000.
    """
    levels = [step / 1000 for step in sampling.steps]
    if not sampling.warp:
        return tuple(levels)
    return tuple(sampling.shift * level / (1 + (sampling.shift - 1) * level) for level in levels)


def denoise(
    predict: Callable[[Tensor, float], Tensor],
    noise: Iterator[Tensor],
    levels: Sequence[float],
    prediction: str = "flow",
) -> Tensor:
    """Noise to clean latents [B, F, C, h, w], fp32.

    `predict(latents, timestep)` is one pass of the backbone at a timestep in 0..1000; `noise` yields the starting noise,
    then fresh noise for each further step. `prediction`: "flow" (noise - x_0) or "sample" (x_0 itself).
    """
    latents = next(noise)
    for step, sigma in enumerate(levels):
        output = predict(latents, 1000 * sigma)
        clean = latents - sigma * output if prediction == "flow" else output
        if step + 1 == len(levels):
            return clean
        latents = (1 - levels[step + 1]) * clean + levels[step + 1] * next(noise)
    raise ValueError("a schedule needs at least one step")


def chunk_noise(segment_seed: int, chunk: int, shape: Sequence[int]) -> Iterator[Tensor]:
    """All the noise of a segment's chunk (counted from the segment's start): fp32 on the host, endless.

    It depends on nothing but its arguments, so that a chunk can be made again without those before it.
    """
    generator = torch.Generator().manual_seed((segment_seed * 1_000_003 + chunk) % 2**63)
    while True:
        yield torch.randn(tuple(shape), generator=generator)
