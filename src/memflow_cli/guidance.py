"""Chunks are led by their prompt, and by given pictures: away from what would be seen without them.

Classifier-free guidance (arXiv:2207.12598): what differs from a pass that lacks something is added once more, or several times.
Whoever is known by pictures alone keeps what they show, a hat or a scarf, until the film has shown them.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from memflow_cli.kv_cache import KVCache
from memflow_cli.sampler import Level, Predict

PICTURE_CHUNKS = 2  # under a prompt that are led by pictures: whoever comes in is there after so many


@dataclass(frozen=True)
class Lacking:
    """Passes that lack what leads. `weight`: how often what differs is added; `until`: the timestep from which on it is not,
    for what is seen was decided above it.
    """

    predict: Predict
    weight: float
    until: float


def led(predict: Predict, lacking: Sequence[Lacking]) -> Predict:
    """Passes that are led away from those that lack something, each of which costs another pass."""

    def lead(latents: Tensor, timestep: float) -> Tensor:
        answer = predict(latents, timestep)
        led_there = answer
        for other in lacking:
            if other.weight and timestep > other.until:
                led_there = led_there + other.weight * (answer - other.predict(latents, timestep))
        return led_there

    return lead


def without_pictures(predict: Predict, cache: KVCache, frames: range, pictures: Collection[int]) -> Predict:
    """Passes over `frames` that do not see these of the bank's latent frames."""

    def hide(latents: Tensor, timestep: float) -> Tensor:
        cache.begin(frames, keep=False, hidden=pictures)
        answer = predict(latents, timestep)
        cache.begin(frames, keep=False)
        return answer

    return hide


def end_of(levels: Sequence[Level], num_steps: int) -> float:
    """The timestep above which the first `num_steps` of a chunk's denoising steps lie."""
    return levels[num_steps].timestep if num_steps < len(levels) else -1.0


def leading_pictures(
    bank: Sequence[int], whose: Callable[[int], Collection[str]], called: Collection[str]
) -> list[int]:
    """Frames of the bank that are pictures, below 0, of those who are called and whom no other of its frames shows.

    `whose`: names of those whose memory a frame is.
    """
    shown = [[frame for frame in bank if name in whose(frame)] for name in called]
    return [frame for frames in shown if max(frames, default=0) < 0 for frame in frames]
