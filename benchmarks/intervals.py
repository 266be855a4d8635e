"""Shares and differences with their 95% intervals, in percent or in the unit of what is given."""

import math
from collections.abc import Sequence

import numpy as np

Z = 1.96
RESAMPLES = 4000


def share(values: Sequence[bool], independent: int | None = None) -> dict[str, float | int | None]:
    """Percent true with its Wilson interval; None where nothing was asked.

    `independent`: how many of the values count for the interval, where some are of one story and perhaps alike.
    """
    if not values:
        return {"n": 0, "percent": None, "low": None, "high": None}
    p = sum(map(bool, values)) / len(values)
    low, high = _wilson(p, independent or len(values))
    return {"n": len(values), "percent": round(100 * p, 1), "low": round(low, 1), "high": round(high, 1)}


def _wilson(p: float, n: int) -> tuple[float, float]:
    """In percent, of a share 0..1 of n."""
    middle, spread = p + Z * Z / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    low, high = ((middle + sign * spread) / (1 + Z * Z / n) for sign in (-1, 1))
    return 100 * max(low, 0.0), 100 * min(high, 1.0)


def clustered_share(counts: Sequence[Sequence[int]]) -> dict[str, float | int | None]:
    """Percent right over films, each (right, asked); the interval resamples whole films, whose frames are alike.

    Where few films err, resampling finds too little spread: the interval is never narrower than with each film as one answer.
    """
    table = np.array([row for row in counts if row[1]], float).reshape(-1, 2)
    if not len(table):
        return {"n": 0, "films": 0, "percent": None, "low": None, "high": None}
    right, asked = table.sum(0)
    sums = table[_resampled(len(table))].sum(1)
    resampled = np.percentile(100 * sums[:, 0] / sums[:, 1], (2.5, 97.5))
    wilson = _wilson(right / asked, len(table))
    return {
        "n": int(asked),
        "films": len(table),
        "percent": round(100 * right / asked, 1),
        "low": round(float(min(resampled[0], wilson[0])), 1),
        "high": round(float(max(resampled[1], wilson[1])), 1),
    }


def clustered_change(
    early: Sequence[Sequence[int]], late: Sequence[Sequence[int]], digits: int = 1
) -> dict[str, float | int | None]:
    """Points from percent right early to percent right late, each (right, asked) by film; whole films are resampled.

    n: the films that were asked at both times. No interval (None) where no film changed: nothing says how rare a change is.
    """
    table = np.concatenate([np.reshape(early, (-1, 2)), np.reshape(late, (-1, 2))], axis=1).astype(float)
    if not len(table) or not table[:, [1, 3]].sum(0).all():
        return {"n": 0, "mean": None, "low": None, "high": None}
    sums = table[_resampled(len(table))].sum(1)
    sums = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]
    asked_twice = int((table[:, [1, 3]] > 0).all(1).sum())
    change = _with_interval(asked_twice, _change(table.sum(0)), _change(sums), digits)
    return change | {"low": None, "high": None} if change["low"] == change["high"] else change


def _change(counts: np.ndarray) -> np.ndarray:
    """[..., (right, asked, right later, asked later)] -> points."""
    return 100 * (counts[..., 2] / counts[..., 3] - counts[..., 0] / counts[..., 1])


def mean(values: Sequence[float], digits: int = 1) -> dict[str, float | int | None]:
    """Mean with its bootstrap interval over independent values (stories, films); paired differences go in as such."""
    array = np.asarray(values, float)
    if not len(array):
        return {"n": 0, "mean": None, "low": None, "high": None}
    return _with_interval(len(array), array.mean(), array[_resampled(len(array))].mean(1), digits)


def _with_interval(
    n: int, value: float | np.ndarray, resampled: np.ndarray, digits: int
) -> dict[str, float | int | None]:
    low, high = np.percentile(resampled, (2.5, 97.5))
    numbers = {"mean": value, "low": low, "high": high}
    return {"n": n} | {name: round(float(number), digits) for name, number in numbers.items()}


def _resampled(n: int) -> np.ndarray:
    """Rows drawn with repetition [RESAMPLES, n], the same every time."""
    return np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
