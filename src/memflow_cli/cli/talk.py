"""The talk on stderr: errors, warnings, notes. stdout belongs to results.

What kind of talk it is holds for one command line: `app.run` gives each a context of its own.
"""

import contextlib
import json
import os
import sys
import traceback
from contextvars import ContextVar
from typing import Any

from memflow_cli.errors import MemflowError, OutOfMemoryError

TRACEBACK_VARIABLE = "MEMFLOW_TRACEBACK"

_kind: ContextVar[str] = ContextVar("kind", default="plain")

_RED, _YELLOW, _DIM, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def use_colour() -> bool:
    """Colours on stderr: only on a terminal, and never against NO_COLOR."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def talk_as(kind: str) -> None:
    """From here on: `jsonl`, all of it as JSON lines; `none`, errors only; any other kind, plain lines."""
    _kind.set(kind)


def note(text: str) -> None:
    _tell("note", "", text)


def warn(text: str) -> None:
    _tell("warning", _paint("warning: ", _YELLOW), text)


def report_error(error: MemflowError) -> None:
    """`error: what is wrong`, and what to do about it on the next line."""
    trace = "".join(traceback.format_exception(error)) if os.environ.get(TRACEBACK_VARIABLE) else None
    if _kind.get() == "jsonl":
        content = {"event": "error", "text": error.message, "hint": error.hint, "exit_code": error.exit_code}
        tell_event(content if trace is None else {**content, "traceback": trace})
        return
    _say(_paint("error: ", _RED), error.message)
    if error.hint:
        _say(_paint("hint: ", _DIM), error.hint)
    if trace is not None:
        _say("", trace.rstrip())


def tell_event(content: dict[str, Any]) -> None:
    """A JSON object as a line."""
    _write(json_text(content))


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


def _tell(event: str, label: str, text: str) -> None:
    if _kind.get() == "jsonl":
        tell_event({"event": event, "text": text})
    elif _kind.get() != "none":
        _say(label, text)


def _say(label: str, text: str) -> None:
    _write(label + printable(text))


def _write(line: str) -> None:
    with contextlib.suppress(BrokenPipeError, ValueError):  # whoever read stderr has left
        print(line, file=sys.stderr, flush=True)


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}" if use_colour() else text
