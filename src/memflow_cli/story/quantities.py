"""Durations, sizes and amounts of memory, as people write them."""

import math
import re
from typing import Any

from memflow_cli.geometry import MAX_SIDE
from memflow_cli.story.scalars import Scalar, plain, value_of

MAX_SEGMENT_SECONDS = 24 * 3600
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,6})\s*[xX×]\s*(\d{1,6})", re.ASCII)
_BYTES = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]i?)?B?", re.ASCII)


def parse_seconds(value: Any) -> float:
    """4, 3.5, "4s", "1m10s", "1h" -> seconds. Raises ValueError with a sentence."""
    allowed = 'expected seconds such as 4, 3.5, 4s, "1m10s" or "1h"'
    given, value = value, value_of(value)
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e12 else math.inf
    elif isinstance(value, str) and value.strip() and len(value) < 40:
        match = _DURATION.fullmatch(value.replace(" ", ""))
        if match and any(match.groups()):
            seconds = sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))
    if math.isnan(seconds):
        raise ValueError(f"{shown(given)} is not a duration; {allowed}")
    if seconds <= 0:
        raise ValueError(f"{shown(given)} is not longer than nothing; {allowed}")
    return seconds


def parse_segment_seconds(value: Any) -> float:
    """As `parse_seconds`, no longer than a segment may be."""
    seconds = parse_seconds(value)
    if seconds > MAX_SEGMENT_SECONDS:
        raise ValueError(f"{shown(value)} is longer than 24h; a segment is at most that")
    return seconds


def parse_size(value: Any) -> tuple[int, int]:
    """ "224x128" -> (224, 128). Raises ValueError with a sentence."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{shown(value)} is not a size; expected width x height in pixels, such as 224x128")
    width, height = int(match[1]), int(match[2])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"{shown(value)}: both sides must be from 1 to {MAX_SIDE} pixels")
    return width, height


def parse_bytes(value: Any) -> int:
    """8589934592, "8GiB", "500MB" -> bytes. Raises ValueError with a sentence."""
    given, value = value, value_of(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**50:
        return value
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{shown(given)} is not an amount of memory; expected bytes, or such as 500MB or 8GiB")
    unit = match[2] or ""
    base = 1024 if unit.endswith("i") else 1000
    return int(float(match[1]) * base ** (" KMGT".index(unit[0]) if unit else 0))


def shown(value: Any) -> str:
    """A value as an error may quote it: short, on one line."""
    if value is None:
        return "nothing"
    text = value.text if isinstance(value, Scalar) else repr(value) if isinstance(value, str) else str(plain(value))
    return text if len(text) <= 60 else text[:57] + "..."
