"""Ctrl-C, SIGTERM and --max-time: the first asks the film to stop after the chunk at hand, a second one stops at once."""

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from memflow_cli.errors import Interrupted, MemflowError, Terminated, TimeLimitReached


class StopRequests:
    """While entered, catches the signals. Called between chunks: the error to stop with, or None.

    `max_seconds` counts from the moment of entering. `tell` is given a sentence when a signal is heard.
    """

    def __init__(self, max_seconds: float | None = None, tell: Callable[[str], None] = lambda text: None) -> None:
        self._max_seconds = max_seconds
        self._tell = tell
        self._deadline: float | None = None
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def __call__(self) -> MemflowError | None:
        if self._received == signal.SIGTERM:
            return Terminated("stopped by SIGTERM")
        if self._received is not None:
            return Interrupted("interrupted")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TimeLimitReached(f"the time limit of {self._max_seconds:g} s is over")
        return None

    def __enter__(self) -> Self:
        if self._max_seconds is not None:
            self._deadline = time.monotonic() + self._max_seconds
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise Terminated("stopped at once") if number == signal.SIGTERM else Interrupted("stopped at once")
        self._received = number
        self._tell("stopping after this chunk; once more stops at once")
