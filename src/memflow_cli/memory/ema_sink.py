"""Reward Forcing's memory: a sink that slowly takes in what leaves the window (arXiv:2512.04678).

Whatever leaves is not forgotten at once: sink = alpha * sink + (1 - alpha) * what leaves, for keys before rotation and
for values, frame by frame in order. The average is kept in fp32: in bf16, as its authors publish it, 0.999 * x rounds back
to x, and the sink hardly moves.
"""

from collections.abc import Sequence
from dataclasses import replace

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.policy import CacheNeeds, Nameless, Recache, Recall, Remembered

PUBLISHED_ALPHA = 0.999


class EmaSink(Nameless):
    """Implements `MemoryPolicy`. `alpha` in 0..1: how much of the sink stays when a chunk is folded in."""

    recache: Recache = "never"

    def __init__(self, sink: int, alpha: float = PUBLISHED_ALPHA) -> None:
        self.needs = CacheNeeds(sink=sink)
        self._alpha = alpha
        self._sink: list[FrameState] = []  # in fp32

    def switch_prompt(self, prompt: PromptProjection) -> None:
        pass

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        return Remembered()

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        return Recall()

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        """Folds the frames into the sink, where they number exactly the sink's, as published: a chunk of the sink's length."""
        if not frames or len(frames) != self.needs.sink:
            return Remembered()
        self._sink = self._sink or [_in_full(cache.read(frame)) for frame in cache.sink_frames]
        for index, frame in enumerate(frames):
            leaving, kept = _in_full(cache.read(frame)), self._sink[index]
            self._sink[index] = replace(
                kept,
                keys=kept.keys.lerp(leaving.keys, 1 - self._alpha),
                values=kept.values.lerp(leaving.values, 1 - self._alpha),
            )
        cache.write_sink(self._sink)
        return Remembered()

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        return Remembered()


def _in_full(state: FrameState) -> FrameState:
    return replace(state, keys=state.keys.float(), values=state.values.float(), prompt_queries=None)
