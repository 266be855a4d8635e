"""Narrative Adaptive Memory (NAM): the coming prompt recalls the frames of the whole film that it needs.

Source: MemFlow (arXiv:2512.14699). Unlike the published code, nothing is forgotten within the archive's budget, a bank
never holds one frame twice, padding does not vote, and one choice serves all layers: a recalled frame is one frame.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.archive import Archive, Prototype, is_part
from memflow_cli.memory.policy import CacheNeeds, Recache, Recall, Remembered
from memflow_cli.memory.scores import Score, SketchingScore

SCORE_BATCH_BYTES = 2**21  # of features compared at a time, so that a long film's archive is never copied whole
SHORTLIST = 128  # prototypes that a prompt is compared with in full; up to so many, nothing is estimated


class NarrativeMemory:
    """Archives the first latent frame of every `record_interval`-th chunk when it leaves the window; recalls the best
    `bank` of them for the prompt at hand, in film order.

    A new prompt first estimates all prototypes by their sketches, if the score makes any, and is then compared with the
    `shortlist` most promising ones and with every one that is archived while it lasts. What is compared once is kept.
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
    ) -> None:
        activation = TopFrames(activate) if activate else None
        self.needs = CacheNeeds(
            sink=sink, bank=bank, activation=activation, keep_prompt_queries=score.needs_prompt_queries
        )
        self.archive = Archive(archive_bytes, archive_folder)
        self._score = score
        self._sketching = score if isinstance(score, SketchingScore) else None
        self._shortlist = max(shortlist, bank)
        self._record_interval = record_interval
        self._prompt: PromptProjection | None = None
        self._made_under: dict[int, PromptProjection] = {}  # prototypes still in the window, and their prompt
        self._stale = False
        # For the prompt at hand, a row for each prototype compared with it, in film order:
        self._compared: list[Prototype] = []
        self._matches: Tensor | None = None  # [P, M]
        self._agreed: Tensor = torch.empty(0)  # how much of the matches counts: [P, M], or [P, 1] for all of a row
        self._weights: Tensor = torch.empty(0)  # [M], drawn once the prompt has met more frames than the bank holds
        self._weighed = 0  # how many frames they were drawn from
        self._told: Tensor = torch.empty(0)  # the scores [P] that recall() returned last
        self._waiting: list[Prototype] | None = None  # to be compared next; None: the prompt has met none yet

    def switch_prompt(self, prompt: PromptProjection) -> None:
        self._prompt = prompt
        self._compared, self._matches, self._told, self._waiting = [], None, torch.empty(0), None
        self._weighed = 0
        self._stale = True

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        assert self._prompt is not None, "a film begins with a prompt"
        if self.needs.bank and chunk % self._record_interval == 0 and first_frame >= self.needs.sink:
            self._made_under[first_frame] = self._prompt
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
        kept = state.on_host()
        features = self._score.features(state, prompt)
        if is_part(features, state):
            features = self._score.features(kept, prompt)
        features = features.to("cpu")
        sketch = self._sketching.sketch(features) if self._sketching else None
        evicted = self.archive.add(kept, features, prompt.words, sketch)
        if self._waiting is not None and state.frame not in evicted:
            self._waiting.append(self.archive.prototypes[-1])
        for frame in evicted:
            self._forget(frame)
        self._stale = True
        return evicted

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        left = self.leave(cache, cache.window_frames)
        cache.clear_window()
        return left

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        if not self._stale or not self.archive.prototypes or not self.needs.bank:
            return Recall()
        self._stale = False
        self._compare(prompt)
        assert self._matches is not None, "an archive that is not empty has matches"
        if self._weighed <= self.needs.bank:  # until now everything was recalled
            self._weights, self._weighed = self._score.weigh(self._matches), len(self._matches)
        scores = self._score.rank(self._matches * self._agreed, self._weights)
        best = scores.topk(min(self.needs.bank, len(scores))).indices.sort().values.tolist()
        cache.load_bank([self._compared[row].state for row in best])
        changed = torch.ones(len(scores), dtype=torch.bool)
        changed[: len(self._told)] = scores[: len(self._told)] != self._told
        self._told = scores
        news = changed.nonzero()[:, 0]
        told = zip(news.tolist(), scores[news].tolist(), strict=True)
        recall = Recall({self._compared[row].state.frame: score for row, score in told})
        if self._sketching and len(scores) > 2 * self._shortlist:
            self._keep(scores.topk(self._shortlist).indices.sort().values)
        return recall

    def _compare(self, prompt: PromptProjection) -> None:
        """Match the prototypes that this prompt has not met yet, a bounded number of bytes at a time."""
        bank = min(self.needs.bank, len(self.archive.prototypes))
        if self._waiting is None or len(self._compared) + len(self._waiting) < bank:
            self._compared, self._matches, self._told, self._weighed = [], None, torch.empty(0), 0
            self._waiting = self._most_promising(prompt)
        unseen, self._waiting = self._waiting, []
        if not unseen:
            return
        length = max(1, SCORE_BATCH_BYTES // unseen[0].feature_bytes)
        parts = [] if self._matches is None else [self._matches]
        for start in range(0, len(unseen), length):
            features = torch.stack([item.features for item in unseen[start : start + length]])
            parts.append(self._score.match(features.to(prompt.embeds.device), prompt).to("cpu"))
        agreed = self._agreed_on(unseen, prompt)
        self._agreed = agreed if self._matches is None else torch.cat([self._agreed, agreed])
        self._matches = torch.cat(parts)
        self._compared += unseen

    def _agreed_on(self, prototypes: Sequence[Prototype], prompt: PromptProjection) -> Tensor:
        """How much of their matches counts, [P, M] or [P, 1]; asked once for all frames of a segment."""
        segments = {id(item.words): item.words for item in prototypes}
        rows = {segment: row for row, segment in enumerate(segments)}
        agreed = torch.stack([self._score.agree(words, prompt) for words in segments.values()])
        return agreed[[rows[id(item.words)] for item in prototypes]]

    def _most_promising(self, prompt: PromptProjection) -> list[Prototype]:
        """The shortlist for a new prompt, in film order; all prototypes where there are few, or no sketches."""
        prototypes = self.archive.prototypes
        if self._sketching is None or len(prototypes) <= self._shortlist:
            return list(prototypes)
        estimates = torch.cat([self._sketching.estimate(block, prompt) for block in self.archive.sketches.blocks])
        estimates = estimates[torch.tensor([item.row for item in prototypes])]
        # Estimates have no zero, and what counts by half must be less than what counts in full.
        estimates -= estimates.amin(dim=0)
        # Weights are drawn from the whole film: in the shortlist itself, all frames may show who is named.
        self._weights, self._weighed = self._score.weigh(estimates), len(estimates)
        scores = self._score.rank(estimates * self._agreed_on(prototypes, prompt), self._weights)
        best = scores.topk(self._shortlist).indices.sort().values
        return [prototypes[index] for index in best.tolist()]

    def _keep(self, rows: Tensor) -> None:
        """Forget the comparisons of all rows but these: a segment's cost does not grow with its length."""
        assert self._matches is not None, "what was compared has matches"
        self._compared = [self._compared[row] for row in rows.tolist()]
        self._matches, self._agreed, self._told = self._matches[rows], self._agreed[rows], self._told[rows]

    def _forget(self, frame: int) -> None:
        """A frame has left the archive; it can not be recalled any more."""
        self._waiting = self._waiting and [item for item in self._waiting if item.state.frame != frame]
        rows = [row for row, item in enumerate(self._compared) if item.state.frame != frame]
        if len(rows) < len(self._compared):
            self._keep(torch.tensor(rows, dtype=torch.long))
