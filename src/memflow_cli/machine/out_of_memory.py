"""Running out of memory, told as what was being done, how much was asked for, and which options lower it. No torch."""

import contextlib
import errno
import re
import sys
from collections.abc import Iterator
from typing import Any

from memflow_cli.errors import OutOfMemoryError

HINT = "a smaller --vram streams more of the model to the card; a smaller --size or --bank needs less"
HOST_HINT = "a smaller --size or --bank needs less of this machine's memory"

_TEXTS = re.compile("out of memory|allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
_CARD = re.compile("CUDA|CUBLAS|CUDNN|MPS")


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """`with doing("decoding frames")`, or above a function: what is told if memory runs out there. The innermost counts."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if is_memory_error(error) and not _notes(error):
            error.add_note(f"while {what}")
        raise


@contextlib.contextmanager
def memory_errors(what: str, hint: str = HINT) -> Iterator[None]:
    """Turns every way in which memory can run out into an OutOfMemoryError about `what`, "at 832x480" say.

    Where `hint` holds `HINT` and it is the machine's memory, not the card's, that ran out, it tells `HOST_HINT` instead.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_memory_error(error):
            raise
        told = hint if _is_of_card(error) else hint.replace(HINT, HOST_HINT)
        raise OutOfMemoryError(f"out of memory {what}{describe(error)}", told) from error


def is_memory_error(error: BaseException) -> bool:
    """torch has a class of its own for CUDA, and only texts for other cards and the host; the system has an errno."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, MemoryError) or _is_torch_s(error) or bool(_TEXTS.search(str(error)))


def describe(error: BaseException) -> str:
    """ ", while decoding frames, which asked for 2.00 GiB": as far as it can be told."""
    doing = "".join(f", {note}" for note in _notes(error)[:1])
    asked = re.search(r"tried to allocate (\d+(?:\.\d+)?) ?(bytes|[KMGT]i?B)", str(error), re.IGNORECASE)
    if asked is None:
        return doing
    amount = f"{int(asked[1]) / 2**30:.2f} GiB" if asked[2].lower() == "bytes" else f"{asked[1]} {asked[2]}"
    return f"{doing}, which asked for {amount}" if doing else f": {amount} were asked for"


def _is_of_card(error: BaseException) -> bool:
    return _is_torch_s(error) or bool(_CARD.search(str(error)))


def _is_torch_s(error: BaseException) -> bool:
    """Its class for a card without memory. If torch was never imported, it raised nothing."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _notes(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", []) if note.startswith("while ")]
