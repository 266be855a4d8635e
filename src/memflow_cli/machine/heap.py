"""The host's memory, kept flat over hours: what was freed goes back to the system."""

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Asks the C library to return the holes in its heap. Does nothing where it cannot.

    glibc raises its threshold for separate mappings as large buffers come and go, so a chunk's buffers end up in the
    heap among the few small things that stay; the heap then grows by some 50 KB a chunk although nothing is kept.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library, as on Alpine
        return
