"""One word or number as it stands in a storyboard: its value, and how it was written.

Only the field knows which of both counts: a title of 1.10 is a text, a seed of 7 is a number.
"""

import re
from dataclasses import dataclass
from typing import Any

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")


@dataclass(frozen=True)
class Scalar:
    """A number or truth value, and the characters that it was written with."""

    text: str
    value: bool | int | float


def read_scalar(text: str) -> Scalar | str | None:
    """A plain scalar after YAML 1.2: null, a number or truth value, or the text itself (`on`, `1:30`, `2024-01-01`)."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return Scalar(text, _BOOL[text])
    if _INT.fullmatch(text):
        return Scalar(text, int(text))
    if _FLOAT.fullmatch(text):
        return Scalar(text, float(text))
    return text


def value_of(given: Any) -> Any:
    """What a field that holds a number or truth value reads."""
    return given.value if isinstance(given, Scalar) else given


def text_of(given: Any) -> Any:
    """What a field that holds a text reads."""
    return given.text if isinstance(given, Scalar) else given


def plain(given: Any) -> Any:
    """Every scalar in lists and mappings by its value: what a JSON reader would give."""
    if isinstance(given, dict):
        return {key: plain(value) for key, value in given.items()}
    if isinstance(given, list):
        return [plain(value) for value in given]
    return value_of(given)
