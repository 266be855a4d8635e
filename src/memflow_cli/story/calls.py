"""Whom each segment of a story calls, and where the memory of them comes from: known before anything is made. No torch."""

from dataclasses import dataclass
from typing import Literal

from memflow_cli.story.storyboard import Segment, Storyboard

Source = Literal["picture", "shown", "remembered", "here", "nowhere"]
"""A given picture; what an earlier segment first showed, or was told to remember; this segment itself; nothing."""


@dataclass(frozen=True)
class Called:
    """Someone, or a place, whom a segment calls. `segment`: the one, from 0, that `source` speaks of."""

    name: str
    source: Source
    segment: int | None = None


def calls_of(storyboard: Storyboard) -> list[tuple[Called, ...]]:
    """For each segment those whose memory must be in its bank, and whose memory that will be."""
    known: dict[str, Called] = {
        name: Called(name, "picture") for name, subject in storyboard.subjects.items() if subject.pictures
    }
    calls = []
    for index, segment in enumerate(storyboard.segments):
        for name in segment.forget:
            known.pop(name, None)
        wanted = segment.names if segment.recall is None else segment.recall
        shows = {name: Called(name, "here", index) for name in segment.names}
        calls.append(tuple(known.get(name) or shows.get(name) or Called(name, "nowhere") for name in wanted))
        _learn(known, index, segment)
    return calls


def _learn(known: dict[str, Called], index: int, segment: Segment) -> None:
    """What a segment adds to memory."""
    for name in segment.names:
        known.setdefault(name, Called(name, "shown", index))
    for name in segment.remember:
        known[name] = Called(name, "remembered", index)


def source_in_words(called: Called) -> str:
    number = "" if called.segment is None else str(called.segment + 1)
    return {
        "picture": "its picture",
        "shown": f"segment {number}, which first shows it",
        "remembered": f"the end of segment {number}, which remembers it",
        "here": "nothing yet: this segment first shows it",
        "nowhere": "nothing: no segment has shown it",
    }[called.source]
