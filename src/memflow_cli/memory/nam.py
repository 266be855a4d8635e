"""Narrative Adaptive Memory (NAM): the coming prompt recalls the frames of the whole film that it needs.

Source: MemFlow (arXiv:2512.14699). Unlike the published code, nothing is forgotten within the archive's budget, a bank
never holds one frame twice, padding does not vote, and one choice serves all layers: a recalled frame is one frame.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from memflow_cli.attention_context import PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.archive import Archive, Prototype
from memflow_cli.memory.policy import CacheNeeds, Recall, Remembered
from memflow_cli.memory.scores import Score

SCORE_BATCH = 64  # prototypes compared at a time, so that a long film's archive is never copied whole


class NarrativeMemory:
    """Archives the first latent frame of every `record_interval`-th chunk when it leaves the window; recalls the best
    `bank` of them for the prompt at hand, in film order.
    """

    joint_recache = False

    def __init__(
        self,
        sink: int,
        bank: int,
        score: Score,
        activate: int | None = None,
        record_interval: int = 1,
        archive_bytes: int = 8 * 2**30,
    ) -> None:
        activation = TopFrames(activate) if activate else None
        self.needs = CacheNeeds(
            sink=sink, bank=bank, activation=activation, keep_prompt_queries=score.needs_prompt_queries
        )
        self.archive = Archive(archive_bytes)
        self._score = score
        self._record_interval = record_interval
        self._prompt: PromptProjection | None = None
        self._made_under: dict[int, PromptProjection] = {}  # prototypes still in the window, and their prompt
        self._matches: dict[int, Tensor] = {}  # prototype -> its match with the prompt at hand
        self._stale = False

    def switch_prompt(self, prompt: PromptProjection) -> None:
        self._prompt = prompt
        self._matches.clear()
        self._stale = True

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        assert self._prompt is not None, "a film begins with a prompt"
        if chunk % self._record_interval == 0 and first_frame >= self.needs.sink:
            self._made_under[first_frame] = self._prompt
        return Remembered()

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        archived: list[int] = []
        evicted: list[int] = []
        for frame in frames:
            prompt = self._made_under.pop(frame, None)
            if prompt is None:
                continue
            state = cache.read(frame)
            archived.append(frame)
            evicted += self.archive.add(Prototype(state, self._score.features(state, prompt)))
            self._stale = True
        for frame in evicted:
            self._matches.pop(frame, None)
        return Remembered(tuple(archived), tuple(evicted))

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        if not self._stale or not self.archive.prototypes or not self.needs.bank:
            return Recall()
        self._stale = False
        scores = self._scores(prompt)
        best = sorted(scores, key=scores.__getitem__, reverse=True)[: self.needs.bank]
        cache.load_bank([item.state for item in self.archive.prototypes if item.state.frame in best])
        return Recall(scores)

    def _scores(self, prompt: PromptProjection) -> dict[int, float]:
        """Latent frame -> score, for the whole archive; only prototypes new to this prompt are compared with it."""
        unseen = [item for item in self.archive.prototypes if item.state.frame not in self._matches]
        for start in range(0, len(unseen), SCORE_BATCH):
            batch = unseen[start : start + SCORE_BATCH]
            matches = self._score.match(torch.stack([item.features for item in batch]), prompt)
            self._matches.update((item.state.frame, match) for item, match in zip(batch, matches, strict=True))
        frames = [item.state.frame for item in self.archive.prototypes]
        ranks = self._score.rank(torch.stack([self._matches[frame] for frame in frames]))
        return dict(zip(frames, ranks.tolist(), strict=True))
