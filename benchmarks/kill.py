"""Kills `memflow generate` again and again, resumes it by the same command, and compares the film with an unbroken one.

    python -m benchmarks.kill --kills 50

The command is started as a shell would start it and ended by SIGKILL at a random moment: while it starts, while it
rebuilds what the life before knew, while it makes a chunk, while it finishes the film. After the last kill it may finish;
a film that is finished before is compared, removed and begun anew. Exits 1 unless every film is the unbroken one, frame by
frame, no finished chunk was made again, and no kill cost more than the chunk at hand.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from memflow_cli.film.names import record_path, trace_path
from memflow_cli.film.video_reader import probe, read_frames

STORY = """\
title: Killed
seed: 5
segments:
- {{prompt: a red fox with a blue scarf enters from the left in a meadow, duration: {seconds}}}
- {{prompt: the fox waves, duration: {seconds}}}
- {{prompt: the fox leaves to the right, duration: {seconds}}}
- {{prompt: nobody is there, duration: {seconds}}}
- {{prompt: the fox comes back from the right, duration: {seconds}}}
"""
WHILE_STARTING = 0.2  # the share of kills that may come before the command has begun with the film


class Life:
    """One process of the command. `events`: (when it came, what --progress jsonl said), in order."""

    def __init__(self, command: list[str]) -> None:
        self.started = time.monotonic()
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.complaints: list[str] = []
        self.begun = threading.Event()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                event = json.loads(line)
            except ValueError:  # what libraries say, or a line torn by the kill
                self.complaints.append(line)
                continue
            self.events.append((time.monotonic(), event))
            if event["event"] == "film":
                self.begun.set()
        self.begun.set()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """Waits until it is over. The exit code, -9 for a kill that landed."""
        code = self._process.wait()
        self._listener.join()
        return code

    def times(self, kind: str) -> list[tuple[int, float]]:
        """(chunk, when) of the events `chunk` (made) or `replayed`."""
        return [(event["chunk"], when) for when, event in self.events if event["event"] == kind]

    @property
    def kept(self) -> int | None:
        """Chunks of earlier lives that it goes on from; None if it never came so far."""
        return next((event["resumed_chunks"] for _, event in self.events if event["event"] == "film"), None)

    @property
    def moment(self) -> str:
        """What it was doing at its end."""
        if self.kept is None:
            return "starting"
        if any(event.get("text", "").startswith("stitching") for _, event in self.events):
            return "finishing"
        if len(self.times("replayed")) < self.kept:
            return "replaying"
        return "making chunks"

    @property
    def chunk_at_hand(self) -> int | None:
        """The chunk it was making, if it was making one."""
        if self.moment != "making chunks":
            return None
        made = self.times("chunk")
        return made[-1][0] + 1 if made else self.kept


@dataclass
class Score:
    """What all lives together did. Times in seconds."""

    kills: int = 0
    films: int = 0
    different: int = 0  # films that are not the unbroken one
    made_again: int = 0  # chunks that a life had reported as finished
    most_repeated: int = 0  # chunks of denoising that one kill cost
    moments: Counter[str] = field(default_factory=Counter)
    replay_gaps: list[float] = field(default_factory=list)

    def count(self, lives: list[Life]) -> None:
        """The lives of one film, in order; all but the last were killed."""
        seen: set[int] = set()
        for life in lives:
            made = [chunk for chunk, _ in life.times("chunk")]
            self.made_again += len(seen.intersection(made))
            seen.update(made)
            self.replay_gaps += gaps(life, "replayed")
        for index, life in enumerate(lives[:-1]):
            self.moments[life.moment] += 1
            after = next((later.kept for later in lives[index + 1 :] if later.kept is not None), None)
            if (at_hand := life.chunk_at_hand) is not None and after is not None:
                self.most_repeated = max(self.most_repeated, at_hand + 1 - after)

    @property
    def is_good(self) -> bool:
        return self.films > 0 and not self.different and not self.made_again and self.most_repeated <= 1


def gaps(life: Life, kind: str) -> list[float]:
    """Seconds from one chunk to the next."""
    return [now - before for (a, before), (b, now) in pairwise(life.times(kind)) if b == a + 1]


def pause(life: Life, kept: int, chunk_seconds: float, replay_seconds: float, generator: random.Random) -> None:
    """Waits for the moment of the kill: a chunk or two after the replay at the latest, so that it is one of many."""
    if generator.random() < WHILE_STARTING:
        time.sleep(generator.uniform(0, 3))
        return
    life.begun.wait()
    time.sleep(generator.uniform(0, kept * replay_seconds + 2.5 * chunk_seconds))


def run_to_the_end(command: list[str]) -> Life:
    life = Life(command)
    if code := life.end():
        sys.exit(f"{' '.join(command)} ended with {code}:\n{''.join(life.complaints)}")
    return life


def same_frames(one: Path, other: Path) -> bool:
    if probe(one).num_frames != probe(other).num_frames:
        return False
    frames = range(probe(one).num_frames)
    pairs = zip(read_frames(one, frames), read_frames(other, frames), strict=True)
    return all(np.array_equal(a, b) for (_, a), (_, b) in pairs)


def remove(film: Path) -> None:
    for path in (film, record_path(film), trace_path(film)):
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--model", default="theatre")
    parser.add_argument("--size", default=None, help="the film's, such as 96x64; default: the model's own")
    parser.add_argument("--segment-seconds", type=float, default=3, help="of each of the five segments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    arguments = parser.parse_args()
    memflow = shutil.which("memflow", path=str(Path(sys.executable).parent)) or "memflow"
    generator = random.Random(arguments.seed)
    score = Score()
    with tempfile.TemporaryDirectory() as folder:
        story, whole, film = (Path(folder, name) for name in ("story.yaml", "whole.mp4", "film.mp4"))
        story.write_text(STORY.format(seconds=arguments.segment_seconds))
        options = ["--model", arguments.model, "--progress", "jsonl", "--keep", "no"]
        options += ["--size", arguments.size] if arguments.size else []
        generate = [memflow, "generate", str(story), *options, "-o"]
        unbroken = run_to_the_end([*generate, str(whole)])
        chunk_seconds = median(gaps(unbroken, "chunk"))
        num_chunks = len(unbroken.times("chunk"))
        replay_seconds = 0.2 * chunk_seconds
        lives: list[Life] = []
        while score.kills < arguments.kills or lives:
            life = Life([*generate, str(film)])
            if score.kills < arguments.kills:
                kept = next((earlier.kept for earlier in reversed(lives) if earlier.kept is not None), 0)
                pause(life, kept, chunk_seconds, replay_seconds, generator)
                life.kill()
            code = life.end()
            lives.append(life)
            if code == -signal.SIGKILL:
                score.kills += 1
                print(f"kill {score.kills}: {life.moment}, {life.kept or 0} of {num_chunks} chunks kept", flush=True)
            elif code == 0:
                score.count(lives)
                score.films += 1
                score.different += not same_frames(whole, film)
                score.different += trace_path(whole).read_bytes() != trace_path(film).read_bytes()
                remove(film)
                lives = []
            else:
                sys.exit(f"{' '.join(generate)} ended with {code}:\n{''.join(life.complaints)}")
    replay = median(score.replay_gaps) if score.replay_gaps else float("nan")
    moments = ", ".join(f"{count} while {moment}" for moment, count in score.moments.most_common())
    print(f"{score.kills} kills: {moments or 'none'}; {score.films} films of {num_chunks} chunks")
    print(f"films that differ from the unbroken one, in frames or trace: {score.different}")
    print(
        f"finished chunks made again: {score.made_again}; chunks of denoising that one kill cost: {score.most_repeated}"
    )
    print(
        f"a chunk takes {chunk_seconds:.3f} s, its replay {replay:.3f} s: {replay / chunk_seconds:.1%} of a full render"
    )
    sys.exit(0 if score.is_good else 1)


if __name__ == "__main__":
    main()
