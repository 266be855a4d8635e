"""What viewers cost a render: the same film with nobody looking, and beside it with viewers of one kind or another, in pairs.

    python -m benchmarks.watched                        # --watch with one viewer; 4 pairs, about a minute
    python -m benchmarks.watched --viewers browser      # the viewer is a real Chromium, on the same cores
    python -m benchmarks.watched --viewers attack       # 50 viewers, floods of prompts, messages of 1 MB, half-open sockets
    python -m benchmarks.watched --viewers none         # --watch and nobody looks

A render's time is that which its film.json tells (from the first prompt to the finished film, without loading the model);
its CPU time is the process's own. The attackers run with less priority (nice 19), for on a machine of one's own they would
run elsewhere. Wants memflow-cli[live].
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

STORY = Path(__file__).parent.parent / "storyboards" / "quickstart.yaml"
VIEWERS, FLOODS, LARGE, HALF_OPEN = 50, 3, 3, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", choices=["one", "none", "browser", "attack"], default="one")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--size", default="224x128")
    parser.add_argument("--storyboard", type=Path, default=STORY)
    parser.add_argument("--address", help=argparse.SUPPRESS)  # this process is a viewer
    arguments = parser.parse_args()
    if arguments.address:
        asyncio.run(look(arguments.address, arguments.viewers))
        return
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start")
    alone, watched = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.pairs + 1):
            order = [False, True] if number % 2 else [True, False]
            for is_watched in order:
                found = render(Path(folder), arguments, is_watched)
                if number:  # the first pair reads files into the system's cache
                    (watched if is_watched else alone).append(found)
    for name, place in (("clock", 0), ("CPU", 1)):
        pairs = [(with_viewers[place], without[place]) for with_viewers, without in zip(watched, alone)]
        ratios = sorted(mine / other for mine, other in pairs)
        print(
            f"{name}: alone {statistics.median(other for _, other in pairs):.2f} s, "
            f"viewers {arguments.viewers}: {statistics.median(mine for mine, _ in pairs):.2f} s; "
            f"ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} - {ratios[-1]:.3f})"
        )


def render(folder: Path, arguments: argparse.Namespace, is_watched: bool) -> tuple[float, float]:
    """One film. (seconds of its render, seconds of CPU of the whole process)."""
    memflow = shutil.which("memflow", path=str(Path(sys.executable).parent)) or "memflow"
    film = folder / "film.mp4"
    for path in folder.glob("film.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    command = [
        memflow,
        "generate",
        str(arguments.storyboard),
        "-o",
        str(film),
        "--size",
        arguments.size,
        "--keep",
        "no",
    ]
    command += ["--watch", "--no-browser"] if is_watched else []
    made = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with contextlib.ExitStack() as stack:
        assert made.stderr is not None, "it was asked for"
        for line in made.stderr:
            if is_watched and "watch it at" in line:
                stack.enter_context(viewers(arguments.viewers, line.split(" at ")[1].strip(), folder))
        _, status, used = os.wait4(made.pid, 0)
        made.returncode = os.waitstatus_to_exitcode(status)
    if made.returncode:
        sys.exit(f"{' '.join(command)} ended with {made.returncode}")
    return json.loads(film.with_suffix(".json").read_text())["timings"]["seconds"], cpu_seconds(used)


def cpu_seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def viewers(kind: str, address: str, folder: Path) -> Iterator[None]:
    if kind == "none":
        yield
    elif kind == "browser":
        with browser(address, folder):
            yield
    else:
        less = 19 if kind == "attack" else 0
        command = ["nice", "-n", str(less), sys.executable, "-m", "benchmarks.watched"]
        process = subprocess.Popen([*command, "--viewers", kind, "--address", address])
        try:
            yield
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def browser(address: str, folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from browser import Page, find_chromium

    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium on the path: apt-get install chromium")
    page = Page(chromium, folder / f"profile-{time.monotonic_ns()}")
    try:
        page.open(address, 1280)
        yield
    finally:
        page.close()


async def look(address: str, kind: str) -> None:
    """A viewer that takes all it is sent; or an attack, until it is killed."""
    if kind == "one":
        await view(address)
        return
    tasks = [view(address) for _ in range(VIEWERS)]
    tasks += [flood(address) for _ in range(FLOODS)] + [shout(address) for _ in range(LARGE)]
    tasks += [half_open(address) for _ in range(HALF_OPEN)]
    await asyncio.gather(*tasks, return_exceptions=True)


def connection(address: str):
    import websockets

    where = urlsplit(address)
    return websockets.connect(
        address.replace("http", "ws", 1) + "socket", origin=f"http://{where.netloc}", max_size=None
    )


async def view(address: str) -> None:
    """Takes all that is sent, until the film is finished and the server gone."""
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed):
        async with connection(address) as socket:
            async for _ in socket:
                pass


async def flood(address: str) -> None:
    """Prompts as fast as the server takes them."""
    async with connection(address) as socket:
        for number in itertools.count():
            await socket.send(json.dumps({"type": "prompt", "text": f"the fox waves {number}"}))


async def shout(address: str) -> None:
    """A megabyte, again and again."""
    while True:
        with contextlib.suppress(Exception):
            async with connection(address) as socket:
                await socket.send("x" * (1 << 20))
                await socket.recv()


async def half_open(address: str) -> None:
    """The beginning of a request, and never its end."""
    where = urlsplit(address)
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: ")
            await reader.read()
            writer.close()


if __name__ == "__main__":
    main()
