"""Ctrl-C, SIGTERM, SIGHUP and --max-time: when a film stops, and with which error."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, Self

from memflow_cli.errors import HungUp, Interrupted, MemflowError, Terminated, TimeLimitReached

Handler = Callable[[int, FrameType | None], None]

ENDINGS: dict[int, tuple[type[Interrupted], str]] = {
    signal.SIGINT: (Interrupted, "interrupted"),
    signal.SIGTERM: (Terminated, "stopped by SIGTERM"),
}
if hasattr(signal, "SIGHUP"):
    ENDINGS[signal.SIGHUP] = (HungUp, "stopped by SIGHUP, as when a terminal closes")


ONCE_MORE_AFTER = 0.05  # seconds after which a signal that came in an import comes again

_raised: ContextVar[Sequence[int]] = ContextVar("raised", default=())
"""Signals that have raised `Stopped` in this command. If it still runs, that was lost: in a `__del__`, or a callback of a
library, an exception is dropped."""


class Stopped(BaseException):
    """A signal, raised wherever the program is: no `except Exception` takes it for a fault. `error` is what to tell."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.error = error_of(number)


def error_of(number: int) -> Interrupted:
    kind, text = ENDINGS[number]
    return kind(text)


@contextlib.contextmanager
def signals_go_to(handler: Handler) -> Iterator[None]:
    """While entered, the signals that end a command go to `handler`. One that is ignored, as by nohup, stays ignored.

    One that comes while a module is imported goes there when it has been: an exception that comes through a library's C++
    code ends the process.
    """
    imports_before = _num_imports(sys._getframe())
    previous: dict[int, Any] = {}
    waiting: set[int] = set()

    def receive(number: int, frame: FrameType | None) -> None:
        if _num_imports(frame) <= imports_before:
            handler(number, frame)
        elif number not in waiting:
            waiting.add(number)
            again = threading.Timer(ONCE_MORE_AFTER, come_again, (number,))
            again.daemon = True
            again.start()

    def come_again(number: int) -> None:
        waiting.discard(number)
        signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        for number in ENDINGS:
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler_before in previous.items():
            signal.signal(number, handler_before)


def _num_imports(frame: FrameType | None) -> int:
    """How many frames of imports under way a frame is called from."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename == "<frozen importlib._bootstrap>"
        frame = frame.f_back
    return count


@contextlib.contextmanager
def stopped_by_signals(received: list[int]) -> Iterator[None]:
    """While entered, a signal raises `Stopped` where the program is, and is added to `received`."""

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise Stopped(number)

    before = _raised.set(received)
    try:
        with signals_go_to(receive):
            yield
    finally:
        _raised.reset(before)


class StopRequests:
    """While entered, catches the signals. Called between chunks: the error to stop with, or None.

    The first signal lets the chunk at hand be finished, unless nothing is being made (`at_once`); a second one stops
    at once. `max_seconds` counts from the moment of entering. `tell` is given a sentence when a signal is heard.
    """

    def __init__(self, max_seconds: float | None = None, tell: Callable[[str], None] = lambda text: None) -> None:
        self._max_seconds = max_seconds
        self._tell = tell
        self._deadline: float | None = None
        self._received: int | None = None
        self._at_once = False
        self._signals = signals_go_to(self._receive)

    def __call__(self) -> MemflowError | None:
        if (number := self._heard()) is not None:
            return error_of(number)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TimeLimitReached(f"the time limit of {self._max_seconds:g} s is over")
        return None

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """While entered, as while a model is loaded, the first signal stops at once: there is nothing to be finished."""
        if (number := self._heard()) is not None:
            raise error_of(number)
        self._at_once = True
        try:
            yield
        except Stopped as stopped:
            raise stopped.error from None
        finally:
            self._at_once = False

    def _heard(self) -> int | None:
        lost = _raised.get()
        return lost[-1] if self._received is None and lost else self._received

    def __enter__(self) -> Self:
        if self._max_seconds is not None:
            self._deadline = time.monotonic() + self._max_seconds
        self._signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signals.__exit__(kind, error, trace)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second = self._received is not None
        self._received = number
        if self._at_once:
            raise Stopped(number)
        if is_second:
            kind, _ = ENDINGS[number]
            raise kind("stopped at once")
        self._tell("stopping after this chunk; once more stops at once")
