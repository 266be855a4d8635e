"""The memory trace: what every chunk of a film attended to, remembered and forgot.

A text file, film.memory.jsonl: one header line, then one JSON object a chunk, written and flushed while the film is made.
A trace is read back as untrusted input: lines are bounded, every number is checked, a last line torn by a kill is left out.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memflow_cli.errors import UsageError
from memflow_cli.geometry import FilmPlan

FORMAT = "memflow-trace"
FORMAT_VERSION = 1

MAX_HEADER_BYTES = 256 * 2**20
MAX_RECORD_BYTES = 16 * 2**20
SCORE_DIGITS = 6  # significant digits; float32 holds seven


@dataclass(frozen=True)
class Recalled:
    """One remembered latent frame in the bank; `use` is the share of layers x heads that read it (1.0 without SMA)."""

    frame: int
    score: float
    use: float = 1.0


@dataclass(frozen=True)
class ChunkRecord:
    """What memory did for one chunk. Every frame number is a latent frame of the film; scores have no unit."""

    chunk: int
    segment: int
    prompt: str
    start_seconds: float
    end_seconds: float
    sink: tuple[int, ...] = ()
    window: tuple[int, ...] = ()  # without the chunk itself
    bank: tuple[Recalled, ...] = ()
    sink_use: tuple[float, ...] = ()  # one share for each frame of `sink`; empty: every head reads all of it
    candidates: dict[int, float] = field(default_factory=dict)  # latent frame -> score; empty: nothing was retrieved anew
    archived: tuple[int, ...] = ()
    evicted: tuple[int, ...] = ()
    layer_banks: tuple[tuple[int, ...], ...] = ()  # policy `official`: each layer's own bank
