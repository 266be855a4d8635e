"""The talk on stderr: errors, warnings, notes. stdout belongs to results."""

import contextlib
import json
import os
import sys
import traceback
from typing import Any

from memflow_cli.errors import MemflowError, OutOfMemoryError

TRACEBACK_VARIABLE = "MEMFLOW_TRACEBACK"

_RED, _YELLOW, _DIM, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def use_colour() -> bool:
    """Colours on stderr: only on a terminal, and never against NO_COLOR."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(text: str) -> None:
    _say("", text)


def warn(text: str) -> None:
    _say(_paint("warning: ", _YELLOW), text)


def report_error(error: MemflowError) -> None:
    """`error: what is wrong`, and what to do about it on the next line."""
    _say(_paint("error: ", _RED), error.message)
    if error.hint:
        _say(_paint("hint: ", _DIM), error.hint)
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(error, file=sys.stderr)


def in_words(error: Exception) -> MemflowError:
    """Any exception as a sentence, that which nobody foresaw included; the exception itself is its cause."""
    if isinstance(error, MemflowError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemoryError("this machine's memory does not suffice", "a smaller --size or --bank needs less")
    what = " ".join(str(error).split())[:300]
    told = MemflowError(f"unexpected {type(error).__name__}{': ' + what if what else ''}")
    if not os.environ.get(TRACEBACK_VARIABLE):
        told.hint = f"this is a bug in memflow; run with {TRACEBACK_VARIABLE}=1 to see where it is"
    told.__cause__ = error
    return told


def json_text(content: Any, indent: int | None = None) -> str:
    """JSON that any UTF-8 stream takes: the bytes of a path that are no UTF-8 become \\u escapes."""
    return json.dumps(content, ensure_ascii=False, indent=indent).encode(errors="backslashreplace").decode()


def printable(text: str) -> str:
    """A text that may quote anything, made fit for a terminal: control sequences are not obeyed."""
    return "".join(character if character.isprintable() or character in "\n\t" else "?" for character in text)


def _say(label: str, text: str) -> None:
    with contextlib.suppress(BrokenPipeError, ValueError):  # whoever read stderr has left
        print(label + printable(text), file=sys.stderr, flush=True)


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}" if use_colour() else text
