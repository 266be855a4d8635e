"""Running out of memory, told as what was being done, how much was asked for, and which options lower it."""

import contextlib
import errno
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from memflow_cli.errors import OutOfMemoryError

HINT = "a smaller --vram streams more of the model to the card; a smaller --size or --bank needs less"
HOST_HINT = "a smaller --size or --bank needs less of this machine's memory"

_DOING = {
    "load": "loading the weights",
    "tensor_files": "loading the weights",
    "streaming": "streaming the weights",
    "umt5": "encoding the prompts",
    "kv_cache": "keeping keys and values",
    "transformer": "running the transformer",
    "archive": "remembering a frame",
    "vae": "decoding frames",
    "autoencoder": "decoding frames",
    "tiny_decoder": "decoding frames",
}
"""Module of this package -> what it does; of those in a traceback the innermost counts."""

_TEXTS = re.compile("out of memory|allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
_CARD = re.compile("CUDA|CUBLAS|CUDNN|MPS")


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
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(_TEXTS.search(str(error)))


def describe(error: BaseException) -> str:
    """ ", while decoding frames, which asked for 2.00 GiB": as far as it can be told."""
    modules = [Path(frame.f_code.co_filename).stem for frame, _ in traceback.walk_tb(error.__traceback__)]
    doing = next((f", while {_DOING[module]}" for module in reversed(modules) if module in _DOING), "")
    asked = re.search(r"tried to allocate (\d+(?:\.\d+)?) ?(bytes|[KMGT]i?B)", str(error), re.IGNORECASE)
    if asked is None:
        return doing
    amount = f"{int(asked[1]) / 2**30:.2f} GiB" if asked[2].lower() == "bytes" else f"{asked[1]} {asked[2]}"
    return f"{doing}, which asked for {amount}" if doing else f": {amount} were asked for"


def _is_of_card(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or bool(_CARD.search(str(error)))
