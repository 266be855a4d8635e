"""A model's small files: regular ones only, and never more of them than a description needs."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memflow_cli.errors import MemflowError, ModelError
from memflow_cli.machine.amounts import size_text

MAX_JSON_BYTES = 64 << 20
_OF_THE_MACHINE = {
    os.strerror(code): hint
    for code, hint in (
        (errno.EMFILE, "ulimit -n 1024 allows more"),
        (errno.ENFILE, "close other programs"),
        (errno.EACCES, "chmod u+r makes it readable for its owner"),
        (errno.EPERM, None),
        (errno.EIO, "its disk, or what it is reached through, does not answer"),
        (errno.ESTALE, "its disk, or what it is reached through, does not answer"),
    )
}
"""What the system may say of a file that nothing is wrong with, and what helps."""
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".gguf")


def read_small(path: Path, most: int = MAX_JSON_BYTES) -> bytes:
    """The whole of a file. Raises ModelError if it is missing, larger than `most` bytes, or a pipe or device."""
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
        )  # a pipe without a writer would wait for ever
        with open(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise ModelError(f"{path} is not a file")
            if about.st_size > most:
                raise ModelError(f"{path} is larger than {size_text(most)}, which no model's description is")
            return file.read(most)
    except OSError as error:
        reason = "is a folder" if isinstance(error, IsADirectoryError) else error.strerror
        raise ModelError(f"cannot read {path}: {reason}") from error
    except ValueError as error:  # a name with a zero byte
        raise ModelError(f"cannot read {str(path)!r}: {error}") from error


def check_checkpoint(path: Path) -> None:
    """Raises ModelError for a file that is not a checkpoint, neither by its name nor by its first bytes."""
    if path.suffix.lower() in _CHECKPOINTS:
        return
    check_regular(path)
    with path.open("rb") as file:
        begin = file.read(9)
    if not (begin.startswith((b"PK", b"\x80", b"GGUF")) or begin[8:] == b"{"):
        raise ModelError(f"{path} is not a checkpoint", f"its name ends in one of {', '.join(_CHECKPOINTS)}")


def check_regular(path: Path) -> None:
    """Raises ModelError unless `path` is a regular file: what a library is to open must not be a pipe or a device."""
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"cannot read {path}: {reason}") from error
    if not is_regular:
        raise ModelError(f"{path} is not a file")


def read_json(path: Path, optional: bool = False) -> dict[str, Any]:
    """The JSON object in one of a model's files; empty for an `optional` one that is not there. Raises ModelError."""
    if optional and not path.exists():
        return {}
    try:
        content = json.loads(read_small(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {why_not_read(error)}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def why_not_read(error: Exception) -> str:
    """What a reader of JSON or TOML says, without its advice to programmers."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start + 1:,})"
    return "a number in it is too long" if "set_int_max_str_digits" in str(error) else str(error)


@contextmanager
def refusing(path: Path, what: str = "is damaged", hint: str | None = "download or copy it again") -> Iterator[None]:
    """Whatever a library says of a file that it cannot read becomes a ModelError that names the file.

    Their readers raise many kinds of errors for bad content, and those written in Rust even panic; none of that is our bug.
    """
    try:
        yield
    except MemflowError:
        raise
    except BaseException as error:
        from memflow_cli.machine.out_of_memory import is_memory_error  # here: it imports torch

        if isinstance(error, MemoryError) or is_memory_error(error):
            raise MemoryError(str(error)) from error
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # Ctrl-C and the like
        for said, help_ in _OF_THE_MACHINE.items():
            if said in str(error):
                raise ModelError(f"cannot read {path}: {said}", help_) from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path} {what}: {reason}", hint) from error
