"""Work beside the caller's: in a thread of its own, in order, never more than a few pieces behind.

With `ahead` 0 the same calls are made at once, in the caller's thread: the slow twin, which gives the same results.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Generic, TypeVar

import torch
from torch import Tensor

from memflow_cli.backbone import Backbone

SMALL_PASS = 2**32  # floating-point operations; theatre's passes have half as many
AHEAD = 2  # pieces that may be unfinished when the caller goes on: one under way, one waiting

Tag = TypeVar("Tag")
Result = TypeVar("Result")


def overlap_pays(backbone: Backbone, size: tuple[int, int]) -> bool:
    """A GPU has room for a second stream. On a CPU there are cores to spare where a walk uses one of them."""
    if backbone.device.type == "cpu":
        return walk_threads(backbone, size) is not None and torch.get_num_threads() > 1
    return backbone.device.type == "cuda"


def walk_threads(backbone: Backbone, size: tuple[int, int]) -> int | None:
    """How many threads a CPU walks a film of this size with; None: with all that torch has.

    One, where passes are small: their operators are too short to share, and threads that wait for each other cost more than
    they save. The film does not depend on the number of cores then, since with some of them products are summed in another
    order.
    """
    if backbone.device.type != "cpu":
        return None
    geometry = backbone.geometry
    in_view = geometry.sink + geometry.bank + geometry.window
    work = backbone.work_of_pass(geometry.grid_size(*size), in_view)
    return 1 if work is not None and work[0] <= SMALL_PASS else None


def threads_beside(walk: int | None) -> int | None:
    """With how many threads pieces are done beside a walk with `walk` of them: the others."""
    return None if walk is None else max(1, torch.get_num_threads() - walk)


class Overlap(Generic[Tag, Result]):
    """Pieces of work over tensors, done one after the other; their results come back in order, by `take`.

    Whatever a piece raises, `take` raises in the caller's thread. On a GPU the pieces run on a stream of their own, each
    after all that the caller had issued when it was handed over.
    """

    def __init__(self, device: torch.device, ahead: int = AHEAD, threads: int | None = None) -> None:
        """`threads`: with how many of them torch does the pieces, if not with all; see `threads_beside`."""
        self.ahead = ahead
        self._pending: deque[tuple[Tag, Future[Result]]] = deque()
        begin = None if threads is None else partial(torch.set_num_threads, threads)
        self._thread = ThreadPoolExecutor(1, "overlap", begin) if ahead else None
        self._stream = _second_stream(device) if ahead and device.type == "cuda" else None

    def submit(self, tag: Tag, work: Callable[..., Result], *inputs: Tensor) -> None:
        """Hands a piece of work over; `tag` comes back with its result. Follow it with `take` until that gives None."""
        if self._thread is None:
            done: Future[Result] = Future()
            done.set_result(work(*inputs))
            self._pending.append((tag, done))
        elif self._stream is None:
            self._pending.append((tag, self._thread.submit(work, *inputs)))
        else:
            issued = torch.cuda.current_stream(self._stream.device).record_event()
            self._pending.append((tag, self._thread.submit(_on_stream, self._stream, issued, work, inputs)))

    def take(self, everything: bool = False) -> tuple[Tag, Result] | None:
        """The next result that is there; waits for one while more than `ahead` pieces (with `everything`: any) are not."""
        if not self._pending:
            return None
        must_wait = everything or len(self._pending) > self.ahead
        if not (must_wait or self._pending[0][1].done()):
            return None
        tag, future = self._pending.popleft()
        return tag, future.result()

    def close(self) -> None:
        """Gives up the pieces that have not begun, and waits for the one under way."""
        self._pending.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)


@cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    """The same for all films: memory that the allocator keeps for one stream serves no other."""
    return torch.cuda.Stream(device)


def _on_stream(
    stream: torch.cuda.Stream, issued: torch.cuda.Event, work: Callable[..., Result], inputs: tuple[Tensor, ...]
) -> Result:
    with torch.cuda.stream(stream):
        stream.wait_event(issued)
        for tensor in inputs:
            if tensor.is_cuda:
                tensor.record_stream(stream)  # its memory stays until this stream is done with it
        return work(*inputs)
