"""Runs reported faults again and says of each whether it is mended:  python -m benchmarks.cases FOLDER [NAME ...]

FOLDER holds `reported/NAME/` and `attack/NAME/`, each with a case.txt and its inputs. A case runs in a copy of its folder, by
the command line and under a time limit; what it expects stands in `benchmarks/case_checks/`, a function for each. The exit
code is 1 if one fails.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MEMFLOW = (sys.executable, "-m", "memflow_cli")
_SOURCE = Path(__file__).parent.parent / "src"


@dataclass(frozen=True)
class Done:
    """What one command line came to. `code`: None if it ran into the time limit."""

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def is_told(self) -> bool:
        """Whether it ended by itself, with sentences: no traceback, nothing that is called a bug."""
        return self.code is not None and "Traceback" not in self.err and "bug in memflow" not in self.err

    def __str__(self) -> str:
        return f"code {self.code}, {self.seconds:.1f} s: {self.err.strip()[-160:] or self.out.strip()[-160:]}"


@dataclass(frozen=True)
class Case:
    """A case's folder, copied to where it may be written in."""

    folder: Path

    def memflow(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, limit: float = 240
    ) -> Done:
        return self.run(*_MEMFLOW, *arguments, env=env, cwd=cwd, limit=limit)

    def run(
        self,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        limit: float = 240,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.PIPE,
    ) -> Done:
        whole = {**os.environ, "PYTHONPATH": str(_SOURCE), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        start = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd or self.folder, env=whole, stdout=stdout, stderr=stderr
        )
        try:
            out, err = process.communicate(timeout=limit)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            code = None
        texts = [(text or b"").decode("utf-8", "surrogateescape") for text in (out, err)]
        return Done(code, *texts, time.monotonic() - start)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def main() -> None:
    from benchmarks.case_checks import CHECKS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="only these cases")
    arguments = parser.parse_args()
    failed = 0
    for folder in sorted(arguments.folder.glob("*/*/case.txt")):
        name = folder.parent.name
        if arguments.names and name not in arguments.names:
            continue
        if name in CHECKS:
            verdict, about = judge(folder.parent, CHECKS[name])
        else:
            verdict, about = "not run", "no check is written for it"
        failed += verdict == "FAILS"
        print(f"{verdict:<8} {folder.parent.parent.name}/{name:<34} {' '.join(about.split())[:220]}", flush=True)
    sys.exit(1 if failed else 0)


def judge(folder: Path, check) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """("ok" or "FAILS", what was seen)."""
    with tempfile.TemporaryDirectory(prefix="case-") as place:
        copy = Path(place) / "case"
        shutil.copytree(folder, copy, symlinks=True)
        try:
            return "ok", str(check(Case(copy)) or "")
        except AssertionError as error:
            return "FAILS", str(error)
        except Exception as error:  # noqa: BLE001 - a check that breaks is a verdict, too
            return "FAILS", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
