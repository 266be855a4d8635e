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

from benchmarks.chosen_model import add_model_options, load_chosen
from benchmarks.flat_memory import PROMPTS
from memflow_cli.film.events import ChunkDone
from memflow_cli.film.shooting import make_film
from memflow_cli.story.storyboard import Segment, Storyboard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=18, help="length of the film, in two segments")
    options = parser.parse_args()
    chosen = load_chosen(options)
    entry, backbone, (width, height) = chosen.entry, chosen.backbone, chosen.size
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
    print(f"{entry.name} {width}x{height} on {chosen.place}, {torch.get_num_threads()} threads, {options.pairs} pairs")
    for name, ratios in (("whole film", whole), ("steady state", steady)):
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"{name}: overlapped / in turn {median:.3f} (quartiles {low:.3f} - {high:.3f})")
    print(f"same bytes: {same}")


if __name__ == "__main__":
    main()
