"""One field set in a storyboard's own text: everything else, comments and blank lines included, stays as it is."""

import json
from typing import Any

import yaml

from memflow_cli.errors import UsageError
from memflow_cli.story.scalars import plain
from memflow_cli.story.schema import SegmentEntry
from memflow_cli.story.writing import flow
from memflow_cli.story.yaml_lines import read_yaml


def set_segment_field(text: str, index: int, key: str, value: Any) -> str:
    """The storyboard's text with one field of segment `index` (from 0) set or added.

    Raises UsageError where the text has no such segment, or is not one that a line can be changed in.
    """
    before = read_yaml(text)
    segments = before.value.get("segments") if isinstance(before.value, dict) else None
    if not isinstance(segments, list) or not 0 <= index < len(segments) or not isinstance(segments[index], dict):
        raise UsageError(f"the storyboard has no segment {index + 1}")
    mapping = _child(_child(_root(text), "segments"), index)
    changed = _set(text, mapping, key, flow(value))
    wanted = plain(before.value)
    wanted["segments"][index][key] = plain(value)
    if plain(read_yaml(changed).value) != wanted:
        raise UsageError(f"segments.{index + 1}.{key} cannot be set in this file without changing more of it")
    return changed


def names_of_segment(text: str, index: int) -> tuple[str, ...]:
    """Whom segment `index` (from 0) of a storyboard's text is about. It is to be one that can be read."""
    return SegmentEntry.model_validate(read_yaml(text).value["segments"][index]).all_names


def _root(text: str) -> Any:
    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _child(node: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return node.value[key]
    return next(value for name, value in node.value if name.value == key)


def _set(text: str, mapping: Any, key: str, written: str) -> str:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)

    def offset(mark: Any) -> int:
        return starts[int(mark.line)] + int(mark.column)

    for name, value in mapping.value:
        if name.value == key:
            begin, end = offset(value.start_mark), offset(value.end_mark)
            if isinstance(value, yaml.SequenceNode) and not value.flow_style:  # a list of lines, up to what follows it
                begin, end = text.index(":", offset(name.end_mark)) + 1, begin + len(text[begin:end].rstrip())
                written = f" {written}"
            if begin == offset(name.end_mark) + 1 and begin == end:  # `key:` with nothing behind it
                written = f" {written}"
            newline = "\n" if text[begin:end].endswith("\n") else ""  # a block ends in the line behind it
            return text[:begin] + written + newline + text[end:]
    first_name, _ = mapping.value[0]
    if mapping.flow_style:
        is_quoted = first_name.style == '"'
        closing = offset(mapping.end_mark) - 1
        body = text[:closing].rstrip()
        comma = "" if body.endswith(",") else ","
        return f"{body}{comma} {json.dumps(key) if is_quoted else key}: {written}{text[len(body) :]}"
    # a line of its own behind the first key's value, as far in as the first key
    indentation = " " * first_name.start_mark.column
    place = min(starts[_last_line(mapping.value[0][1], first_name) + 1], len(text))
    gap = "" if text[:place].endswith("\n") else "\n"
    return f"{text[:place]}{gap}{indentation}{key}: {written}\n{text[place:]}"


def _last_line(value: Any, name: Any) -> int:
    """The line in which a value ends: a block's end mark lies in the line behind it."""
    end = value.end_mark
    if end.column == 0 and end.line > name.start_mark.line:
        return int(end.line) - 1
    return int(end.line)
