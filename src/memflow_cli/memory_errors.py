"""Running out of memory, told as what was being done and how much was asked for."""

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from memflow_cli.errors import OutOfMemoryError

HINT = "--vram 8GiB streams what does not fit on the card; a smaller --size or --bank needs less"

_DOING = {
    "checkpoints": "loading the weights",
    "umt5": "encoding the prompts",
    "kv_cache": "keeping keys and values",
    "transformer": "running the transformer",
    "archive": "remembering a frame",
    "vae": "decoding frames",
    "autoencoder": "decoding frames",
}
"""Module of this package -> what it does; of those in a traceback the innermost counts."""


@contextlib.contextmanager
def memory_errors(what: str, hint: str = HINT) -> Iterator[None]:
    """Turns every way in which memory can run out into an OutOfMemoryError about `what`, "at 832x480" say."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        raise OutOfMemoryError(f"out of memory {what}{describe(error)}", hint) from error


def is_memory_error(error: BaseException) -> bool:
    """torch has a class of its own for a GPU, and only a text for the host's memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


def describe(error: BaseException) -> str:
    """ ", while decoding frames, which asked for 2.00 GiB": as far as it can be told."""
    modules = [Path(frame.f_code.co_filename).stem for frame, _ in traceback.walk_tb(error.__traceback__)]
    doing = next((f", while {_DOING[module]}" for module in reversed(modules) if module in _DOING), "")
    asked = re.search(r"tried to allocate (\d+(?:\.\d+)?) ?(bytes|[KMGT]iB)", str(error), re.IGNORECASE)
    if asked is None:
        return doing
    amount = f"{int(asked[1]) / 2**30:.2f} GiB" if asked[2].lower() == "bytes" else f"{asked[1]} {asked[2]}"
    return f"{doing}, which asked for {amount}" if doing else f": {amount} were asked for"
