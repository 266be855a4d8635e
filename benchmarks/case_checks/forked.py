"""Many command lines in seconds: each runs in a fork of this process, in which all libraries are loaded already."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cases import Done


def warm_up() -> None:
    """Imports what a film and a report need. One thread: a forked process has none of its parent's."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    import memflow_cli.cli.app
    import memflow_cli.cli.generate
    import memflow_cli.cli.inspect_memory
    import memflow_cli.models.load
    import memflow_cli.models.theatre.language.vocabulary
    import memflow_cli.report
    import memflow_cli.studio.studio  # noqa: F401

    torch.set_num_threads(1)


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    limit: float = 300,
    prepare: Callable[[], object] = lambda: None,
    at_work: Callable[[int], object] = lambda process: None,
) -> Done:
    """One command line with `folder` as its current one. `prepare` runs in the new process, `at_work` in this one while the
    other runs, with its number.
    """
    from memflow_cli.cli.app import run as run_here

    out, err = folder.parent / "forked.out", folder.parent / "forked.err"
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        code = 99
        try:
            os.chdir(folder)
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout = open(1, "w", closefd=False, errors="surrogateescape")  # noqa: SIM115 - the process ends with it
            sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
            prepare()
            code = run_here([os.fspath(argument) for argument in arguments])
            sys.stdout.flush()
        finally:
            os._exit(code)
    at_work(process)
    code = _wait(process, start + limit)
    texts = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (out, err)]
    return Done(code, *texts, time.monotonic() - start)


def _wait(process: int, deadline: float) -> int | None:
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None
