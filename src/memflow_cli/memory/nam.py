"""Narrative Adaptive Memory (NAM): the coming prompt recalls the frames of the whole film that it needs.

Source: MemFlow (arXiv:2512.14699). Unlike the published code, nothing is forgotten within the archive's budget, a bank
never holds one frame twice, padding does not vote, and one choice serves all layers: a recalled frame is one frame.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from memflow_cli.attention_context import PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.archive import Archive
from memflow_cli.memory.policy import CacheNeeds, Recall, Remembered
from memflow_cli.memory.scores import Score

SCORE_BATCH_BYTES = 2**21  # of features compared at a time, so that a long film's archive is never copied whole


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
        archive_folder: Path | None = None,
    ) -> None:
        activation = TopFrames(activate) if activate else None
        self.needs = CacheNeeds(
            sink=sink, bank=bank, activation=activation, keep_prompt_queries=score.needs_prompt_queries
        )
        self.archive = Archive(archive_bytes, archive_folder)
        self._score = score
        self._record_interval = record_interval
        self._prompt: PromptProjection | None = None
        self._made_under: dict[int, PromptProjection] = {}  # prototypes still in the window, and their prompt
        self._stale = False
        # For the prompt at hand, a row for each prototype compared with it, in film order:
        self._frames: list[int] = []
        self._matches: Tensor | None = None  # [P, M]
        self._told: Tensor = torch.empty(0)  # the scores [P] that recall() returned last

    def switch_prompt(self, prompt: PromptProjection) -> None:
        self._prompt = prompt
        self._frames, self._matches, self._told = [], None, torch.empty(0)
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
            features = self._score.features(state, prompt).to("cpu")
            archived.append(frame)
            evicted += self.archive.add(state.on_host(), features)
            self._stale = True
        for frame in evicted:
            self._forget(frame)
        return Remembered(tuple(archived), tuple(evicted))

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        if not self._stale or not self.archive.prototypes or not self.needs.bank:
            return Recall()
        self._stale = False
        self._compare(prompt)
        assert self._matches is not None, "an archive that is not empty has matches"
        scores = self._score.rank(self._matches)
        best = scores.topk(min(self.needs.bank, len(scores))).indices.sort().values.tolist()
        cache.load_bank([self.archive.prototypes[row].state for row in best])
        changed = torch.ones(len(scores), dtype=torch.bool)
        changed[: len(self._told)] = scores[: len(self._told)] != self._told
        self._told = scores
        return Recall({self._frames[row]: scores[row].item() for row in changed.nonzero()[:, 0].tolist()})

    def _compare(self, prompt: PromptProjection) -> None:
        """Match the prototypes that this prompt has not met yet, a bounded number of bytes at a time."""
        unseen = self.archive.prototypes[len(self._frames) :]
        if not unseen:
            return
        num_bytes = unseen[0].features.numel() * unseen[0].features.element_size()
        length = max(1, SCORE_BATCH_BYTES // num_bytes)
        parts = [] if self._matches is None else [self._matches]
        for start in range(0, len(unseen), length):
            features = torch.stack([item.features for item in unseen[start : start + length]])
            parts.append(self._score.match(features.to(prompt.embeds.device), prompt).to("cpu"))
        self._matches = torch.cat(parts)
        self._frames += [item.state.frame for item in unseen]

    def _forget(self, frame: int) -> None:
        if frame not in self._frames:
            return
        assert self._matches is not None, "a frame that was compared has matches"
        row = self._frames.index(frame)
        del self._frames[row]
        self._matches = torch.cat([self._matches[:row], self._matches[row + 1 :]])
        self._told = torch.cat([self._told[:row], self._told[row + 1 :]])
