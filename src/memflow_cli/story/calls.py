"""Whom each segment of a story calls, and where the memory of them comes from: known before anything is made. No torch."""

from dataclasses import dataclass
from typing import Literal

from memflow_cli.story.storyboard import Segment, Storyboard

Source = Literal["picture", "shown", "remembered", "here", "anew", "forgotten", "nowhere"]
"""A given picture; what an earlier segment first showed, or was told to remember; this segment itself, for the first time or
after they were forgotten; nothing, for they are forgotten, or were never shown."""


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
            if name in known:
                known[name] = Called(name, "forgotten")
        wanted = segment.names if segment.recall is None else segment.recall
        shows = {name: _shown_here(known.get(name), name, index) for name in segment.names}
        calls.append(tuple(shows.get(name) or known.get(name) or Called(name, "nowhere") for name in wanted))
        _learn(known, index, segment)
    return calls


def _shown_here(before: Called | None, name: str, index: int) -> Called:
    """Whom a segment names: the memory there is of them, or what it shows itself."""
    if before is None:
        return Called(name, "here", index)
    return Called(name, "anew", index) if before.source == "forgotten" else before


def _learn(known: dict[str, Called], index: int, segment: Segment) -> None:
    """What a segment adds to memory."""
    for name in segment.names:
        if name not in known or known[name].source == "forgotten":
            known[name] = Called(name, "shown", index)
    for name in segment.remember:
        known[name] = Called(name, "remembered", index)


def source_in_words(called: Called) -> str:
    number = "" if called.segment is None else str(called.segment + 1)
    return {
        "picture": "its picture",
        "shown": f"segment {number}, which first shows it",
        "remembered": f"the end of segment {number}, which remembers it",
        "here": "nothing yet: this segment first shows it",
        "anew": "nothing: what was shown is forgotten, and this segment shows it anew",
        "forgotten": "nothing: what was shown is forgotten",
        "nowhere": "nothing: no segment has shown it",
    }[called.source]
