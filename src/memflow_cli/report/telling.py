"""What memory did, in a film maker's words: the sentences and numbers of page, sheets and table."""

from memflow_cli.film.given_picture import MIRRORED
from memflow_cli.film.passages import first_words
from memflow_cli.report.summary import FilmMemory, RecalledFrame, SegmentMemory
from memflow_cli.story.texts import clock

SHOWN_AS_ZERO, SHOWN_AS_POWER = 1e-4, 1e6


def score_text(score: float) -> str:
    """A score as it is written everywhere: two digits after the point, or two that count where it is small."""
    if abs(score) < SHOWN_AS_ZERO:
        return "0.00"
    if abs(score) >= SHOWN_AS_POWER:
        return f"{score:.1e}"
    return f"{score:.2f}" if abs(score) >= 0.1 else f"{score:.2g}"


def use_text(memory: FilmMemory, segment: SegmentMemory, item: RecalledFrame) -> str:
    """How much a recalled frame was used: the share of attention where attention chose, else how long it was held."""
    if segment.is_activated:
        return f"use {item.use:.0%}"
    seconds = memory.plan.seconds / max(1, memory.plan.num_chunks)
    if item.num_chunks >= segment.plan.num_chunks:
        return "held throughout"
    return f"held for {item.num_chunks * seconds:.1f} of {segment.plan.num_chunks * seconds:.1f} s"


def told(memory: FilmMemory, segment: SegmentMemory) -> str:
    """One sentence: what memory did in this segment."""
    if not memory.chunks:
        return "What memory did here is not known: its trace is missing."
    moments = [item for item in segment.recalled if item.picture is None]
    if given := segment.pictures():
        names = " and of ".join(dict.fromkeys(item.picture.name for item in given if item.picture))
        sentence = f"Memory looked at the given picture of {names}"
        return f"{sentence}." if not moments else f"{sentence}. {_told_of_moments(memory, segment, moments)}"
    return _told_of_moments(memory, segment, moments)


def notes(segment: SegmentMemory) -> list[str]:
    """What a segment says of whom to remember, as far as memory acted on it."""
    told = []
    if segment.called:
        told.append(f"calls {', '.join(segment.called)}")
    if segment.recalls_nothing:
        told.append("recall: none")
    if segment.renewed:
        told.append(f"{', '.join(segment.renewed)}: remembered as they were just before")
    if segment.forgotten:
        told.append(f"{', '.join(segment.forgotten)}: forgotten")
    if segment.remembers:
        told.append(f"{', '.join(segment.remembers)}: remembered as at its end")
    return told


def when_text(item: RecalledFrame) -> str:
    """When a recalled frame was shown, or whose picture it is."""
    if item.picture is None:
        return clock(item.seconds)
    return f"picture of {item.picture.name}" + (MIRRORED if item.picture.file.endswith(MIRRORED) else "")


def _told_of_moments(memory: FilmMemory, segment: SegmentMemory, moments: list[RecalledFrame]) -> str:
    if segment.recalls_nothing and not moments:
        return "Nothing was recalled, as the storyboard says: this segment saw the film's opening and the last seconds."
    if segment.called and not moments:
        names = " and ".join(segment.called)
        return (
            f"Of {names} nothing further back was in memory: this segment saw the film's opening and the last seconds."
        )
    if not moments:
        return "Nothing from further back was needed: this segment saw the film's opening and the last seconds."
    if returns := segment.returns():
        item = returns[0]
        gap = segment.start_seconds - item.seconds
        return f"Memory went back {_span(gap)}, to {_moment(memory, item)}, and made this segment while looking at it."
    item = max(moments, key=lambda item: item.score)
    if item.segment == segment.plan.index:
        return f"Memory kept a moment of this segment itself in view, {clock(item.seconds)}."
    return f"Memory kept {_moment(memory, item)}, in view."


def _moment(memory: FilmMemory, item: RecalledFrame) -> str:
    prompt = first_words(memory.plan.segments[item.segment].prompt, 60).rstrip(".")
    return f"{clock(item.seconds)} in segment {item.segment + 1} (“{prompt}”)"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} minutes"
