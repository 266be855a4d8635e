"""A storyboard's values: what a film is to show, for how long, and what it remembers. Nothing is read or checked here."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memflow_cli.memory.options import MemoryOptions

DEFAULT_MODEL = "theatre"


@dataclass(frozen=True)
class Subject:
    """A character or a place that prompts refer to by name."""

    description: str
    pictures: tuple[str, ...] = ()  # absolute paths: how it looks, before the film has shown it


@dataclass(frozen=True)
class Segment:
    """One entry of the story. `prompt` is complete: names replaced by descriptions, style appended."""

    prompt: str
    seconds: float
    seed: int | None = None
    transition: str = "smooth"
    image: str | None = None  # absolute path of the film's first frame
    title: str | None = None  # of the film's chapter; None: the prompt's first words
    caption: str | None = None  # the subtitle
    names: tuple[str, ...] = ()  # characters and places that are meant to be in the picture
    remember: tuple[str, ...] = ()  # what is on screen at the segment's end is their memory from there on
    forget: tuple[str, ...] = ()  # their memory is gone from this segment on
    recall: tuple[str, ...] | None = None  # whose memory is in the bank, whatever the score says; (): nobody's
    made_after: str | None = (
        None  # in a record: stands for what came before when it was made, where that is another now
    )


@dataclass(frozen=True)
class Storyboard:
    """A story as its author means it. Width, height and fps None: the model's own; seed None: not drawn yet."""

    title: str
    segments: tuple[Segment, ...]
    model: str = DEFAULT_MODEL
    width: int | None = None
    height: int | None = None
    fps: int | None = None
    seed: int | None = None
    style: str = ""
    memory: MemoryOptions = MemoryOptions()
    characters: Mapping[str, Subject] = field(default_factory=dict)
    places: Mapping[str, Subject] = field(default_factory=dict)
    captions: bool = False  # a subtitle track: each segment's caption, or else its prompt
    sound: str | None = None  # absolute path

    @property
    def subjects(self) -> Mapping[str, Subject]:
        """Characters and places by name."""
        return {**self.characters, **self.places}

    @property
    def descriptions(self) -> Mapping[str, str]:
        """Of characters and places, by name."""
        return {name: subject.description for name, subject in self.subjects.items()}

    @property
    def pictured_descriptions(self) -> tuple[str, ...]:
        """How the characters that have pictures are described."""
        return tuple(subject.description for subject in self.characters.values() if subject.pictures)

    @property
    def pictured_places(self) -> list[tuple[int, str]]:
        """The places that have pictures: which segment calls each first, from 0, and how it is described."""
        first: dict[str, int] = {}
        for index, segment in enumerate(self.segments):
            for name in segment.names:
                first.setdefault(name, index)
        called = [(index, self.places[name]) for name, index in first.items() if name in self.places]
        return [(index, place.description) for index, place in called if place.pictures]

    @property
    def files(self) -> list[str]:
        """The pictures and the sound that it brings along: absolute paths."""
        pictures = [picture for subject in self.subjects.values() for picture in subject.pictures]
        named = [*(segment.image for segment in self.segments), *pictures, self.sound]
        return [path for path in named if path is not None]

    def with_files(self, place: Callable[[str], str | None]) -> "Storyboard":
        """The same story with its files elsewhere. `place`: where each lies now, None: the story does without."""

        def placed(path: str | None) -> str | None:
            return None if path is None else place(path)

        def subjects(given: Mapping[str, Subject]) -> dict[str, Subject]:
            kept = {name: tuple(filter(None, map(place, each.pictures))) for name, each in given.items()}
            return {name: dataclasses.replace(each, pictures=kept[name]) for name, each in given.items()}

        segments = tuple(dataclasses.replace(each, image=placed(each.image)) for each in self.segments)
        characters, places = subjects(self.characters), subjects(self.places)
        return dataclasses.replace(
            self, segments=segments, characters=characters, places=places, sound=placed(self.sound)
        )

    def with_seed(self, seed: int) -> "Storyboard":
        return dataclasses.replace(self, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """The resolved storyboard as JSON values, for the record beside a film. `from_json` reads it back."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Storyboard":
        """The inverse of `to_json`; records of memflow 0.1.0 as well. Raises TypeError, KeyError or AttributeError."""
        values = dict(content)
        values["segments"] = tuple(_segment_from_json(segment) for segment in content["segments"])
        values["memory"] = _memory_from_json(content)
        for kind in ("characters", "places"):
            values[kind] = {name: _subject_from_json(value) for name, value in content.get(kind, {}).items()}
        return Storyboard(**values)


def _memory_from_json(content: Mapping[str, Any]) -> MemoryOptions:
    """Records from before pictures were mirrored, and films led towards them, do not say that theirs were not."""
    subjects = (*content.get("characters", {}).values(), *content.get("places", {}).values())
    is_pictured = any(_subject_from_json(subject).pictures for subject in subjects)
    as_before: dict[str, Any] = {"mirror_pictures": False, "picture_guidance": 0.0} if is_pictured else {}
    return MemoryOptions(**{**as_before, **content["memory"]})


def _segment_from_json(content: Mapping[str, Any]) -> Segment:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Segment(**values)


def _subject_from_json(content: Any) -> Subject:
    if isinstance(content, str):
        return Subject(content)
    return Subject(content["description"], tuple(content.get("pictures", ())))
