"""The text of a storyboard's file, within bounds."""

import codecs
import os
import select
import stat
from pathlib import Path

from memflow_cli.errors import UsageError

MAX_FILE_BYTES = 32 << 20
_PATIENCE_SECONDS = 10.0  # for a pipe through which nothing comes


def read_text(path: Path, max_bytes: int = MAX_FILE_BYTES) -> str:
    """The file's text, without a mark of byte order. Raises UsageError unless it is a readable UTF-8 file of sensible size.

    A pipe is read as long as something comes through it; a device is not read, for it may never end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(kind):
                raise UsageError(f"{path}: a folder, not a storyboard")
            if not stat.S_ISREG(kind) and not stat.S_ISFIFO(kind):
                raise UsageError(f"{path}: neither a file nor a folder")
            raw = file.read(max_bytes + 1) if stat.S_ISREG(kind) else _drain(path, descriptor, max_bytes + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file", hint="`memflow init` writes a storyboard to begin with") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder, not a storyboard") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    if len(raw) > max_bytes:
        raise UsageError(f"{path}: larger than {max_bytes >> 20} MiB; that is not a storyboard")
    if raw[4:8] == b"ftyp":
        raise UsageError(f"{path}: a film, not a storyboard", f"its record is read: {path.with_suffix('.json')}")
    try:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UnicodeDecodeError("utf-8", raw, 0, 1, "UTF-16")
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text", "save it as UTF-8 in your editor") from None


def _drain(path: Path, descriptor: int, max_bytes: int) -> bytes:
    """All that comes through a pipe."""
    raw = b""
    while len(raw) < max_bytes:
        if not select.select([descriptor], [], [], _PATIENCE_SECONDS)[0]:
            raise UsageError(f"{path}: nothing has come through this pipe for {_PATIENCE_SECONDS:g} s")
        piece = os.read(descriptor, min(1 << 16, max_bytes - len(raw)))
        if not piece:
            break
        raw += piece
    return raw
