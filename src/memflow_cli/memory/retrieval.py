"""One prompt's comparison with what is remembered: which prototypes it was compared with, and what came of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from memflow_cli.attention_context import PromptProjection
from memflow_cli.memory.archive import Archive, Prototype
from memflow_cli.memory.cast import NOBODY, Cast, Casting
from memflow_cli.memory.scores import Score, SketchingScore

SCORE_BATCH_BYTES = 2**21  # of features compared at a time, so that a long film's archive is never copied whole


class _Table:
    """A row for each prototype that the prompt was compared with, in film order."""

    def __init__(self) -> None:
        self.rows: list[Prototype] = []
        self.matches: Tensor | None = None  # [P, M]
        self.agreed: Tensor = torch.empty(0)  # how much of the matches counts: [P, M], or [P, 1] for all of a row
        self.told: Tensor = torch.empty(0)  # the scores [P] that were told last

    def add(self, prototypes: Sequence[Prototype], matches: Tensor, agreed: Tensor) -> None:
        self.agreed = agreed if self.matches is None else torch.cat([self.agreed, agreed])
        self.matches = matches if self.matches is None else torch.cat([self.matches, matches])
        self.rows += prototypes

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        assert self.matches is not None, "what was compared has matches"
        self.rows = [self.rows[row] for row in rows.tolist()]
        self.matches, self.agreed, self.told = self.matches[rows], self.agreed[rows], self.told[rows]


class Retrieval:
    """What one prompt recalls of an archive, for as long as the prompt holds.

    It first estimates all prototypes by their sketches, if the score makes any, and is then compared with the `shortlist`
    most promising ones and with every one that comes while it lasts. What is compared once is kept.
    """

    def __init__(
        self,
        prompt: PromptProjection,
        score: Score,
        archive: Archive,
        bank: int,
        shortlist: int,
        cast: Cast,
        casting: Casting = NOBODY,
    ) -> None:
        """`cast`: whom the archive's frames show; `casting`: what the prompt's segment says of whom to remember."""
        self._prompt = prompt
        self._cast = cast
        self._casting = casting
        self._score = score
        self._sketching = score if isinstance(score, SketchingScore) else None
        self._archive = archive
        self._bank = bank
        self._shortlist = shortlist
        self._table = _Table()
        self._waiting: list[Prototype] | None = None  # to be compared next; None: it has met none yet
        self._weights: Tensor = torch.empty(0)  # [M], drawn once the prompt has met more frames than the bank holds
        self._weighed = 0  # how many frames they were drawn from

    @property
    def num_compared(self) -> int:
        return len(self._table.rows)

    def came(self, prototype: Prototype) -> None:
        """A frame has entered the archive."""
        if self._waiting is not None:
            self._waiting.append(prototype)

    def went(self, frame: int) -> None:
        """A frame has left the archive; it can not be recalled any more."""
        self._waiting = self._waiting and [item for item in self._waiting if item.state.frame != frame]
        rows = [row for row, item in enumerate(self._table.rows) if item.state.frame != frame]
        if len(rows) < self.num_compared:
            self._table.keep(torch.tensor(rows, dtype=torch.long))

    def best(self) -> tuple[list[Prototype], dict[int, float]]:
        """The prototypes of the bank, in film order, and the scores (latent frame -> score) that are new or have changed."""
        self._compare()
        table = self._table
        assert table.matches is not None, "an archive that is not empty has matches"
        if self._weighed <= self._bank:  # until now everything was recalled
            self._weights, self._weighed = self._score.weigh(table.matches), len(table.matches)
        scores = self._score.rank(table.matches * table.agreed, self._weights)
        rows = self._cast.choose(_frames(table.rows), scores, self._casting, self._bank)
        recalled = [table.rows[row] for row in rows]
        changed = torch.ones(len(scores), dtype=torch.bool)
        changed[: len(table.told)] = scores[: len(table.told)] != table.told
        table.told = scores
        news = changed.nonzero()[:, 0]
        told = zip(news.tolist(), scores[news].tolist(), strict=True)
        changes = {table.rows[row].state.frame: score for row, score in told}
        if self._sketching and len(scores) > 2 * self._shortlist:  # a segment's cost does not grow with its length
            table.keep(self._shortlisted(table.rows, scores))
        return recalled, changes

    def _compare(self) -> None:
        """Match the prototypes that this prompt has not met yet, a bounded number of bytes at a time."""
        bank = min(self._bank, len(self._archive.prototypes))
        if self._waiting is None or self.num_compared + len(self._waiting) < bank:
            self._table, self._weighed = _Table(), 0
            self._waiting = self._most_promising()
        unseen, self._waiting = self._waiting, []
        if not unseen:
            return
        length = max(1, SCORE_BATCH_BYTES // unseen[0].feature_bytes)
        parts = []
        for start in range(0, len(unseen), length):
            features = torch.stack([item.features for item in unseen[start : start + length]])
            parts.append(self._score.match(features.to(self._prompt.embeds.device), self._prompt).to("cpu"))
        self._table.add(unseen, torch.cat(parts), self._agreed_on(unseen))

    def _agreed_on(self, prototypes: Sequence[Prototype]) -> Tensor:
        """How much of their matches counts, [P, M] or [P, 1]; asked once for all frames of a segment."""
        segments = {id(item.words): item.words for item in prototypes}
        rows = {segment: row for row, segment in enumerate(segments)}
        agreed = torch.stack([self._score.agree(words, self._prompt) for words in segments.values()])
        return agreed[[rows[id(item.words)] for item in prototypes]]

    def _most_promising(self) -> list[Prototype]:
        """The shortlist for a new prompt, in film order; all prototypes where there are few, or no sketches."""
        prototypes = self._archive.prototypes
        if self._sketching is None or len(prototypes) <= self._shortlist:
            return list(prototypes)
        blocks = self._archive.sketches.blocks
        estimates = torch.cat([self._sketching.estimate(block, self._prompt) for block in blocks])
        estimates = estimates[torch.tensor([item.row for item in prototypes])]
        # Estimates have no zero, and what counts by half must be less than what counts in full.
        estimates -= estimates.amin(dim=0)
        # Weights are drawn from the whole film: in the shortlist itself, all frames may show who is named.
        self._weights, self._weighed = self._score.weigh(estimates), len(estimates)
        scores = self._score.rank(estimates * self._agreed_on(prototypes), self._weights)
        return [prototypes[index] for index in self._shortlisted(prototypes, scores).tolist()]

    def _shortlisted(self, prototypes: Sequence[Prototype], scores: Tensor) -> Tensor:
        return self._cast.shortlist(_frames(prototypes), scores, self._casting, self._shortlist, self._bank)


def _frames(prototypes: Sequence[Prototype]) -> list[int]:
    return [item.state.frame for item in prototypes]
