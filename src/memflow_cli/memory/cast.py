"""Who, not only when: whom each remembered frame shows, and who is called.

A frame is the memory of those whom the segment that it was made in names, and of whom a given picture shows. Who is called
gets a place in the bank before the rest of it is filled by score; a frame that shows several of them serves them all.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Casting:
    """What a segment says of whom to remember.

    `names`: the characters and places that its prompt names. `recall`: whose memory must be in the bank, () for an empty
    one, None for those who are named. `remember`: whose memory, from the segment's end on, is what is on screen there.
    `forget`: whose memory ends when the segment begins.
    """

    names: tuple[str, ...] = ()
    recall: tuple[str, ...] | None = None
    remember: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()

    @property
    def called(self) -> tuple[str, ...]:
        """Whose memory must be in the bank."""
        return self.names if self.recall is None else self.recall

    @property
    def wants_nothing(self) -> bool:
        return self.recall == ()


@dataclass(frozen=True)
class NewScene(Casting):
    """Of a segment that shows nothing which the film had shown before the cut that its scene began with: of what is remembered
    from before, nothing belongs there but who is called.
    """


NOBODY = Casting()


class Cast:
    """Whom each remembered latent frame shows, and for whom it is out of date."""

    def __init__(self) -> None:
        self._shown: dict[int, frozenset[str]] = {}
        self._outdated: dict[int, frozenset[str]] = {}
        self._given: set[int] = set()
        self._segment_start: float = float("inf")

    def begin_segment(self, frame: int) -> None:
        """The latent frames from here on are of the segment at hand: not all whom it names may have come yet."""
        self._segment_start = frame

    def show(self, frame: int, names: Iterable[str]) -> None:
        if names := frozenset(names):
            self._shown[frame] = self.whose(frame) | names

    def give(self, frame: int, name: str) -> None:
        """The frame is a picture of them, which the film itself does not show."""
        self._given.add(frame)
        self.show(frame, (name,))

    def whose(self, frame: int) -> frozenset[str]:
        """Whose memory the frame is."""
        return self._shown.get(frame, frozenset())

    def forget(self, name: str) -> None:
        """Whatever shows them until now is out of date."""
        for frame, names in self._shown.items():
            if name in names:
                self._shown[frame] = names - {name}
                self._outdated[frame] = self._outdated.get(frame, frozenset()) | {name}

    def renew(self, name: str, frame: int) -> None:
        """Their memory is this frame, and what follows it."""
        self.forget(name)
        self._outdated[frame] = self._outdated.get(frame, frozenset()) - {name}
        self.show(frame, (name,))

    def drop(self, frame: int) -> None:
        """The frame has left the archive."""
        self._shown.pop(frame, None)
        self._outdated.pop(frame, None)

    def choose(self, frames: Sequence[int], scores: Tensor, casting: Casting, count: int) -> list[int]:
        """At most `count` rows of `frames`, in their order. `scores`: [P], larger is better.

        a) Of the frames before this segment as few as show all who are called: again and again the one that shows most of
        those who are missing, of equals the best. b) Of each who is called and has pictures, the best of these. c) The best of
        all others.

        A frame that is out of date for somebody, and a given picture, are there for nobody but others whom they show; where both
        are called, only if nothing else shows the other.
        """
        called = casting.called
        offered = [self._is_offered(frame, called) for frame in frames]
        if not called and all(offered):
            return scores.topk(min(count, len(scores))).indices.sort().values.tolist()
        ranked = scores.argsort(descending=True, stable=True).tolist()
        order = [row for row in ranked if offered[row]]
        earlier = [row for row in order if frames[row] < self._segment_start]
        chosen = self._cover([(row, self.whose(frames[row])) for row in earlier], called)
        missing = set(called).difference(*(self.whose(frames[row]) for row in chosen))
        withheld = [row for row in ranked if not offered[row] and frames[row] < self._segment_start]
        chosen += self._cover([(row, self.whose(frames[row])) for row in withheld], missing)
        for name in called:
            own = [row for row in order if frames[row] in self._given and name in self.whose(frames[row])]
            chosen += own[:1] if not set(own) & set(chosen) else []
        chosen += [row for row in order if row not in set(chosen)]
        return sorted(chosen[:count])

    def shortlist(self, frames: Sequence[int], scores: Tensor, casting: Casting, count: int, bank: int) -> Tensor:
        """Rows that are worth a full comparison, in their order: the `count` best, and the best of each who is called."""
        rows = scores.topk(min(count, len(scores))).indices
        for name in casting.called:
            own = torch.tensor([row for row, frame in enumerate(frames) if name in self.whose(frame)], dtype=torch.long)
            rows = torch.cat([rows, own[scores[own].topk(min(bank, len(own))).indices]])
        return rows.unique() if casting.called else rows.sort().values

    def _is_offered(self, frame: int, called: Sequence[str]) -> bool:
        outdated = self._outdated.get(frame)
        if not outdated and frame not in self._given:
            return True
        return not self._outdated.get(frame, frozenset()) & set(called) and bool(self.whose(frame) & set(called))

    @staticmethod
    def _cover(shows: Sequence[tuple[int, frozenset[str]]], called: Collection[str]) -> list[int]:
        """`shows`: rows, best first, and whom each shows."""
        chosen: list[int] = []
        missing = set(called)
        while missing:
            row, names = max(shows, key=lambda item: len(item[1] & missing), default=(0, frozenset()))
            if not names & missing:
                break
            chosen.append(row)
            missing -= names
        return chosen
