"""A film's record, film.json, as a storyboard: it makes the same film again."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memflow_cli.errors import StoryboardError
from memflow_cli.story.draft import Draft
from memflow_cli.story.scalars import plain
from memflow_cli.story.storyboard import Storyboard
from memflow_cli.story.writing import storyboard_to_content


@dataclass(frozen=True)
class ModelFiles:
    """What a film was made with besides a model's name. `loras`: (path, strength)."""

    loras: tuple[tuple[Path, float], ...] = ()
    preview_decoder: Path | None = None


def is_record(content: Any) -> bool:
    return isinstance(content, dict) and "memflow" in content and isinstance(content.get("storyboard"), dict)


def read_record(path: Path, content: dict[str, Any]) -> tuple[Draft, ModelFiles, list[str | None]]:
    """The resolved storyboard as a draft to be checked, its model's files where they were, each segment's `made_after`.

    Raises StoryboardError for a damaged record.
    """
    values = plain(content)
    try:
        model = values.get("model") or {}
        loras = tuple((Path(lora["path"]), float(lora["strength"])) for lora in model.get("loras") or ())
        decoder = model.get("preview_decoder")
        files = ModelFiles(loras, None if decoder is None else Path(decoder))
        storyboard = Storyboard.from_json(values["storyboard"])
        if model.get("path") is not None:
            storyboard = dataclasses.replace(storyboard, model=model["path"])
        made_after = [segment.made_after for segment in storyboard.segments]
        if not all(stands_for is None or isinstance(stands_for, str) for stands_for in made_after):
            raise TypeError("made_after is a text")
        storyboard, moved = as_moved(storyboard, path.absolute().parent)
        draft = Draft(storyboard_to_content(storyboard))
        for was, here in moved.items():
            draft.say(f"{was} is not there any more; {here} is taken")
        return draft, files, made_after
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"[:200]
        raise StoryboardError(str(path), [f"{path}: a film's record that cannot be read: {what}"]) from None


def as_moved(storyboard: Storyboard, folder: Path) -> tuple[Storyboard, dict[str, str]]:
    """Of a project that was moved as a whole: a file that is not where it was is taken from beneath the record's folder, where
    as much of its old path as can be still leads to it. And which those are, old path -> new.
    """
    moved: dict[str, str] = {}
    for path in storyboard.files:
        parts = Path(path).parts[1:]
        ends = [str(folder.joinpath(*parts[start:])) for start in range(len(parts))]
        if ".." not in parts and not os.path.exists(path) and (here := next(filter(os.path.isfile, ends), None)):
            moved[path] = here
    return storyboard.with_files(lambda path: moved.get(path, path)), moved
