"""How many threads numerical libraries use, and how these wait for each other."""

import contextlib
from collections.abc import Iterator, MutableMapping


def wait_without_spinning(environment: MutableMapping[str, str]) -> None:
    """To be called before torch is imported, with `os.environ`: OpenMP reads it once, when it is loaded.

    Threads that spin while they wait keep the cores from those they wait for: on two cores, two films at once took six
    times what one takes alone. Alone it costs nothing that can be measured. What the user chose stays.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """What torch does meanwhile for the calling thread it does with so many threads. None: with as many as before."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
