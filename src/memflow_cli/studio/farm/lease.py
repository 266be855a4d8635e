"""One writer for one film: the file film.mp4.lease beside it, which the writer signs and renews. No torch.

A run folder's lock (flock) does not hold on every network disk, and knows nothing of other machines on some. Names that Ray
gives to actors hold within one cluster and only as far as its network reaches: a worker that is cut off from the cluster
would go on writing while another is given its name. A file is seen by whoever can write the film: another cluster, another
driver, a worker that nobody hears of any more.

    a) A lease is made by whoever creates the file; two cannot.
    b) Its holder renews it five times within its span, and ends its own process if it finds another's name in it, or could
       not renew it for two thirds of the span: before anybody else may take it.
    c) A lease whose content did not change for a whole span, by the clock of the one who waits, is over: clocks of
       machines are not compared.
    d) Whoever takes over a lease that was over looks once more, a fifth of a span later, whether it is his.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.film.names import lease_path

SPAN = 15.0  # seconds; a network disk may show a file as it was three seconds ago
_RENEWALS = 5  # within a span
_MAX_BYTES = 400
_EXIT_CODE = 75


class Lease:
    """A film's lease, held and renewed from when it is taken until it is given back; `with` does that."""

    def __init__(self, film: Path, token: str, span: float, lost: Callable[[], object]) -> None:
        """Use `take`."""
        self._path = lease_path(film)
        self._token = token
        self._span = span
        self._lost = lost
        self._count = 0
        self._renewed = time.monotonic()
        self._over = threading.Event()

    @classmethod
    def take(
        cls,
        film: Path,
        token: str,
        *,
        dead: Collection[str] = (),
        patience: float = 2 * SPAN,
        span: float = SPAN,
        stop: Callable[[], MemflowError | None] = lambda: None,
        lost: Callable[[], object] = lambda: os._exit(_EXIT_CODE),
    ) -> Self:
        """Waits until nobody else holds the lease, and takes it.

        `dead`: holders that have ended. `patience`: for how many seconds another's renewals are looked at; then UsageError.
        `stop`: asked meanwhile. `lost`: called from another thread when the lease is no longer ours; it is to end the writing.
        """
        lease = cls(film, token, span, lost)
        had_to_take_over = False
        watch = Watch(film, span)
        while not lease._create():
            if (error := stop()) is not None:
                raise error
            if watch.is_over(dead):
                had_to_take_over = True
            elif watch.seconds > patience:
                raise UsageError(
                    f"{film.name} is being rendered by another process ({watch.holder})",
                    "Wait for it, stop it, or give another name with -o.",
                )
            else:
                time.sleep(span / 30)
        if had_to_take_over and not set(dead).issuperset(watch.ended):
            time.sleep(span / _RENEWALS)
            if not lease._renew():
                return cls.take(film, token, dead=dead, patience=patience, span=span, stop=stop, lost=lost)
        threading.Thread(target=lease._keep_renewing, name="lease", daemon=True).start()
        return lease

    def check(self) -> None:
        """Raises TimeoutError if the lease may be another's by now: nothing is to be written any more."""
        if time.monotonic() - self._renewed > self._span * 2 / 3:
            raise TimeoutError(f"{self._path} could not be renewed: the disk does not answer")

    def give_back(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            if _holder(_read(self._path)) == self._token:
                os.unlink(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    # inside

    def _text(self) -> bytes:
        return f"{self._token} {self._count:012d} {socket.gethostname()[:100]} {os.getpid()}\n".encode()

    def _create(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise UsageError(f"cannot write beside {self._path.with_suffix('')}: {error.strerror}") from error
        with open(descriptor, "wb") as file:
            file.write(self._text())
        self._renewed = time.monotonic()
        return True

    def _renew(self) -> bool:
        """Whether the lease is ours, and was renewed."""
        self._count += 1
        before = time.monotonic()
        try:
            with open(self._path, "r+b") as file:
                if _holder(file.read(_MAX_BYTES)) != self._token:
                    return False
                file.seek(0)
                file.write(self._text())
        except FileNotFoundError:
            return False
        self._renewed = before
        return True

    def _keep_renewing(self) -> None:
        while not self._over.wait(self._span / _RENEWALS):
            is_ours = True
            with contextlib.suppress(OSError):
                is_ours = self._renew()
            if self._over.is_set():
                return
            if not is_ours or time.monotonic() - self._renewed > self._span * 2 / 3:
                self._lost()
                return


class Watch:
    """Looks at a lease that another holds, until it is over."""

    def __init__(self, film: Path, span: float = SPAN) -> None:
        self._path = lease_path(film)
        self._span = span
        self._begun = time.monotonic()
        self._seen: bytes | None = None
        self._since = self._begun
        self.ended: list[str] = []

    def is_over(self, dead: Collection[str] = ()) -> bool:
        """Whether there is no lease any more: one that is over is removed."""
        content = _read(self._path)
        if content is None:
            return True
        now = time.monotonic()
        if content != self._seen:
            self._seen, self._since = content, now
        if _holder(content) not in dead and now - self._since < self._span:
            return False
        with contextlib.suppress(FileNotFoundError):
            if _read(self._path) == content:
                os.unlink(self._path)
                self.ended.append(_holder(content))
        return True

    @property
    def seconds(self) -> float:
        """For how long it has been looked at."""
        return time.monotonic() - self._begun

    @property
    def holder(self) -> str:
        """Who wrote the lease, for a sentence."""
        words = (self._seen or b"").decode("utf-8", "replace").split()
        return (
            f"process {words[3]} on {words[2]}" if len(words) == 4 and all(map(str.isprintable, words)) else "unknown"
        )


def _read(path: Path) -> bytes | None:
    """What a lease says; None if there is none. Opened anew each time: that makes a network disk look again."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None


def _holder(content: bytes | None) -> str:
    return (content or b"").partition(b" ")[0].decode("utf-8", "replace")
