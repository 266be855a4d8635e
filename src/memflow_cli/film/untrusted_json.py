"""JSON that anybody may have written, back into frozen dataclasses: every value is checked against its type hint.

Raises UsageError with the place of what is wrong; nothing of the wrong kind, size or length gets through.
"""

import json
import math
import types
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from memflow_cli.errors import UsageError

_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def parse_object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """A line's JSON object. `number`: the line's, for the sentence of the error."""
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}, line {number}: not valid JSON") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}, line {number}: not a JSON object")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def rebuild(kind: Any, value: Any, where: str) -> Any:
    """JSON back into frozen dataclasses, tuples and scalars, by their type hints. Unknown and missing keys are errors;
    what may be an empty list may be missing: earlier versions did not know it.
    """
    if isinstance(kind, types.UnionType):
        if value is None and types.NoneType in get_args(kind):
            return None
        return rebuild(next(arm for arm in get_args(kind) if arm is not types.NoneType), value, where)
    if hasattr(kind, "__dataclass_fields__"):
        hints = get_type_hints(kind)
        names = [item.name for item in fields(kind)]
        if isinstance(value, dict):
            value = {item.name: [] for item in fields(kind) if item.default == ()} | value
        if not isinstance(value, dict) or sorted(value) != sorted(names):
            raise UsageError(f"{where}: not the fields of a {kind.__name__}")
        try:
            return kind(**{name: rebuild(hints[name], value[name], f"{where}, {name}") for name in names})
        except (ValueError, AssertionError, ZeroDivisionError) as error:
            raise UsageError(f"{where}: {error}") from error
    if get_origin(kind) is tuple:
        arms = get_args(kind)
        if not isinstance(value, list) or (arms[-1] is not Ellipsis and len(arms) != len(value)):
            raise UsageError(f"{where}: {quote(value)} is not a list of the right length")
        return tuple(rebuild(arms[0], item, where) for item in value)
    if kind is float and is_number(value):
        return float(value)
    if type(value) is not kind or (kind is int and abs(value) >= 2**63):
        raise UsageError(f"{where}: {quote(value)} is not {_KINDS.get(kind, 'what is expected')}")
    return value


def is_number(value: object) -> bool:
    """Whether a JSON value is a number that is finite and of a size that anything is computed with."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**63)


def quote(value: object) -> str:
    """A value as an error's sentence shows it, in a few characters."""
    return repr(value)[:60] if not isinstance(value, (list, dict)) else f"a {type(value).__name__} of {len(value)}"
