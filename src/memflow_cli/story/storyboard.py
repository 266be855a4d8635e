"""storyboard.yaml -> Storyboard: pydantic at the border, frozen values inside.

All problems are reported at once, each with file, line, field and what is allowed. Files are untrusted: their size,
depth, texts and numbers are bounded, and nothing in them is executed.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memflow_cli.errors import StoryboardError, UsageError
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.story.schema import (
    DEFAULT_MODEL,
    MAX_SEGMENTS,
    StoryEntry,
    check_story,
    complete_prompt,
)
from memflow_cli.story.yaml_lines import KeyPath, YamlProblem, read_scalar, read_yaml

MAX_FILE_BYTES = 32 << 20
MAX_FILMS = 10_000  # of one prompt file
PROMPT_FILES = (".jsonl", ".txt")
_FIRST_PICTURE: KeyPath = ("segments", 0, "image")
_OUTSIDE = (
    "is outside the storyboard's folder; put the picture beside the storyboard, "
    "or name it yourself: --set segments.1.image=PATH"
)


@dataclass(frozen=True)
class Segment:
    """One entry of the story. `prompt` is complete: characters replaced, style appended."""

    prompt: str
    seconds: float
    seed: int | None = None
    transition: str = "smooth"
    image: str | None = None  # absolute path of the film's first frame


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
    characters: Mapping[str, str] = field(default_factory=dict)

    def with_seed(self, seed: int) -> "Storyboard":
        return dataclasses.replace(self, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """The resolved storyboard as JSON values, for the record beside a film. `from_json` reads it back."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Storyboard":
        """The inverse of `to_json`. Raises TypeError or KeyError for anything else."""
        values = dict(content)
        values["segments"] = tuple(Segment(**segment) for segment in content["segments"])
        values["memory"] = MemoryOptions(**content["memory"])
        return Storyboard(**values)


@dataclass(frozen=True)
class Override:
    """A field set from outside the file, and by what: `--set memory.bank=5` or `--bank 5`."""

    key: str  # dotted; segments count from 1: segments.2.prompt
    value: Any
    origin: str = ""

    @property
    def path(self) -> KeyPath:
        parts: list[str | int] = []
        for part in self.key.split("."):
            is_number = part.isascii() and part.isdecimal() and len(part) < 10 and int(part) > 0
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


def load_storyboard(path: Path, overrides: Sequence[Override] = ()) -> Storyboard:
    """Reads one YAML storyboard. Raises StoryboardError with every problem found, UsageError if it cannot be read."""
    text = _read_text(path)
    try:
        document = read_yaml(text)
    except YamlProblem as problem:
        raise StoryboardError(str(path), [_at(path, problem.line) + problem.message]) from None
    problems = [(problem.line or 0, _at(path, problem.line) + problem.message) for problem in document.problems]
    return _build(path, document.value, document.lines, overrides, problems)


def load_prompts(path: Path, segment_seconds: float, overrides: Sequence[Override] = ()) -> list[Storyboard]:
    """Reads the published repositories' prompt files: one film a line, every prompt `segment_seconds` long.

    A line is a JSON object {"prompts": ["...", ...]}, or one prompt as plain text. Empty lines are left out.
    Raises StoryboardError with every problem found.
    """
    films: list[Storyboard] = []
    problems: list[str] = []
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        if len(films) + len(problems) >= MAX_FILMS:
            raise StoryboardError(str(path), [f"{path}, line {number}: more than {MAX_FILMS:,} films; split the file"])
        try:
            prompts = _prompts_of_line(line.strip())
        except ValueError as error:
            problems.append(f"{path}, line {number}: {error}")
            continue
        content = {
            "title": f"{path.stem} {len(films) + 1}",
            "segments": [{"prompt": _escape_braces(p), "duration": segment_seconds} for p in prompts],
        }
        lines: dict[KeyPath, int] = {(): number, **{("segments", i): number for i in range(len(prompts))}}
        try:
            films.append(_build(path, content, lines, overrides, []))
        except StoryboardError as error:
            problems.extend(error.problems)
    if problems:
        raise StoryboardError(str(path), problems)
    if not films:
        raise StoryboardError(str(path), [f"{path}: no prompt in it; one film a line is expected"])
    return films


def load_stories(path: Path, segment_seconds: float, overrides: Sequence[Override] = ()) -> list[Storyboard]:
    """A YAML storyboard (one film) or a .jsonl or .txt prompt file (a film a line)."""
    if path.suffix.lower() in PROMPT_FILES:
        return load_prompts(path, segment_seconds, overrides)
    return [load_storyboard(path, overrides)]


def place_of(path: Path, field: KeyPath, overrides: Sequence[Override]) -> str:
    """What a sentence begins with about a field that only its model finds wrong: the file, and the option or line.

    The file is read once more, for a storyboard does not keep its lines.
    """
    for override in reversed(overrides):
        if override.path == field:
            return f"{path}: {override.where}: "
    if path.suffix.lower() in PROMPT_FILES:
        return _at(path, None)
    return _at(path, read_yaml(_read_text(path)).lines.get(field))


