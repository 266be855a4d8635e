"""From memory options to a policy: the one place that knows all of them by name."""

from collections.abc import Callable
from pathlib import Path

from memflow_cli.errors import UsageError
from memflow_cli.geometry import Geometry
from memflow_cli.memory.ema_sink import EmaSink
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.memory.official import OfficialMemory
from memflow_cli.memory.options import POLICIES, MemoryOptions
from memflow_cli.memory.policy import MemoryPolicy, NoMemory
from memflow_cli.memory.scores import SCORES
from memflow_cli.memory.shot_sink import ShotSink

OFFICIAL_RECORD_INTERVAL = 3
# Recalls the right frames most often on theatre's held-out stories: see the package's docstring.
DEFAULT_SCORE = "combined"


def make_policy(options: MemoryOptions, geometry: Geometry, archive_folder: Path | None = None) -> MemoryPolicy:
    """The policy that `options` name. Raises UsageError for a name that is none.

    `archive_folder`: where to keep what is remembered in a file; None keeps it in the host's memory.
    """
    make = MAKERS.get(str(options.policy))
    if make is None:
        raise UsageError(f"memory policy {options.policy!r} is none of {', '.join(POLICIES)}")
    return make(options, geometry, archive_folder)


def _make_official(options: MemoryOptions, geometry: Geometry, archive_folder: Path | None) -> MemoryPolicy:
    interval = options.record_interval or OFFICIAL_RECORD_INTERVAL
    return OfficialMemory(geometry.sink, options.bank, interval, options.activate)


def _make_nam(options: MemoryOptions, geometry: Geometry, archive_folder: Path | None) -> MemoryPolicy:
    score = SCORES.get(options.score or DEFAULT_SCORE)
    if score is None:
        raise UsageError(f"memory score {options.score!r} is none of {', '.join(SCORES)}")
    return NarrativeMemory(
        geometry.sink,
        options.bank,
        score(),
        options.activate,
        options.record_interval or 1,
        options.archive_bytes,
        archive_folder,
        int8=options.kv == "int8",
    )


MAKERS: dict[str, Callable[[MemoryOptions, Geometry, Path | None], MemoryPolicy]] = {
    "window": lambda options, geometry, folder: NoMemory(sink=0),
    "sink": lambda options, geometry, folder: NoMemory(sink=geometry.sink),
    "official": _make_official,
    "ema-sink": lambda options, geometry, folder: EmaSink(geometry.sink),
    "shot-sink": lambda options, geometry, folder: ShotSink(geometry.sink, geometry.chunk),
    "nam": _make_nam,
}
"""Every policy of `options.Policy` that keeps a cache."""
