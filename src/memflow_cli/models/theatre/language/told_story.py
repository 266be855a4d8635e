"""From a film's prompts to the texts that are encoded: for models that bring a reader in their folder, as theatre does."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import zip_longest
from pathlib import Path

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.theatre.language.meaning import Meaning
from memflow_cli.models.theatre.language.reader import Reader
from memflow_cli.models.theatre.language.stage import picture_caption, read_story, setting_in

Texts = tuple[tuple[int, str], ...]  # of a segment: (chunk, what holds from there on)
StandsApart = Callable[[Sequence[str], Sequence[bool], Sequence[str]], Sequence[bool]]
ReadStory = Callable[[Sequence[str], Sequence[bool], Sequence[str], Sequence[int]], Sequence[Texts]]
READER_FOLDER = "reader"  # of a model's folder
COMING_CHUNKS = 2  # theatre's puppets come in and go out in so many


def reader_folder(entry: ModelEntry) -> Path | None:
    """Where a model keeps its reader; None if it has none."""
    folder = entry.folder and entry.folder / READER_FOLDER
    return folder if folder and folder.is_dir() else None


@cache
def load_reader(folder: Path) -> Reader:
    return Reader(folder)


@lru_cache(maxsize=1)
def _meanings(
    folder: Path, prompts: tuple[str, ...], cuts: tuple[bool, ...], pictured: tuple[str, ...]
) -> tuple[Meaning, ...]:
    """A film asks twice of the same story, one after the other: what it is told, and which scenes stand apart."""
    return tuple(read_story(load_reader(folder), prompts, cuts, pictured))


def story_reader(entry: ModelEntry) -> ReadStory | None:
    """A model's `Backbone.read_story`, or None. The reader is loaded with the first story."""
    folder = reader_folder(entry)
    if folder is None:
        return None

    def read(
        prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = (), lengths: Sequence[int] = ()
    ) -> list[Texts]:
        return texts_of(_meanings(folder, tuple(prompts), tuple(cuts), tuple(pictured)), cuts, lengths)

    return read


def scene_reader(entry: ModelEntry) -> StandsApart | None:
    """A model's `Backbone.stands_apart`, or None."""
    folder = reader_folder(entry)
    if folder is None:
        return None

    def read(prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()) -> list[bool]:
        return [meaning.is_apart for meaning in _meanings(folder, tuple(prompts), tuple(cuts), tuple(pictured))]

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


def setting_of(entry: ModelEntry, description: str) -> str | None:
    """The setting that a place's description names; None: none, or the model has no reader."""
    folder = reader_folder(entry)
    return None if folder is None else setting_in(load_reader(folder), description)


def texts_of(meanings: Sequence[Meaning], cuts: Sequence[bool], lengths: Sequence[int] = ()) -> list[Texts]:
    """The captions of each segment. A second one waits until who comes has come, or who goes has gone; where a segment ends
    before the second has, the next begins so much later, unless it is a cut.

    `lengths`: chunks of each segment, as far as they are known; of its own length no segment makes use, for it may change.
    """
    told: list[Texts] = []
    rest: Texts = ()
    late = 0
    for meaning, cut, length in zip_longest(meanings, cuts, lengths[: len(meanings)]):
        if cut:
            rest, late = (), 0
        beats = [(late + index * COMING_CHUNKS, text) for index, text in enumerate(meaning.beats)]
        texts = (*rest, *beats)
        told.append(texts)
        takes_its_time = meaning.num_travelling > (0 if late else 1)
        rest, late = _left_over(texts, late + (meaning.num_travelling * COMING_CHUNKS if takes_its_time else 1), length)
    return told


def _left_over(texts: Texts, needed: int, length: int | None) -> tuple[Texts, int]:
    """What of a segment's captions is told in the next one, and for how many chunks: no more than one who comes takes."""
    late = min(max(needed - length, 0), COMING_CHUNKS) if length else 0
    left = {max(chunk - (length or 0), 0): text for chunk, text in texts}
    return tuple((chunk, text) for chunk, text in left.items() if chunk < late), late
