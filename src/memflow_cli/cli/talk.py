"""The one room through which all goes that a command says: results to stdout; errors, warnings and notes to stderr.

Whatever others wrote, titles and prompts, names of files and models, is made fit for a terminal here: `printable`.
What kind of talk it is holds for one command line: `app.run` gives each a context of its own.
"""

import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from memflow_cli.errors import MemflowError, OutOfMemoryError, UsageError
from memflow_cli.story.texts import escape_in_json, printable, shortened

TRACEBACK_VARIABLE = "MEMFLOW_TRACEBACK"
_MOST_OF_A_KIND = 12  # warnings

_kind: ContextVar[str] = ContextVar("kind", default="plain")

_RED, _YELLOW, _DIM, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def use_colour(stream: TextIO | None = None) -> bool:
    """Colours, on stderr if not said otherwise: only on a terminal, and never against NO_COLOR."""
    return (stream or sys.stderr).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def talk_as(kind: str) -> None:
    """From here on: `jsonl`, all of it as JSON lines; `none`, errors only; any other kind, plain lines."""
    _kind.set(kind)


def result(text: str) -> None:
    """What was asked for, as lines on stdout; a long one may come in several calls."""
    print(printable(text), flush=True)


def result_path(path: Path | str) -> None:
    """A path on stdout: in the very bytes it is made of, unless a terminal would obey them."""
    print(printable(str(path)) if sys.stdout.isatty() else path, flush=True)


def result_json(content: Any, indent: int | None = None) -> None:
    """A JSON document on stdout."""
    print(json_text(content, indent), flush=True)


def note(text: str) -> None:
    _tell("note", "", text)


def warn(text: str) -> None:
    _tell("warning", _paint("warning: ", _YELLOW), text)


def warn_of_each(texts: Sequence[str], about: str = "") -> None:
    """A warning for each of the first texts, and how many more there are. `about`: what each begins with."""
    for text in texts[:_MOST_OF_A_KIND]:
        warn(about + text)
    if len(texts) > _MOST_OF_A_KIND:
        warn(f"{about}and {len(texts) - _MOST_OF_A_KIND} more of that kind")


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
    if (of_machine := _fault_of_machine(error)) is not None:
        of_machine.__cause__ = error
        return of_machine
    what = " ".join(str(error).split())[:300]
    told = MemflowError(f"unexpected {type(error).__name__}{': ' + what if what else ''}")
    if not os.environ.get(TRACEBACK_VARIABLE):
        told.hint = f"this is a bug in memflow; run with {TRACEBACK_VARIABLE}=1 to see where it is"
    told.__cause__ = error
    return told


# What a machine refuses, and no program is to blame for:
_REFUSED = {
    "EACCES",
    "EPERM",
    "EROFS",
    "ENOSPC",
    "EDQUOT",
    "EMFILE",
    "ENFILE",
    "EIO",
    "ENAMETOOLONG",
    "ELOOP",
    "ESTALE",
}
_REFUSED |= {"EFBIG", "ENOTDIR", "EISDIR", "EBUSY", "ENODEV", "ENXIO", "ETXTBSY", "ENOEXEC"}


def _fault_of_machine(error: Exception) -> MemflowError | None:
    if isinstance(error, ImportError) and not str(error.name).startswith("memflow_cli"):
        return MemflowError(
            f"{error.name or 'a library'} cannot be imported: {error}", "memflow doctor names the repair"
        )
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return MemflowError("this user has no home folder", "set HOME to a folder that can be written")
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return MemflowError("there is no folder for temporary files", "set TMPDIR to a folder that can be written")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG and error.filename:
        return UsageError(f"{str(error.filename)[:60]}...: the name is too long for this system")
    if isinstance(error, OSError) and errno.errorcode.get(error.errno or 0) in _REFUSED:
        return MemflowError(
            f"{error.filename}: {error.strerror}" if error.filename else f"the system says: {error.strerror}"
        )
    return None


def json_text(content: Any, indent: int | None = None) -> str:
    """JSON that any stream takes: what its encoding lacks, or a terminal would obey, stands as \\u escapes."""
    takes_all = all(str(getattr(stream, "encoding", None)).lower() == "utf-8" for stream in (sys.stdout, sys.stderr))
    return escape_in_json(json.dumps(content, ensure_ascii=not takes_all, indent=indent))


def _tell(event: str, label: str, text: str) -> None:
    if _kind.get() == "jsonl":
        tell_event({"event": event, "text": text})
    elif _kind.get() != "none":
        _say(label, text)


def _say(label: str, text: str) -> None:
    _write(label + shortened(printable(text)))


def _write(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}" if use_colour() else text
