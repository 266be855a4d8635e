"""From a film's prompts to the texts that are encoded: for models that bring a reader in their folder, as theatre does."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.theatre.meaning import Meaning
from memflow_cli.models.theatre.reader import Reader
from memflow_cli.models.theatre.stage import picture_caption, read_story

ReadStory = Callable[[Sequence[str], Sequence[bool], Sequence[str]], Sequence[Sequence[tuple[int, str]]]]
READER_FOLDER = "reader"  # of a model's folder
COMING_CHUNKS = 2  # theatre's puppets come in and go out in so many


def reader_folder(entry: ModelEntry) -> Path | None:
    """Where a model keeps its reader; None if it has none."""
    folder = entry.folder and entry.folder / READER_FOLDER
    return folder if folder and folder.is_dir() else None


@cache
def load_reader(folder: Path) -> Reader:
    return Reader(folder)


def story_reader(entry: ModelEntry) -> ReadStory | None:
    """A model's `Backbone.read_story`, or None. The reader is loaded with the first story."""
    folder = reader_folder(entry)
    if folder is None:
        return None

    def read(
        prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
    ) -> list[tuple[tuple[int, str], ...]]:
        return [texts_of(meaning) for meaning in read_story(load_reader(folder), prompts, cuts, pictured)]

    return read


def picture_captioner(entry: ModelEntry) -> Callable[[str], str]:
    """A model's `Backbone.caption_picture`."""
    folder = reader_folder(entry)
    return lambda description: description if folder is None else picture_caption(load_reader(folder), description)


def meanings_of(
    entry: ModelEntry, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
) -> list[Meaning] | None:
    """What a story's segments mean; None for a model that is given the prompts as they are written."""
    folder = reader_folder(entry)
    return None if folder is None else read_story(load_reader(folder), prompts, cuts, pictured)


def texts_of(meaning: Meaning) -> tuple[tuple[int, str], ...]:
    """A segment's captions, each with the chunk from which on it holds. A second one waits until who comes has come: how
    long the segment will be may not be known yet.
    """
    beats = meaning.beats
    return ((0, beats[0]),) if len(beats) == 1 else ((0, beats[0]), (COMING_CHUNKS, beats[1]))
