"""Plain values -> a checked entry, or every problem with its place: pydantic's in our words, and rules across fields."""

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from memflow_cli.story.draft import SUBJECTS
from memflow_cli.story.prompts import MAX_NAMES, completed_length, is_blank, names_in, plain_name
from memflow_cli.story.quantities import shown
from memflow_cli.story.scalars import text_of
from memflow_cli.story.schema import (
    MAX_PROMPT_LENGTH,
    MAX_SEGMENTS,
    MemoryEntry,
    SegmentEntry,
    StoryEntry,
    SubjectEntry,
)
from memflow_cli.story.texts import did_you_mean
from memflow_cli.story.yaml_lines import KeyPath

MAX_PROBLEMS = 1000  # that are put into words
_ENTRIES: dict[str, type[BaseModel]] = {
    "segments": SegmentEntry,
    "memory": MemoryEntry,
    "characters": SubjectEntry,
    "places": SubjectEntry,
}
_MAX_NAME = 40
_NOBODY = {True: "for nobody, write `none`, in small letters and not in a list", False: "for nobody, leave it out"}

Problem = tuple[KeyPath, str]


def check_story(content: dict[str, Any]) -> tuple[StoryEntry | None, list[Problem]]:
    """Validates plain values. Returns the entry (None if it is wrong) and every problem as (place, sentence).

    Of thousands of problems, the first `MAX_PROBLEMS` of pydantic's and of ours.
    """
    segments = content.get("segments")
    if isinstance(segments, list) and len(segments) > MAX_SEGMENTS:
        return None, [(("segments",), f"{len(segments):,} segments; at most {MAX_SEGMENTS:,} are allowed")]
    problems: list[Problem] = []
    entry = None
    # `style:` with nothing behind it is a field left at its default
    content = {key: value for key, value in content.items() if value is not None or key not in StoryEntry.model_fields}
    try:
        entry = StoryEntry.model_validate(content)
    except ValidationError as error:
        problems.extend(_translate(problem) for problem in error.errors(include_url=False)[:MAX_PROBLEMS])
    for number, problem in enumerate(_across_fields(content), start=1):
        problems.append(problem)
        if number == MAX_PROBLEMS:
            break
    return entry, problems


def _across_fields(content: dict[str, Any]) -> Iterator[Problem]:
    """Rules across fields, on whatever part of the story is readable."""
    descriptions: dict[str, str | None] = {}
    for kind in SUBJECTS:
        subjects = content.get(kind)
        for name, subject in subjects.items() if isinstance(subjects, dict) else ():
            yield from _check_subject((kind, name), name, subject, descriptions)
    names = _Names(descriptions)
    style = text_of(content.get("style"))
    if isinstance(style, str):
        yield from _check_refers_to_nobody(("style",), "a style", style)
    segments = content.get("segments")
    for index, segment in enumerate(segments if isinstance(segments, list) else []):
        if isinstance(segment, dict):
            yield from _check_segment(index, segment, names, style if isinstance(style, str) else "")


def _check_subject(place: KeyPath, name: str, subject: Any, descriptions: dict[str, str | None]) -> Iterator[Problem]:
    if not _is_name(name) or name.lower() == "none":
        yield place, "a name is up to 40 letters, digits, _, - or spaces, and not `none`"
    if name in descriptions:
        yield place, "is the name of a character already"
    description = text_of(subject.get("description") if isinstance(subject, dict) else subject)
    descriptions[name] = description if isinstance(description, str) else None
    if isinstance(description, str):
        yield from _check_refers_to_nobody(place, "a description", description)
        if is_blank(description):
            yield (
                (*place, "description") if isinstance(subject, dict) else place,
                "is empty; say who or what is to be seen",
            )


def _check_refers_to_nobody(place: KeyPath, what: str, text: str) -> Iterator[Problem]:
    for name in itertools.islice(names_in(text), 1):
        yield place, f"{{{name[:40]}}}: {what} cannot refer to a character or place; write {{{{ for a brace"


def _is_name(name: str) -> bool:
    """In whatever script: vowel signs of Hindi or Thai are marks, and joiners shape the letters of others."""
    return (
        0 < len(name) <= _MAX_NAME
        and (name[0].isalnum() or name[0] == "_")
        and all(each.isalnum() or each in "_- \u200c\u200d" or unicodedata.category(each)[0] == "M" for each in name)
    )


