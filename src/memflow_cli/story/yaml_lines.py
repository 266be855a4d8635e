"""YAML text -> plain values and the line of each, for files that nobody vouches for.

Read from the parser's events, not by a constructor, so that the work is bounded: no aliases (a "billion laughs" has none
to expand), no tags, no more than `MAX_DEPTH` levels and `MAX_VALUES` values. Scalars follow YAML 1.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from memflow_cli.story.prompts import composed
from memflow_cli.story.scalars import read_scalar
from memflow_cli.story.yaml_advice import advice

MAX_DEPTH = 16
MAX_VALUES = 500_000  # 30,000 segments with every field they have
MAX_PROBLEMS = 1000  # that are collected
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

KeyPath = tuple[str | int, ...]


class YamlProblem(Exception):  # noqa: N818 - turned into a StoryboardError where the file's name is known
    """What is wrong, and in which line (counted from 1; None: nowhere in particular)."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass
class Document:
    """`value`: dicts, lists, str, Scalar, None. `lines`: the line of every value, by its path from the root."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[YamlProblem] = field(default_factory=list)  # what does not stop the reading: repeated keys
    cut_short: list[KeyPath] = field(default_factory=list)  # unquoted texts that ` #` ends

    def repeated(self, key: str, line: int) -> None:
        """Takes down that a key is given twice. Raises YamlProblem if that never ends."""
        if len(self.problems) >= MAX_PROBLEMS:
            raise YamlProblem(line, f"more than {MAX_PROBLEMS:,} keys are given twice")
        self.problems.append(YamlProblem(line, f"{key[:60]!r} is given twice"))


def read_yaml(text: str) -> Document:
    """Raises YamlProblem for what is not YAML, or YAML that a storyboard has no use for."""
    reader = _Reader(text)
    try:
        return reader.read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip().count("\n")  # a file that ends too soon is wrong where it ends, not in the line after
        what = " ".join(part for part in (error.context, error.problem) if part)
        line = min(mark.line, last) + 1 if mark else None
        raise YamlProblem(line, f"not valid YAML: {what}{advice(text, error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise YamlProblem(line, "a control character, which YAML does not allow") from None
    except yaml.YAMLError as error:
        raise YamlProblem(None, f"not valid YAML: {error}") from None


class _Reader:
    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = self._parse(text)
        self._text_lines = text.split("\n")
        self._document = Document()

    @staticmethod
    def _parse(text: str) -> Iterator[Any]:
        yield from yaml.parse(text, Loader=_LOADER)

    def read(self) -> Document:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return self._document
        self._document.value = self._read(next(self._events), ())
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise YamlProblem(event.start_mark.line + 1, "a second document starts here; a storyboard is one")
        return self._document

    def _read(self, event: Any, path: KeyPath) -> Any:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            text = "anchors and aliases (& and *) are not used in storyboards; write the text out, in quotes if it begins so"
            raise YamlProblem(line, text)
        if getattr(event, "tag", None) and event.tag != "!":
            text = f"the tag {event.tag[:40]!r} is not used in storyboards; a text that starts with ! needs quotes"
            raise YamlProblem(line, text)
        if len(self._document.lines) >= MAX_VALUES:
            raise YamlProblem(line, f"more than {MAX_VALUES:,} values; that is not a storyboard")
        self._document.lines[path] = line
        if isinstance(event, yaml.ScalarEvent):
            if not event.implicit[0]:
                return event.value
            if self._goes_on_as_comment(event.end_mark):
                self._document.cut_short.append(path)
            return read_scalar(event.value)
        if len(path) >= MAX_DEPTH:
            raise YamlProblem(line, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._read_list(path)
        return self._read_mapping(path)

    def _goes_on_as_comment(self, end: Any) -> bool:
        lines = self._text_lines
        return end.line < len(lines) and lines[end.line][end.column :].lstrip(" \t").startswith("#")

    def _read_list(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._read(event, (*path, len(items))))
        return items

    def _read_mapping(self, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent):
                what = "an alias" if isinstance(event, yaml.AliasEvent) else "a list or mapping"
                text = f"a key must be a word, not {what} (a text that starts with {{ or [ needs quotes)"
                raise YamlProblem(line, text)
            key = composed(event.value)
            value = self._read(next(self._events), (*path, key))
            if key in values:
                self._document.repeated(key, line)
            values[key] = value
            self._document.lines[(*path, key)] = line  # the key's line: where a reader looks for it
        return values
