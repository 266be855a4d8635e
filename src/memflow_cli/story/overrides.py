"""Fields of a storyboard that are set from outside its file: `--set memory.bank=5`, `--bank 5`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from memflow_cli.errors import UsageError
from memflow_cli.story.draft import SUBJECTS
from memflow_cli.story.prompts import composed, plain_name
from memflow_cli.story.scalars import read_scalar, text_of
from memflow_cli.story.yaml_lines import KeyPath


@dataclass(frozen=True)
class Override:
    """A field set from outside the file, and by what: `--set memory.bank=5` or `--bank 5`."""

    key: str  # dotted; segments count from 1: segments.2.prompt
    value: Any
    origin: str = ""

    @property
    def path(self) -> KeyPath:
        parts: list[str | int] = []
        for part in composed(self.key).split("."):
            is_number = part.isascii() and part.isdecimal() and len(part) < 10 and int(part) > 0
            if len(parts) == 1 and parts[0] in SUBJECTS:
                part = plain_name(part)
            parts.append(int(part) - 1 if is_number and parts == ["segments"] else part)
        return tuple(parts)

    @property
    def where(self) -> str:
        return self.origin or f"--set {self.key}"


def parse_override(text: str) -> Override:
    """`memory.bank=5` -> Override. Raises UsageError without an equals sign."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text[:80]}: not of the form key=value", hint="for example --set memory.bank=5")
    return Override(key.strip(), read_scalar(value))


def apply_overrides(content: dict[str, Any], overrides: Iterable[Override]) -> tuple[dict[KeyPath, str], list[str]]:
    """Sets every field in `content`. Returns what set which field, and a sentence for each that has no such place."""
    origins: dict[KeyPath, str] = {}
    problems: list[str] = []
    for override in overrides:
        try:
            _apply(content, override)
        except LookupError as error:
            problems.append(f"{override.where}: {error.args[0]}")
        else:
            origins[override.path] = override.where
    return origins, problems


def _apply(content: dict[str, Any], override: Override) -> None:
    """Sets one dotted field; mappings on the way are made. Raises LookupError with a sentence if there is no such place."""
    *parents, last = override.path
    place: Any = content
    for depth, part in enumerate([*parents, last]):
        if isinstance(part, int):
            if not isinstance(place, list) or part >= len(place):
                count = len(place) if isinstance(place, list) else 0
                raise LookupError(f"there is no segment {part + 1}; the storyboard has {count}")
        elif isinstance(place, list):
            raise LookupError(f"{part!r} is not a segment's number (the first is 1)")
        elif not isinstance(place, dict):
            raise LookupError(f"{'.'.join(map(str, parents[:depth]))} holds no keys")
        if depth == len(parents):
            place[part] = override.value
        elif isinstance(part, int):
            place = place[part]
        else:
            if place.get(part) is None:
                place[part] = {}
            elif depth == 1 and parents[0] in SUBJECTS and isinstance(text_of(place[part]), str):
                place[part] = {"description": place[part]}
            place = place[part]
