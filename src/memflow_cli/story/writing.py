"""Storyboard -> YAML whose reading gives an equal Storyboard; and one field set in a file that people wrote."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memflow_cli.story.prompts import escape_braces, one_line
from memflow_cli.story.storyboard import DEFAULT_MODEL, Segment, Storyboard, Subject

_SHORT_LISTS = ("names", "remember", "forget", "recall")


def storyboard_to_yaml(storyboard: Storyboard, folder: Path | None = None) -> str:
    """YAML that reads as an equal storyboard. Prompts are complete: names have become descriptions.

    `folder`: where the file will lie; paths inside of it are written relative to it, all others as they are.
    A style that not every prompt ends with is left out, for reading would append it.
    """
    content = storyboard_to_content(storyboard, folder)
    lines: list[str] = []
    for key, value in content.items():
        if key == "segments":
            lines.append("\nsegments:")
            for segment in value:
                pairs = [f"{name}: {flow(each)}" for name, each in segment.items()]
                lines += [f"  - {pairs[0]}", *(f"    {pair}" for pair in pairs[1:])]
        elif isinstance(value, dict):
            lines.append(f"{key}:")
            lines += [f"  {flow(name)}: {flow(each)}" for name, each in value.items()]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def storyboard_to_content(storyboard: Storyboard, folder: Path | None = None) -> dict[str, Any]:
    """Plain values, as reading the YAML gives them."""
    style = one_line(storyboard.style)
    has_style = all(segment.prompt.endswith(style) for segment in storyboard.segments)
    size = f"{storyboard.width}x{storyboard.height}" if storyboard.width and storyboard.height else None
    content = {
        "title": storyboard.title,
        "model": storyboard.model if storyboard.model != DEFAULT_MODEL else None,
        "size": size,
        "fps": storyboard.fps,
        "seed": storyboard.seed,
        "style": escape_braces(storyboard.style) if storyboard.style and has_style else None,
        "captions": storyboard.captions or None,
        "sound": _relative(storyboard.sound, folder),
        "characters": _subjects(storyboard.characters, folder),
        "places": _subjects(storyboard.places, folder),
        "memory": _memory(storyboard),
        "segments": [_segment(segment, folder) for segment in storyboard.segments],
    }
    return {key: value for key, value in content.items() if value not in (None, {})}


def _segment(segment: Segment, folder: Path | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "prompt": escape_braces(segment.prompt),
        "duration": int(segment.seconds) if segment.seconds == int(segment.seconds) else segment.seconds,
        "seed": segment.seed,
        "transition": segment.transition if segment.transition != "smooth" else None,
        "image": _relative(segment.image, folder),
        "title": segment.title,
        "caption": segment.caption,
    }
    for key in ("names", "remember", "forget"):
        content[key] = list(getattr(segment, key)) or None
    content = {key: value for key, value in content.items() if value is not None}
    if segment.recall is not None:
        content["recall"] = list(segment.recall) or "none"
    return content


def _subjects(subjects: Mapping[str, Subject], folder: Path | None) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, subject in subjects.items():
        pictures = [_relative(picture, folder) for picture in subject.pictures]
        description = escape_braces(subject.description)
        content[name] = {"description": description, "picture": pictures} if pictures else description
    return content


def _memory(storyboard: Storyboard) -> dict[str, Any]:
    """The options that differ from what is taken where nothing is said."""
    memory, default = storyboard.memory, type(storyboard.memory)()
    names = {"archive_bytes": "archive"}
    return {names.get(key, key): value for key, value in vars(memory).items() if value != getattr(default, key)}


def _relative(path: str | None, folder: Path | None) -> str | None:
    if path is None or folder is None:
        return path
    base = os.path.abspath(folder)
    return os.path.relpath(path, base) if Path(path).is_relative_to(base) else path


def flow(value: Any) -> str:
    """A value on one line. Texts in double quotes, whose escapes JSON and YAML share."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return "".join(character if _stands_plainly(character) else f"\\u{ord(character):04x}" for character in text)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(each) for each in value) + "]"
    return json.dumps(value)


def _stands_plainly(character: str) -> bool:
    """Whether YAML takes a character as it is."""
    return character not in "\x7f\ufeff\ufffe\uffff" and not "\x80" <= character <= "\x9f"
