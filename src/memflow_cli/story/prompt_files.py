"""Prompt files, .jsonl and .txt: one film per line, as the published repositories write them.

A line is {"prompts": [...]}, a JSON list of texts, a JSON text, or one prompt as plain text; Infinity-RoPE's and
FramePack-Studio's lines are told by their times. Empty lines and comments (# or //) are left out.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from memflow_cli.story.draft import Draft, draft_of_prompts
from memflow_cli.story.formats import framepack, infinity_rope
from memflow_cli.story.json_lines import read_json
from memflow_cli.story.scalars import plain, text_of
from memflow_cli.story.schema import MAX_SEGMENTS, StoryEntry
from memflow_cli.story.yaml_lines import YamlProblem

MAX_FILMS = 10_000  # of one prompt file
PROMPT_FILES = (".jsonl", ".txt")
_STORY_KEYS = set(StoryEntry.model_fields) - {"segments"}
_COMMENT = re.compile(r"#|//")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_PIECE = re.compile(
    rf"[\[\]{{}},:\s]+|null|true|false|{_TEXT}(\s*,\s*{_TEXT})*\s*(,|,\s*{_TEXT}|:\s*([\[{{].*|{_TEXT}\s*,?))"
)
"""A line of a JSON document that goes over several."""
_NAME_FIRST = re.compile(r"\{[^{}\"':,]+\}")  # a prompt that begins with a word in braces
_MARK = "\ufeff"


def read_lines(text: str, segment_seconds: float) -> Iterator[tuple[int, Draft | str]]:
    """Every film with its line's number, or a sentence about what is wrong with the line."""
    if _is_one_document(text):
        yield (
            1,
            "one JSON document over several lines; one film per line is expected, or a file whose name ends in .json",
        )
        return
    lines = _joined([line.replace(_MARK, "").strip() for line in text.split("\n")])
    comments: list[int] = []
    for number, line in lines:
        if not line:
            continue
        if _COMMENT.match(line):
            comments.append(number)
            continue
        try:
            draft = _read_line(line, segment_seconds).in_line(number)
        except ValueError as error:
            yield number, str(error)
            continue
        if comments:
            draft.say(f"{len(comments)} line(s) before it begin with # or // and are left out as comments", comments[0])
            comments = []
        yield number, draft


def _is_one_document(text: str) -> bool:
    text = text.replace(_MARK, "").strip()
    if text[:1] not in ("[", "{") or "\n" not in text:
        return False
    with contextlib.suppress(YamlProblem):
        read_json(text)
        return True
    return False


def _joined(lines: list[str]) -> list[tuple[int, str]]:
    """A line that begins with a time later than the film's start goes on with the line before it."""
    joined: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if joined and joined[-1][1] and framepack.starts_later(line):
            joined[-1] = joined[-1][0], f"{joined[-1][1]} {line}"
        else:
            joined.append((number, line))
    return joined


def _read_line(line: str, segment_seconds: float) -> Draft:
    """Raises ValueError with a sentence."""
    if line.startswith("{") and not _NAME_FIRST.match(line):
        return _read_mapping(_json(line), segment_seconds)
    if (timed := framepack.read_text(line, segment_seconds)) is not None:
        return timed
    if re.match(r'\[\s*["\]\[{]', line) or _is_json_list(line):
        return draft_of_prompts(_texts(_json(line)), segment_seconds)
    if _PIECE.fullmatch(line):
        raise ValueError(f"{line[:40]!r} is a piece of JSON, not a prompt; one film per line is expected")
    if line.startswith('"'):
        with contextlib.suppress(ValueError):  # of a prompt that begins with a quoted word
            line = str(json.loads(line))
    parsed = infinity_rope.read_line(line, segment_seconds)
    draft = draft_of_prompts([line], segment_seconds) if parsed is None else parsed
    prompts = " | ".join(each["prompt"] for each in draft.content["segments"])
    for found in infinity_rope.ALMOST_LENGTH.finditer(prompts):
        draft.say(f"{found[1][:40]} is no length such as [5s], and stays in the prompt")
    return draft


def _is_json_list(line: str) -> bool:
    """[1, 2] and [null]: lists without a single text, which are nobody's prompt either."""
    with contextlib.suppress(YamlProblem):
        return isinstance(read_json(line).value, list)
    return False


def _json(line: str) -> Any:
    try:
        return read_json(line).value
    except YamlProblem as problem:
        expected = '{"prompts": ["...", "..."]}, a list of texts or one prompt as plain text is expected'
        raise ValueError(f"{problem.message}; {expected}") from None


def _read_mapping(content: Any, segment_seconds: float) -> Draft:
    seconds: float | list[float] = segment_seconds
    prompts = _texts(content.get("prompts"), '"prompts" ')
    durations = plain(content.get("durations"))
    if durations is not None:
        if not isinstance(durations, list) or len(durations) != len(prompts):
            raise ValueError(f'"durations" must be a list of {len(prompts)}, one for each prompt')
        seconds = durations
    fields = {key: value for key, value in content.items() if key in _STORY_KEYS}
    draft = draft_of_prompts(prompts, seconds, **fields)
    for key in content.keys() - _STORY_KEYS - {"prompts", "durations"}:
        draft.say(f"{key[:40]!r} has no meaning here, and is left out")
    return draft


def _texts(values: Any, name: str = "a list of prompts ") -> list[str]:
    texts = [text_of(value) for value in values] if isinstance(values, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name}must be a list of at least one text")
    if len(texts) > MAX_SEGMENTS:
        raise ValueError(f"{len(texts):,} prompts; at most {MAX_SEGMENTS:,} are allowed")
    return texts
