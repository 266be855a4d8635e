"""Two films at once against the same two one after the other: `python -m benchmarks.two_at_once`.

The command is run as a user runs it, nothing about threads in its environment. On a machine whose cores one film keeps
busy, two at once should take what one after the other takes; threads that spin while they wait make it several times that.

    python -m benchmarks.two_at_once --rounds 5
    python -m benchmarks.two_at_once --beside        # a film alone, and beside a process that keeps one core busy
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEGMENTS = "- {prompt: a red fox walks to the right in a meadow, duration: 6}\n- {prompt: the fox jumps, duration: 6}\n"
THREAD_SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_")
BUSY = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside", action="store_true", help="measure beside one busy core instead")
    parser.add_argument("--storyboard", type=Path, help="instead of twelve seconds of a fox")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        storyboard = arguments.storyboard or folder / "fox.yaml"
        if arguments.storyboard is None:
            storyboard.write_text(f"seed: 1\nsegments:\n{SEGMENTS}")
        films = [film_command(storyboard.absolute(), folder / f"{number}.mp4") for number in (1, 2)]
        seconds(films[:1])  # reads files into the system's cache
        print(f"{os.cpu_count()} cores, {processor()}, Python {platform.python_version()}")
        if arguments.beside:
            tell_beside(films[0], arguments.rounds)
        else:
            tell_ratio(films, arguments.rounds)


def tell_ratio(films: list[list[str]], rounds: int) -> None:
    one_by_one, at_once = [], []
    for _ in range(rounds):
        one_by_one.append(seconds(films[:1]) + seconds(films[1:]))
        at_once.append(seconds(films))
    ratios = [both / single for both, single in zip(at_once, one_by_one, strict=True)]
    print(f"one after the other {shown(one_by_one)}; at once {shown(at_once)}; ratio {statistics.median(ratios):.2f}")


def tell_beside(film: list[str], rounds: int) -> None:
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(seconds([film]))
        busy = subprocess.Popen([sys.executable, "-c", BUSY])
        try:
            beside.append(seconds([film]))
        finally:
            busy.kill()
            busy.wait()
    print(f"alone {shown(alone)}; beside one busy core {shown(beside)}")


def film_command(storyboard: Path, film: Path) -> list[str]:
    options = ["-o", str(film), "-y", "--progress", "none"]
    return [sys.executable, "-m", "memflow_cli", "generate", str(storyboard), *options]


def seconds(commands: list[list[str]]) -> float:
    """From the start of the first process to the end of the last, all of them running at once. No film is there before."""
    for command in commands:
        film = Path(command[command.index("-o") + 1])
        for path in film.parent.glob(f"{film.stem}.*"):
            if path.suffix != ".yaml":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(THREAD_SETTINGS)}
    start = time.perf_counter()
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for command in commands]
    codes = [process.wait() for process in running]
    assert not any(codes), f"a film was not made: exit codes {codes}"
    return time.perf_counter() - start


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} s ({min(values):.1f} - {max(values):.1f})"


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor")


if __name__ == "__main__":
    main()
