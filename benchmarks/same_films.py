"""Whether films are the same, frame by frame: python -m benchmarks.same_films BEFORE AFTER

BEFORE and AFTER are folders of films: those of the same name are compared as they are decoded, so that another container
or encoder setting does not matter where the pictures do not change. Or both are checkouts of this repository, each with
its `src`: with `--make`, both make the storyboards named (`storyboards/*.yaml` unless given) on this machine first.
Prints one line per film; exit code 1 unless all are the same.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Comparison:
    """`num_frames`: of both films; `first_difference`: the first frame that is not the same, or None;
    `largest`: by how much a value of 0..255 differs at most.
    """

    num_frames: tuple[int, int]
    first_difference: int | None
    largest: int

    @property
    def is_same(self) -> bool:
        return self.first_difference is None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--make", action="store_true", help="both are checkouts: make their films first")
    parser.add_argument("--dtype", default="bf16", help="for --make")
    parser.add_argument("storyboards", type=Path, nargs="*")
    options = parser.parse_intermixed_args()
    storyboards = options.storyboards or sorted((ROOT / "storyboards").glob("*.yaml"))
    with tempfile.TemporaryDirectory(prefix="memflow-same-") as temporary:
        folders = options.before, options.after
        if options.make:
            folders = Path(temporary, "before"), Path(temporary, "after")
            for checkout, folder in zip((options.before, options.after), folders, strict=True):
                make_films(checkout, storyboards, folder, options.dtype)
        sys.exit(not report(*folders))


def make_films(checkout: Path, storyboards: Sequence[Path], folder: Path, dtype: str) -> None:
    """Films of the storyboards in `folder`, by the code of a checkout."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_WAIT_POLICY": "PASSIVE"}
    start = "from memflow_cli.cli.app import main; main()"  # which every version has
    command = [sys.executable, "-c", start, "generate", *map(str, storyboards)]
    subprocess.run([*command, "-o", f"{folder}/", "--dtype", dtype], env=environment, check=True)


def report(before: Path, after: Path) -> bool:
    """Compares the films that both folders hold. Returns whether there are any, and all are the same."""
    names = sorted({path.name for path in before.glob("*.mp4")} & {path.name for path in after.glob("*.mp4")})
    found = [compare(before / name, after / name) for name in names]
    for name, one in zip(names, found, strict=True):
        what = "same" if one.is_same else f"differs from frame {one.first_difference} on, by up to {one.largest} of 255"
        print(f"{name}: {' and '.join(map(str, dict.fromkeys(one.num_frames)))} frames, {what}", flush=True)
    return bool(found) and all(one.is_same for one in found)


def compare(before: Path, after: Path) -> Comparison:
    count, first, largest = [0, 0], None, 0
    for number, pair in enumerate(itertools.zip_longest(frames(before), frames(after))):
        for side, frame in enumerate(pair):
            count[side] += frame is not None
        one, other = pair
        if one is None or other is None or one.shape != other.shape:
            largest = 255
        elif not np.array_equal(one, other):
            largest = max(largest, int(np.abs(one.astype(int) - other).max()))
        first = number if largest and first is None else first
    return Comparison((count[0], count[1]), first, largest)


def frames(path: Path) -> Iterator[np.ndarray]:
    """The planes of each frame as they are encoded (YUV 4:2:0), without conversion: [height * 3 / 2, width] uint8."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="yuv420p")


if __name__ == "__main__":
    main()
