"""Narrative Adaptive Memory (NAM): the coming prompt recalls the frames of the whole film that it needs.

Source: MemFlow (arXiv:2512.14699). Unlike the published code, nothing is forgotten within the archive's budget, a bank
never holds one frame twice, padding does not vote, and one choice serves all layers: a recalled frame is one frame.
"""

from collections.abc import Sequence
from pathlib import Path

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.archive import Archive
from memflow_cli.memory.cast import NOBODY, Cast, Casting, NewScene
from memflow_cli.memory.policy import CacheNeeds, Recache, Recall, Remembered
from memflow_cli.memory.retrieval import Retrieval
from memflow_cli.memory.scores import Score, SketchingScore

SHORTLIST = 128  # prototypes that a prompt is compared with in full; up to so many, nothing is estimated


class NarrativeMemory:
    """Archives the first latent frame of every `record_interval`-th chunk when it leaves the window; recalls the best
    `bank` of them for the prompt at hand, in film order: whoever the segment calls first (see `Cast.choose`), then by score.

    `shortlist`: see `Retrieval`, which compares a prompt with the archive. `int8`: see `Archive`.
    """

    recache: Recache = "chunks"

    def __init__(
        self,
        sink: int,
        bank: int,
        score: Score,
        activate: int | None = None,
        record_interval: int = 1,
        archive_bytes: int = 8 * 2**30,
        archive_folder: Path | None = None,
        shortlist: int = SHORTLIST,
        int8: bool = False,
    ) -> None:
        activation = TopFrames(activate) if activate else None
        self.needs = CacheNeeds(
            sink=sink, bank=bank, activation=activation, keep_prompt_queries=score.needs_prompt_queries
        )
        self.archive = Archive(archive_bytes, archive_folder, int8)
        self._score = score
        self._sketching = score if isinstance(score, SketchingScore) else None
        self._shortlist = max(shortlist, bank)
        self._record_interval = record_interval
        self._prompt: PromptProjection | None = None
        self._retrieval: Retrieval | None = None  # the prompt's
        self._made_under: dict[int, PromptProjection] = {}  # prototypes still in the window, and their prompt
        self._cast = Cast()
        self._casting = NOBODY  # of the segment at hand
        self._latest: int | None = None  # the first latent frame of the last chunk
        self._renewed: dict[str, int] = {}  # the frame that a character was remembered by last
        self._stale = False
        self._scene_start = 0

    def give(self, name: str, state: FrameState, prompt: PromptProjection) -> None:
        """It stays in the archive, and is recalled for whoever calls this name."""
        self.archive.pin(state.frame)
        self._cast.give(state.frame, name)
        self.remember(state, prompt)

    def enter(self, casting: Casting) -> Remembered:
        """What was on screen at the end of a segment that said `remember` is their memory; others are forgotten."""
        renewed = self._casting.remember
        for name in renewed:
            assert self._latest is not None, "a segment has at least one chunk"
            self._unpin(name)
            self._cast.renew(name, self._latest)
            self._renewed[name] = self._latest
            self.archive.pin(self._latest)
        for name in casting.forget:
            self._unpin(name)
            self._cast.forget(name)
        self._casting = casting
        self._cast.begin_segment(0 if self._latest is None else self._latest + 1)
        return Remembered(renewed=renewed, forgotten=casting.forget)

    def _unpin(self, name: str) -> None:
        """What somebody was remembered by may go, unless another is remembered by it."""
        frame = self._renewed.pop(name, None)
        if frame is not None and frame not in self._renewed.values():
            self.archive.unpin(frame)

    def whose(self, frame: int) -> tuple[str, ...]:
        return tuple(sorted(self._cast.whose(frame)))

    def switch_prompt(self, prompt: PromptProjection) -> None:
        self._prompt = prompt
        self._retrieval = Retrieval(
            prompt, self._score, self.archive, self.needs.bank, self._shortlist, self._cast, self._casting
        )
        self._stale = True

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        assert self._prompt is not None, "a film begins with a prompt"
        is_due = chunk % self._record_interval == 0 or bool(self._casting.remember)
        if self.needs.bank and is_due and first_frame >= self.needs.sink:
            self._made_under[first_frame] = self._prompt
            self._cast.show(first_frame, self._casting.names)
        self._latest = first_frame
        return Remembered()

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        archived: list[int] = []
        evicted: list[int] = []
        for frame in frames:
            prompt = self._made_under.pop(frame, None)
            if prompt is None:
                continue
            archived.append(frame)
            evicted += self.remember(cache.read(frame), prompt)
        return Remembered(tuple(archived), tuple(evicted))

    def remember(self, state: FrameState, prompt: PromptProjection) -> tuple[int, ...]:
        """Archive a frame later than all others, made under `prompt`. Returns the latent frames that had to go for it."""
        features = self._score.features(state, prompt)
        sketch = self._sketching.sketch if self._sketching else None
        evicted = self.archive.add(state, features, prompt.words, sketch)
        if self._retrieval is not None:
            if state.frame not in evicted:
                self._retrieval.came(self.archive.prototypes[-1])
            for frame in evicted:
                self._retrieval.went(frame)
        for frame in evicted:
            self._cast.drop(frame)
        self._stale = True
        return evicted

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        left = self.leave(cache, cache.window_frames)
        self._scene_start = first_frame
        if isinstance(self._casting, NewScene):
            cache.clear()  # the film's first frames, too: who is new would wear what they show
        else:
            cache.clear_window()
        return left

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        if not self._stale or not self.archive.prototypes or not self.needs.bank:
            return Recall()
        assert self._retrieval is not None, "what is recalled is recalled for a prompt"
        self._stale = False
        if self._casting.wants_nothing:
            cache.load_bank([])
            return Recall()
        best, scores = self._retrieval.best()
        if isinstance(self._casting, NewScene):
            best = [item for item in best if self._belongs(item.state.frame)]
        cache.load_bank([item.state for item in best])
        return Recall(scores)

    def _belongs(self, frame: int) -> bool:
        """Whether a frame may be seen in a scene apart: one of the scene itself, or of somebody who is called."""
        return frame >= self._scene_start or bool(self._cast.whose(frame) & {*self._casting.called})