def _build(
    path: Path,
    content: Any,
    lines: Mapping[KeyPath, int],
    overrides: Sequence[Override],
    problems: list[tuple[int, str]],
) -> Storyboard:
    """Plain values -> Storyboard: overrides applied, everything checked, texts resolved."""
    if content is None:
        raise StoryboardError(str(path), [f"{path}: the storyboard is empty; it needs at least `segments:`"])
    if not isinstance(content, dict):
        raise StoryboardError(str(path), [_at(path, lines.get((), 1)) + "a storyboard is a mapping of keys to values"])
    origins: dict[KeyPath, str] = {}
    for override in overrides:
        try:
            _apply(content, override)
        except LookupError as error:
            problems.append((0, f"{override.where}: {error.args[0]}"))
        else:
            origins[override.path] = override.where
    entry, found = check_story(content)
    if entry is not None and _FIRST_PICTURE not in origins and _leaves_folder(path.parent, entry.segments[0].image):
        found.append((_FIRST_PICTURE, _OUTSIDE))
    for key_path, message in found:
        place = _place(path, key_path, lines, origins)
        problems.append((place[0], place[1] + message))
    if problems or entry is None:
        raise StoryboardError(str(path), [message for _, message in sorted(problems, key=lambda item: item[0])])
    return _resolve(path, entry)


def _leaves_folder(folder: Path, name: str | None) -> bool:
    """Whether a storyboard names a file outside its own folder, symbolic links followed: it may be a stranger's."""
    if name is None:
        return False
    return not Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder))


def _resolve(path: Path, entry: StoryEntry) -> Storyboard:
    width, height = entry.size or (None, None)
    memory = MemoryOptions(
        policy=entry.memory.policy,
        bank=entry.memory.bank,
        activate=entry.memory.activate,
        archive_bytes=entry.memory.archive,
        record_interval=entry.memory.record_interval,
        score=entry.memory.score,
        positions=entry.memory.positions,
    )
    segments = tuple(
        Segment(
            prompt=complete_prompt(segment.prompt, entry.characters, entry.style),
            seconds=segment.duration,
            seed=segment.seed,
            transition=segment.transition,
            image=None if segment.image is None else str((path.parent / segment.image).absolute()),
        )
        for segment in entry.segments
    )
    return Storyboard(
        title=entry.title or path.stem,
        segments=segments,
        model=entry.model,
        width=width,
        height=height,
        fps=entry.fps,
        seed=entry.seed,
        style=entry.style,
        memory=memory,
        characters=entry.characters,
    )


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
            raise LookupError(f"{part!r} is no number of a segment (the first is 1)")
        elif not isinstance(place, dict):
            raise LookupError(f"{'.'.join(map(str, parents[:depth]))} holds no keys")
        if depth == len(parents):
            place[part] = override.value
        elif isinstance(part, int):
            place = place[part]
        else:
            place = place.setdefault(part, {}) if place.get(part) is not None else _new_mapping(place, part)


def _new_mapping(place: dict[str, Any], key: str) -> dict[str, Any]:
    place[key] = {}
    return place[key]


def _place(
    path: Path, key_path: KeyPath, lines: Mapping[KeyPath, int], origins: Mapping[KeyPath, str]
) -> tuple[int, str]:
    """Where a problem lies: (line for sorting, text to begin the sentence with)."""
    if key_path in origins:
        return 0, f"{origins[key_path]}: "
    field_name = ".".join(str(part + 1) if isinstance(part, int) else part[:60] for part in key_path)
    for length in range(len(key_path), -1, -1):
        line = lines.get(key_path[:length])
        if line is not None:
            return line, _at(path, line) + (f"{field_name}: " if field_name else "")
    return 0, f"{path}: " + (f"{field_name}: " if field_name else "")


def _at(path: Path, line: int | None) -> str:
    return f"{path}: " if line is None else f"{path}, line {line}: "


def _read_text(path: Path) -> str:
    """The file's text. Raises UsageError unless it is a readable UTF-8 file of sensible size."""
    try:
        if path.is_dir():
            raise UsageError(f"{path}: a folder, not a storyboard")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file", hint="`memflow init` writes a storyboard to begin with") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; that is no storyboard")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text") from None


def _prompts_of_line(line: str) -> list[str]:
    """The prompts of one film. Raises ValueError with a sentence."""
    if not line.startswith("{"):
        return [line]
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError('no valid JSON; {"prompts": ["...", "..."]} or one prompt as plain text is expected') from None
    prompts = content.get("prompts")
    if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError('"prompts" must be a list of at least one text')
    if len(prompts) > MAX_SEGMENTS:
        raise ValueError(f"{len(prompts):,} prompts; at most {MAX_SEGMENTS:,} are allowed")
    return prompts


def _escape_braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
