"""What the checks of cases share: a command line that made a film, that told something, that planned."""

import json
import re
import shlex
import sys
from pathlib import Path

from benchmarks.case_checks import forked
from benchmarks.cases import Case, Done

_FILM = "seed: 7\nsize: {size}\nsegments: [{{prompt: a red fox walks in a meadow, duration: 0.75s}}]\n"
TINY = _FILM.format(size="224x128")
SIZE = "--size", "224x128"  # theatre no longer makes films of the cases' 32x32
SOURCE = Path(__file__).parent.parent.parent / "src"
WEIGHTS = SOURCE / "memflow_cli/models/theatre/weights"


def made(done: Done, film: Path) -> str:
    assert done.code == 0 and done.is_told and film.exists(), str(done)
    return str(done)


def told(done: Done, *codes: int, says: str = "") -> str:
    assert done.is_told and done.code in codes, str(done)
    assert says.lower() in (done.err + done.out).lower(), f"does not say {says!r}: {done}"
    return str(done)


def plan(case: Case, name: str | Path, *options: str) -> dict:
    done = case.memflow("plan", "--json", name, *SIZE, *options)
    assert done.code == 0, str(done)
    return json.loads(done.out.splitlines()[0])


def tiny(case: Case) -> Path:
    return case.write("tiny.yaml", TINY)


def tiny_model(case: Case) -> Path:
    """A model that makes a film in a second, in a process that has loaded all that it needs."""
    forked.warm_up()
    folder = case.folder / "tiny"
    if not folder.exists():
        told(case.memflow("models", "make-tiny", "theatre", folder), 0)
    return folder


def shell(case: Case, line: str, **options) -> Done:
    """A line of sh in which `memflow` is this source's."""
    command = shlex.join([sys.executable, "-m", "memflow_cli"])
    return case.run("sh", "-c", re.sub(r"\bmemflow\b", lambda _: command, line, count=1), **options)
