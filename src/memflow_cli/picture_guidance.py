"""Chunks are led towards given pictures: away from what would be seen without them.

As in classifier-free guidance (arXiv:2207.12598), with pictures in the prompt's place. Whoever is known by pictures alone keeps
what they show, a hat or a scarf, until the film has shown them.
"""

from collections.abc import Callable, Collection, Sequence

from torch import Tensor

from memflow_cli.kv_cache import KVCache
from memflow_cli.sampler import Predict

GUIDED_CHUNKS = 2  # under a prompt: whoever comes in is there after so many


def leading_pictures(
    bank: Sequence[int], whose: Callable[[int], Collection[str]], called: Collection[str]
) -> list[int]:
    """Frames of the bank that are pictures, below 0, of those who are called and whom no other of its frames shows.

    `whose`: names of those whose memory a frame is.
    """
    shown = [[frame for frame in bank if name in whose(frame)] for name in called]
    return [frame for frames in shown if max(frames, default=0) < 0 for frame in frames]


def led(
    predict: Predict, cache: KVCache, frames: range, pictures: Collection[int], guidance: float, until: float
) -> Predict:
    """Passes over `frames` that are led by `pictures`, at timesteps above `until`, where it is decided what is seen.

    Each costs a second pass, without the pictures: the first, and `guidance` times what differs.
    """

    def lead(latents: Tensor, timestep: float) -> Tensor:
        answer = predict(latents, timestep)
        if timestep <= until:
            return answer
        cache.begin(frames, keep=False, hidden=pictures)
        without = predict(latents, timestep)
        cache.begin(frames, keep=False)
        return answer + guidance * (answer - without)

    return lead if pictures and guidance else predict
