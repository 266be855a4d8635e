"""What decode and encode beside the denoising buy: python -m benchmarks.overlap

Makes the same film again and again by the whole walk of `memflow generate`, with overlap and without, in alternating order
in one run. Prints, pair by pair, the ratio of the times overlapped / in turn, median and quartiles: of the whole film, and
of the steady state (from its second chunk's end to its last one's); and whether the films' bytes are the same.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.flat_memory import PROMPTS
from memflow_cli.catalog import find_model
from memflow_cli.cli.device import choose_device, choose_dtype
from memflow_cli.film import ChunkDone, make_film
from memflow_cli.storyboard import Segment, Storyboard
from memflow_cli.wan.checkpoints import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="theatre")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=18, help="length of the film, in two segments")
    parser.add_argument("--size", default=None, metavar="WxH")
    options = parser.parse_args()
    entry = find_model(options.model)
    place = choose_device(options.device)
    backbone = load_model(entry, place, choose_dtype("auto", place))
    width, height = map(int, options.size.split("x")) if options.size else (entry.width, entry.height)
    segments = tuple(Segment(prompt, options.seconds / 2) for prompt in PROMPTS[:2])
    story = Storyboard("Overlap", segments, seed=1, width=width, height=height)
    whole: list[float] = []
    steady: list[float] = []
    same = True
    with tempfile.TemporaryDirectory(prefix="memflow-overlap-") as folder:

        def make(overlap: bool) -> tuple[float, float, bytes]:
            ends: list[float] = []

            def note(event: object) -> None:
                if isinstance(event, ChunkDone):
                    ends.append(time.perf_counter())

            result = make_film(story, entry, backbone, Path(folder, "film.mp4"), note, overlap=overlap)
            return result.seconds, ends[-1] - ends[1], result.path.read_bytes()

        make(overlap=True)  # warms up
        for pair in range(options.pairs):
            films = {overlap: make(overlap) for overlap in ((True, False) if pair % 2 else (False, True))}
            whole.append(films[True][0] / films[False][0])
            steady.append(films[True][1] / films[False][1])
            same = same and films[True][2] == films[False][2]
    print(f"{entry.name} {width}x{height} on {place}, {torch.get_num_threads()} threads, {options.pairs} pairs")
    for name, ratios in (("whole film", whole), ("steady state", steady)):
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"{name}: overlapped / in turn {median:.3f} (quartiles {low:.3f} - {high:.3f})")
    print(f"same bytes: {same}")


if __name__ == "__main__":
    main()