def _check_segment(index: int, segment: dict[str, Any], names: "_Names", style: str) -> Iterator[Problem]:
    place: KeyPath = ("segments", index)
    if index > 0 and segment.get("image") is not None:
        yield (*place, "image"), "only the first segment can start from a picture"
    for key in ("names", "remember", "forget", "recall"):
        for name in _listed(segment, key):
            if names.lacks(name) and not (key == "recall" and segment[key] == "none"):
                is_nobody = name.lower() == "none"
                yield (*place, key), _NOBODY[key == "recall"] if is_nobody else names.unknown(name, braces=False)
    prompt = text_of(segment.get("prompt"))
    if not isinstance(prompt, str) or len(prompt) > MAX_PROMPT_LENGTH:
        return
    place = (*place, "prompt")
    if is_blank(prompt):
        yield place, "is empty"
    unknown = [name for name in dict.fromkeys(names_in(prompt)) if names.lacks(name)]
    for name in unknown:
        yield place, names.unknown(name, braces=True)
    called = {*names_in(prompt), *_listed(segment, "names")[:MAX_NAMES]}
    if len(called) > MAX_NAMES and not unknown:
        yield place, f"{len(called)} names; at most {MAX_NAMES} are allowed"
    if not unknown and names.all_described:
        length = completed_length(prompt, names.descriptions, style)
        if length > MAX_PROMPT_LENGTH:
            text = f"with descriptions and style {length:,} characters long; at most {MAX_PROMPT_LENGTH:,} are allowed"
            yield place, text


def _listed(segment: dict[str, Any], key: str) -> list[str]:
    """What a field that holds names says, as far as it is readable."""
    given = segment.get(key)
    texts = [text_of(name) for name in (given if isinstance(given, list) else [given])]
    return [plain_name(text) for text in texts if isinstance(text, str)]


class _Names:
    """The characters and places of a story. What is asked for every segment is worked out once."""

    def __init__(self, descriptions: Mapping[str, str | None]) -> None:
        self.descriptions = {name: text for name, text in descriptions.items() if text is not None}
        self.all_described = len(self.descriptions) == len(descriptions)
        self._known = list(descriptions)
        self._set = set(descriptions)
        self._sentences: dict[str, str] = {}

    def lacks(self, name: str) -> bool:
        return name not in self._set

    def unknown(self, name: str, braces: bool) -> str:
        """The sentence about a name that nobody has. The comparison with all others is made once for a name."""
        if name not in self._sentences and len(self._sentences) < MAX_PROBLEMS // 10:
            self._sentences[name] = did_you_mean(name, self._known)
        given = f"{{{name[:40]}}}" if braces else repr(name[:40])
        if not self._known:
            hint = "; define it under `characters`" + (", or write {{ for a brace" if braces else "")
        else:
            hint = f"{self._sentences.get(name, '')}; known are {', '.join(self._known[:10])}"
        return f"{given} is not a character or place{hint}"


def _translate(problem: Any) -> Problem:
    """One of pydantic's errors -> (place, our sentence)."""
    place: KeyPath = tuple(problem["loc"])
    kind, context = problem["type"], problem.get("ctx", {})
    given = shown(problem["input"])
    if kind == "extra_forbidden":
        known = list(_ENTRIES.get(str(place[0]) if len(place) > 1 else "", StoryEntry).model_fields)
        return place, f"unknown key{did_you_mean(str(place[-1]), known)} (allowed: {', '.join(known)})"
    if kind == "missing":
        return place, "is missing"
    if kind == "too_short":
        return place, "is empty; a film needs at least one segment"
    if kind == "literal_error":
        known = [word.strip("'") for word in re.split(r", | or ", context["expected"])]
        return place, f"{given} is not allowed{did_you_mean(given.strip(chr(39)), known)} (allowed: {', '.join(known)})"
    if kind in ("int_type", "int_parsing", "int_from_float"):
        return place, f"{given} is not a whole number"
    if kind in ("bool_type", "bool_parsing"):
        return place, f"{given} is neither true nor false"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']:,}" if "ge" in context else f"at most {context['le']:,}"
        return place, f"{given} is out of range; {bound} is allowed"
    if kind == "list_type":
        return place, "expected a list; begin each entry with a dash"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return place, f"expected keys with values, not {given}"
    return place, problem["msg"]
