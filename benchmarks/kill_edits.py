"""Kills `memflow retake`, `extend` and `cut` at random moments, gives the same command again, and looks whether anything is lost.

    python -m benchmarks.kill_edits --kills 30        # some two minutes

A kept film goes through takes, a pick, an undo, a pick that keeps what comes after, an extension and a cut. Each command is
started as a shell would start it, and SIGKILLed once or several times on its way; then it may end. After every kill the film
must be there as it was, or as it is to become, whole: in its place, or where the next command takes it from. In the end
every file must be the one that an unbroken series makes, byte for byte. Exits 1 otherwise.
"""

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

STORY = """\
title: Edited
seed: 5
segments:
- {prompt: a red fox with a blue scarf stands in a meadow, duration: 1.5}
- {prompt: the fox waves, duration: 1.5}
- {prompt: a brown bear stands on a beach, duration: 1.5, transition: cut}
"""
COMMANDS = (
    "retake film.mp4 2 --takes 2 --progress none",
    "retake film.mp4 2 --pick 1 --progress none",
    "retake film.mp4 --undo",
    "retake film.mp4 2 --pick 2 --then keep --progress none",
    "extend film.mp4 --prompt night --duration 1.5s -o longer.mp4 --progress none",
    "cut film.mp4 --from 2 -o shorter.mp4",
)
LIKELY = 0.7  # that a command which was killed is killed once more, while there are kills left


class Series:
    """A folder in which one command after the other is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memflow = shutil.which("memflow", path=str(Path(sys.executable).parent)) or "memflow"

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.memflow, *command.split()],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> float:
        """To its end. Seconds."""
        began = time.monotonic()
        process = self.start(command)
        _, said = process.communicate()
        if process.returncode:
            sys.exit(f"memflow {command} ended with {process.returncode}:\n{said}")
        return time.monotonic() - began

    def contents(self) -> dict[str, str]:
        """Checksums of all that is to be the same: times are written down in some files, and a lock names a process."""
        return {
            str(path.relative_to(self.folder)): _sha256(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != "lock" and path.suffix != ".json"
        }

    def has_film(self, versions: set[str]) -> bool:
        """Whether the film is whole, in its place or where an exchange has put it."""
        places = [self.folder, self.folder / "film.takes" / "aside", self.folder / "film.takes" / "picked"]
        films = [place / "film.mp4" for place in [*places, self.folder / "film.takes" / "before"]]
        return any(film.is_file() and _sha256(film) in versions for film in films)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--model", default="theatre")
    parser.add_argument("--size", default="224x128")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    moments: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        begun, whole = Path(name, "begun"), Series(Path(name, "whole"))
        begun.mkdir()
        (begun / "story.yaml").write_text(STORY)
        Series(begun).run(
            f"generate story.yaml -o film.mp4 --model {arguments.model} --size {arguments.size} --keep-run --progress none"
        )
        shutil.copytree(begun, whole.folder)
        seconds, states = [], [whole.contents()]
        for command in COMMANDS:
            seconds.append(whole.run(command))
            states.append(whole.contents())
        versions = {state["film.mp4"] for state in states}
        kills = faults = rounds = 0
        while kills < arguments.kills:
            rounds += 1
            series = Series(Path(name, f"round-{rounds}"))
            shutil.copytree(begun, series.folder)
            for command, usual, wanted in zip(COMMANDS, seconds, states[1:], strict=True):
                while kills < arguments.kills and generator.random() < LIKELY:
                    process = series.start(command)
                    time.sleep(generator.uniform(0.1, 1.05) * usual)
                    is_killed = process.poll() is None
                    process.kill()
                    process.communicate()
                    if not is_killed:
                        break
                    kills += 1
                    moments[
                        " ".join(command.split()[:1] + [word for word in command.split() if word.startswith("--")][:1])
                    ] += 1
                    if not series.has_film(versions):
                        faults += 1
                        print(f"kill {kills}, memflow {command}: the film is not there")
                # An undo that is over cannot be given again: it would take itself back.
                if series.contents() != wanted:
                    series.run(command)
                found = series.contents()
                if found != wanted:
                    faults += 1
                    names = sorted(file for file in found.keys() | wanted.keys() if found.get(file) != wanted.get(file))
                    print(f"round {rounds}, after memflow {command}: not as it should be: {', '.join(names)}")
    print(f"{kills} kills in {rounds} rounds of {len(COMMANDS)} commands: {json.dumps(moments)}")
    print(f"lost or different: {faults}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
