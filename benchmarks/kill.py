"""Kills a render again and again, resumes it each time, and compares the film with the one made without a break.

    python -m benchmarks.kill --kills 50

Each render is a process of its own, ended by SIGKILL at a random moment between its start and the time that a few chunks
take after the replay; when it has been killed often enough it may finish. Prints how many chunks were denoised more than
once, what the replay costs as a share of making the same chunks, and whether the decoded frames are identical.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from memflow_cli.catalog import find_model
from memflow_cli.film import ChunkDone, ChunkReplayed, make_film
from memflow_cli.recipe import run_path, trace_path
from memflow_cli.storyboard import Segment, Storyboard
from memflow_cli.video import probe, read_frames
from memflow_cli.wan.checkpoints import load_model

PROMPTS = (
    "A red fox with a blue scarf enters from the left in a meadow.",
    "The fox waves.",
    "The fox leaves to the right.",
    "Nobody is there.",
    "The fox comes back from the right.",
)


class Log:
    """Events of a render, appended to a file so that a killed process' are there too: a letter, a chunk, a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def begin_film(self) -> None:
        self._file.write(b"film 0 0\n")

    def __call__(self, event: object) -> None:
        if isinstance(event, ChunkDone | ChunkReplayed):
            kind = "done" if isinstance(event, ChunkDone) else "replayed"
            self._file.write(f"{kind} {event.chunk} {time.monotonic()}\n".encode())


def finished_twice(log: Path) -> int:
    """Chunks that were finished although an earlier life of the same film had finished them."""
    seen: set[str] = set()
    twice = 0
    for kind, chunk, _ in (line.split() for line in log.read_text().splitlines()):
        if kind == "film":
            seen.clear()
        elif kind == "done":
            twice += chunk in seen
            seen.add(chunk)
    return twice


def seconds_a_chunk(log: Path, kind: str) -> float:
    """The median time from one chunk to the next of the same kind, in the same process."""
    rows = [line.split() for line in log.read_text().splitlines()]
    gaps = [
        float(after[2]) - float(before[2])
        for before, after in pairwise(rows)
        if before[0] == after[0] == kind and int(after[1]) == int(before[1]) + 1
    ]
    return float(np.median(gaps)) if gaps else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--model", default="theatre")
    parser.add_argument("--segment-seconds", type=float, default=3)
    parser.add_argument("--size", default="96x64")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a forked child must not meet its parent's threads
    entry = find_model(arguments.model)
    backbone = load_model(entry, torch.device("cpu"), torch.float32)
    segments = tuple(Segment(prompt, arguments.segment_seconds) for prompt in PROMPTS)
    width, height = map(int, arguments.size.split("x"))
    story = Storyboard("Killed", segments, seed=5, width=width, height=height)
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, film, log = Path(folder, "whole.mp4"), Path(folder, "film.mp4"), Path(folder, "log")
        make_film(story, entry, backbone, whole, Log(Path(folder, "whole.log")))
        chunk_seconds = seconds_a_chunk(Path(folder, "whole.log"), "done")
        kills = lives = 0
        replay_seconds = 0.2 * chunk_seconds
        while not film.exists():
            kept = kept_chunks(film)
            child = os.fork()
            if child == 0:
                try:
                    make_film(story, entry, backbone, film, Log(log))
                finally:
                    os._exit(0)  # whatever happens, a child never goes on as its parent
            if kills < arguments.kills:
                # Progress is a chunk or so a life: most lives end soon after the replay, some within it.
                time.sleep(generator.uniform(0, kept * replay_seconds + 2.5 * chunk_seconds))
                if not film.exists():
                    os.kill(child, signal.SIGKILL)
                    kills += 1
            os.waitpid(child, 0)
            lives += 1
            if kills < arguments.kills and film.exists():
                film.unlink()  # it finished before it could be killed often enough: once more from the start
                Log(log).begin_film()
        print(f"{kills} kills in {lives} lives of a film of {num_chunks(whole)} chunks")
        print(f"chunks lost once they were finished: {finished_twice(log)}")
        replay = seconds_a_chunk(log, "replayed")
        print(f"a chunk takes {chunk_seconds:.3f} s, its replay {replay:.3f} s: {replay / chunk_seconds:.0%}")
        frames = range(probe(whole).num_frames)
        same = all(
            np.array_equal(a, b) for (_, a), (_, b) in zip(read_frames(whole, frames), read_frames(film, frames))
        )
        print(f"decoded frames identical: {same}; bytes identical: {whole.read_bytes() == film.read_bytes()}")


def num_chunks(film: Path) -> int:
    return trace_path(film).read_bytes().count(b"\n") - 1


def kept_chunks(film: Path) -> int:
    """About how many chunks an unfinished run holds."""
    try:
        return (run_path(film) / "trace.jsonl").read_bytes().count(b"\n") - 1
    except OSError:
        return 0


if __name__ == "__main__":
    main()
