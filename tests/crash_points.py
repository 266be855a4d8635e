"""A command line that is killed before its n-th call that changes a file: in a fork, by SIGKILL, with nothing cleaned up."""

import contextlib
import gc
import io
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from memflow_cli.cli.app import run

EVERY_CALL = os.environ.get("HYPOTHESIS_PROFILE") == "long"  # instead of some of them

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CALLS = {"os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "subprocess.Popen"}
_METHODS = {"flush", "truncate", "close", "__exit__"}  # of files that are written: no audit event tells of these


class _Counter:
    """Counts calls that change a file, and ends the process before the one it is told of (0: never)."""

    def __init__(self, last: int, report: int) -> None:
        self._last = last
        self._report = report
        self._count = 0

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":  # once by its path, and, if that takes an opener, once more by os.open
            path, mode, flags = arguments
            if mode is None and isinstance(flags, int) and flags & _WRITING:
                self._one_more(f"open {path}")
        elif event == "os.remove":
            path, folder = arguments
            with contextlib.suppress(OSError):
                os.lstat(path) if folder == -1 else os.stat(path, dir_fd=folder, follow_symlinks=False)
                self._one_more(f"remove {path}")
        elif event in _CALLS:
            self._one_more(f"{event} {arguments[0]}")

    def profile(self, frame: object, event: str, function: object) -> None:
        if event != "c_call" or getattr(function, "__name__", None) not in _METHODS:
            return
        file = getattr(function, "__self__", None)
        if isinstance(file, io.BufferedWriter | io.BufferedRandom) and not file.closed:
            with contextlib.suppress(OSError, ValueError):
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    self._one_more(f"{getattr(function, '__name__', None)} {getattr(file, 'name', '?')}")

    def _one_more(self, what: str) -> None:
        self._count += 1
        os.write(self._report, f"{what}\n".encode(errors="replace"))
        if self._count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def life(arguments: Sequence[str], talk: Path, die_at: int | None = None) -> tuple[int, list[str]]:
    """One process of the command. Its exit code (-9: killed) and, unless `die_at` is None, the calls that it came to.

    `die_at`: number of the call to die before; 0 only counts. `talk`: where its stdout and stderr go.
    """
    receive, report = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            gc.freeze()
            os.fsync = lambda file: None  # a kill leaves what was written, and a power cut is not tried here
            os.close(receive)
            output = os.open(talk, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the process ends with it
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            if die_at is not None:
                counter = _Counter(die_at, report)
                sys.addaudithook(counter.audit)
                sys.setprofile(counter.profile)
            code = run(list(arguments))
            sys.setprofile(None)
        finally:
            os._exit(code)
    os.close(report)
    with open(receive, "rb") as calls:
        seen = calls.read().decode(errors="replace").splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen
