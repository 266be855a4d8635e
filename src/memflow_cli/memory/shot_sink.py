"""LongLive 2.0's memory: the film's first frames, and those of the shot at hand (its multi-shot sink).

A cut forgets nothing: the text changes, the frames that follow are numbered further on, and the shot's first chunk, once
it is clean, becomes *the* pinned one. It stays in the window as long as it would anyway; when it would leave, it
moves behind the sink and takes its place out of the window. The pin of the shot before goes with the chunk after that.
"""

from collections.abc import Sequence

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.policy import CacheNeeds, Nameless, Recache, Recall, Remembered

PUBLISHED_OFFSET = 8  # latent frames that each shot is numbered further on


class ShotSink(Nameless):
    """Implements `MemoryPolicy`. `pins`: whether a shot's first chunk is pinned; `offset`: positions skipped at a cut."""

    recache: Recache = "never"

    def __init__(self, sink: int, chunk: int, offset: int = PUBLISHED_OFFSET, pins: bool = True) -> None:
        self.num_pinned = min(sink, chunk) if pins else 0
        self.needs = CacheNeeds(sink=sink, bank=self.num_pinned)
        self._offset = offset
        self._shot_start: int | None = None  # until the shot's first chunk is clean
        self._drifting: list[int] = []  # pinned frames that are still in the window
        self._settled: list[FrameState] = []  # pinned frames behind the sink, in the bank
        self._is_over = False  # the settled ones are of a shot before, and go with the next chunk

    def switch_prompt(self, prompt: PromptProjection) -> None:
        pass

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        cache.skip_positions(first_frame, self._offset)
        self._shot_start = first_frame
        return Remembered()

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        if self._is_over:
            self._settled, self._is_over = [], False
            cache.narrow_window(0)
        if self._drifting and self._drifting[0] in frames:
            self._settled = [cache.read(frame) for frame in self._drifting]
            self._drifting = []
            cache.narrow_window(len(self._settled))
        return Remembered()

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        cache.load_bank(self._settled)
        return Recall()

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        if first_frame == self._shot_start and first_frame > 0 and self.num_pinned:
            self._drifting = list(range(first_frame, first_frame + self.num_pinned))
            self._is_over = bool(self._settled)
            self._shot_start = None
        return Remembered()
