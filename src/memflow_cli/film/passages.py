"""What is said of a film's segments inside it: chapters with their titles, subtitles. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from memflow_cli.story.plan import FilmPlan

TITLE_CHARACTERS = 40  # of a prompt, as a chapter's title


@dataclass(frozen=True)
class Passage:
    """A text that belongs to a stretch of the film: the title of a chapter, or the words of a subtitle."""

    text: str
    start_frame: int
    num_frames: int

    @property
    def end_frame(self) -> int:
        return self.start_frame + self.num_frames


def chapters(plan: FilmPlan, titles: Sequence[str | None] = ()) -> list[Passage]:
    """One chapter per segment, under its title; without one, under its prompt's first words."""
    named = [*titles, *[None] * len(plan.segments)]
    return [
        Passage(title or first_words(segment.prompt), segment.start_frame, segment.num_frames)
        for title, segment in zip(named, plan.segments)
    ]


def subtitles(plan: FilmPlan, captions: Sequence[str | None]) -> list[Passage]:
    """One subtitle per segment that has a caption."""
    return [
        Passage(caption, segment.start_frame, segment.num_frames)
        for caption, segment in zip(captions, plan.segments)
        if caption
    ]


def first_words(text: str, num_characters: int = TITLE_CHARACTERS) -> str:
    """So many whole words from the text's beginning as fit, and an ellipsis if there are more."""
    text = " ".join(text.split())
    if len(text) <= num_characters:
        return text
    words = text[:num_characters].rpartition(" ")[0] or text[: num_characters - 1]
    return words.rstrip(" ,;:.-") + "…"
