"""The first chunks under a prompt are led: by prompt and memory, and by given pictures, away from what would be seen without.

Classifier-free guidance (arXiv:2207.12598): what differs from a pass that lacks something is added, as often as a weight says,
while it is decided what is seen: in the first half of a chunk's steps. Whoever is known by pictures alone keeps what they
show, a hat or a scarf, until the film has shown them.

The pass without a prompt sees nothing of the bank, with two exceptions. After a cut it does: led by the bank as well, somebody
who stands anew is there twice. And where a picture leads: else its character wears what others in the bank do.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from memflow_cli.kv_cache import KVCache
from memflow_cli.sampler import Predict


@dataclass(frozen=True)
class Lacking:
    """Passes that lack what leads. `weight`: how often what differs is added."""

    predict: Predict
    weight: float


def led(predict: Predict, lacking: Sequence[Lacking], until: float) -> Predict:
    """Passes that are led away from those that lack something, at timesteps above `until`. Each of those costs another pass."""

    def lead(latents: Tensor, timestep: float) -> Tensor:
        answer = guided = predict(latents, timestep)
        for poorer in lacking if timestep > until else ():
            guided = guided + poorer.weight * (answer - poorer.predict(latents, timestep))
        return guided

    return lead


def without(recalled: Collection[int], predict: Predict, cache: KVCache, frames: range) -> Predict:
    """Passes over `frames` that do not see these latent frames of the bank."""

    def pass_without(latents: Tensor, timestep: float) -> Tensor:
        cache.begin(frames, keep=False, hidden=recalled)
        answer = predict(latents, timestep)
        cache.begin(frames, keep=False)
        return answer

    return pass_without


def leading_pictures(
    bank: Sequence[int], whose: Callable[[int], Collection[str]], called: Collection[str]
) -> list[int]:
    """Frames of the bank that are pictures, below 0, of those who are called and whom no other of its frames shows.

    `whose`: names of those whose memory a frame is.
    """
    shown = [[frame for frame in bank if name in whose(frame)] for name in called]
    return [frame for frames in shown if max(frames, default=0) < 0 for frame in frames]
