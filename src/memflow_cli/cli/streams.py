"""stdout and stderr as places to which writing never fails: work does not stop because it cannot be told."""

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

ESCAPE = "memflow_cli.escape"
"""Name of the codecs' error handler: what an encoding lacks is escaped, and a path's bytes stay what they are."""


def open_standard_streams() -> None:
    """Gives 0, 1 and 2 to the null device where they are closed, lest a film's own file get such a number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


@contextlib.contextmanager
def sure_streams() -> Iterator["SureWriter"]:
    """While entered, writing to sys.stdout and sys.stderr does not fail. Gives stdout's writer, which knows what was lost."""
    before = sys.stdout, sys.stderr
    out = SureWriter(before[0])
    sys.stdout, sys.stderr = _sure(before[0], out), _sure(before[1], SureWriter(before[1]))
    try:
        yield out
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class SureWriter(io.RawIOBase):
    """Writes bytes as long as it can, and drops what comes after the first failure: a text that ends, not one with a hole.

    `lost`: the failure, or None. A reader that left, like a stream that was closed from the start, asked for no more.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._buffer: Any = getattr(stream, "buffer", None)
        self._number: int | None = None
        self._is_over = self._buffer is None
        self.lost: Exception | None = None
        if stream is not None and self._buffer is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
            with contextlib.suppress(OSError, ValueError):
                self._number = stream.fileno()

    def write(self, data: Any) -> int:
        if not self._is_over:
            try:
                self._write_all(memoryview(data).cast("B"))
            except (OSError, ValueError) as error:
                self._is_over = True
                self.lost = None if getattr(error, "errno", None) in (errno.EPIPE, errno.EBADF) else error
        return len(data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        try:
            return self._number is not None and os.isatty(self._number)
        except OSError:
            return False

    def fileno(self) -> int:
        return super().fileno() if self._number is None else self._number

    def _write_all(self, data: memoryview) -> None:
        if self._number is None:
            self._buffer.write(data)
            return
        while data:
            try:
                data = data[os.write(self._number, data) :]
            except BlockingIOError:  # somebody who shares the pipe made it so
                select.select([], [self._number], [])


def _sure(stream: TextIO | None, writer: SureWriter) -> Any:
    if stream is not None and not hasattr(stream, "buffer"):
        return stream  # a text in memory
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return io.TextIOWrapper(writer, encoding=encoding, errors=ESCAPE, line_buffering=True)  # type: ignore[arg-type]


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError), "only what is written is escaped"
    shown = (
        bytes([ord(character) - 0xDC00])
        if "\udc80" <= character <= "\udcff"
        else character.encode("ascii", "backslashreplace")
        for character in error.object[error.start : error.end]
    )
    return b"".join(shown), error.end


codecs.register_error(ESCAPE, _escape)
