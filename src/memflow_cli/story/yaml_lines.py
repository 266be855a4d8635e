"""YAML text -> plain values and the line of each, for files that nobody vouches for.

Read from the parser's events, not by a constructor, so that the work is bounded: no aliases (a "billion laughs" has none
to expand), no tags, no more than `MAX_DEPTH` levels and `MAX_VALUES` values. Scalars follow YAML 1.2: `on`, `1:30` and
`2024-01-01` are texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_DEPTH = 16
MAX_VALUES = 250_000  # 30,000 segments with every field they have
MAX_PROBLEMS = 1000  # that are collected
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

KeyPath = tuple[str | int, ...]


class YamlProblem(Exception):  # noqa: N818 - turned into a StoryboardError where the file's name is known
    """What is wrong, and in which line (counted from 1; None: nowhere in particular)."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass
class YamlDocument:
    """`value`: dicts, lists, str, int, float, bool, None. `lines`: the line of every value, by its path from the root."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[YamlProblem] = field(default_factory=list)  # what does not stop the reading: repeated keys


def read_yaml(text: str) -> YamlDocument:
    """Raises YamlProblem for what is no YAML, or YAML that a storyboard has no use for."""
    document = YamlDocument()
    events = _events(text)
    try:
        next(events)  # the stream's start
        event = next(events)
        if isinstance(event, yaml.StreamEndEvent):
            return document
        document.value = _read(next(events), events, document, ())
        next(events)  # the document's end
        event = next(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.rstrip().count("\n")  # a file that ends too soon is wrong where it ends, not in the line after
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblem(
            min(mark.line, last) + 1 if mark else None, f"no valid YAML: {what}{_advice(text, error)}"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise YamlProblem(line, "a control character, which YAML does not allow") from None
    except yaml.YAMLError as error:
        raise YamlProblem(None, f"no valid YAML: {error}") from None
    if not isinstance(event, yaml.StreamEndEvent):
        raise YamlProblem(event.start_mark.line + 1, "a second document starts here; a storyboard is one")
    return document


def read_scalar(text: str) -> Any:
    """A plain YAML scalar: null, bool, int, float, or the text itself."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _advice(text: str, error: yaml.MarkedYAMLError) -> str:
    """For the two mistakes that every storyboard writer makes once: an unquoted `{name} ...` and an unquoted colon."""
    lines = text.split("\n")
    marks = [mark.line for mark in (error.problem_mark, error.context_mark) if mark and mark.line < len(lines)]
    if any(re.search(r"(: |- )\s*[{\[@`%&*!]", lines[line]) for line in marks):
        return " (a text that starts with { or another special character needs quotes)"
    if any(": " in lines[line] for line in marks):
        return " (a text with a colon in it needs quotes)"
    return ""


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=_LOADER)


def _read(event: Any, events: Iterator[Any], document: YamlDocument, path: KeyPath) -> Any:
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise YamlProblem(line, "anchors and aliases (& and *) are not used in storyboards; write the text out")
    if getattr(event, "tag", None) and event.tag != "!":
        raise YamlProblem(line, f"the tag {event.tag[:40]!r} is not used in storyboards; write a plain value")
    if len(document.lines) >= MAX_VALUES:
        raise YamlProblem(line, f"more than {MAX_VALUES:,} values; that is no storyboard")
    document.lines[path] = line
    if isinstance(event, yaml.ScalarEvent):
        return read_scalar(event.value) if event.implicit[0] else event.value
    if len(path) >= MAX_DEPTH:
        raise YamlProblem(line, f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        for item in events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            items.append(_read(item, events, document, (*path, len(items))))
        return items
    return _read_mapping(events, document, path)


def _read_mapping(events: Iterator[Any], document: YamlDocument, path: KeyPath) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.ScalarEvent):
            what = "an alias" if isinstance(event, yaml.AliasEvent) else "a list or mapping"
            raise YamlProblem(line, f"a key must be a word, not {what} (a text that starts with {{ or [ needs quotes)")
        key = event.value
        value = _read(next(events), events, document, (*path, key))
        if key in values:
            if len(document.problems) >= MAX_PROBLEMS:
                raise YamlProblem(line, f"more than {MAX_PROBLEMS:,} keys are given twice")
            document.problems.append(YamlProblem(line, f"{key[:60]!r} is given twice"))
        values[key] = value
        document.lines[(*path, key)] = line  # the key's line: where a reader looks for it
    return values
