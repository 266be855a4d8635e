"""Whether a chunk costs more the longer the film is: python -m benchmarks.long_film

One long film of theatre passes chunk 1000; beside it young films pass chunk 20, one after the other, with the same prompts
at the same distance from their prompt switches. Both are made by the whole walk of `memflow generate`, a chunk each in
turn, so that a machine whose speed drifts gives the same ratio. Prints the median milliseconds of a chunk near both, by
stage, and the ratio chunk by chunk with its quartiles; exit code 1 if the median exceeds 1.05.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chosen_model import add_model_options, load_chosen
from benchmarks.flat_memory import PROMPTS
from memflow_cli.backbone import Backbone
from memflow_cli.film.events import ChunkDone
from memflow_cli.film.script import plan_story, write_script
from memflow_cli.film.shooting import shoot
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import ModelEntry
from memflow_cli.story.storyboard import Segment, Storyboard

MAX_RATIO = 1.05
SEGMENT_CHUNKS = 16  # the young films are measured in their second segment: chunks 16 to 31
FPS = 16


class SteppedFilm:
    """A film that is made a chunk at a time, whenever one is asked for."""

    def __init__(self, story: Storyboard, entry: ModelEntry, backbone: Backbone, out: Path) -> None:
        # In turn: a chunk's time is its own.
        self._shooting = shoot(write_script(plan_story(story, entry), entry), backbone, out, overlap=False)

    def chunk(self) -> tuple[float, ChunkDone]:
        """Makes the next chunk: the seconds that this takes, and what it was."""
        start = time.perf_counter()
        event = next(event for event in self._shooting if isinstance(event, ChunkDone))
        return time.perf_counter() - start, event

    def stop(self) -> None:
        self._shooting.close()


def story_of(entry: ModelEntry, num_segments: int, first: int, policy: str, size: tuple[int, int]) -> Storyboard:
    """`first`: which prompt the film begins with."""
    frames = len(entry.geometry.chunk_frame_range(1))
    seconds = SEGMENT_CHUNKS * frames / FPS
    segments = tuple(Segment(PROMPTS[(first + index) % len(PROMPTS)], seconds) for index in range(num_segments))
    width, height = size
    memory = MemoryOptions(policy=policy)
    return Storyboard("Long", segments, seed=1, fps=FPS, width=width, height=height, memory=memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--policy", default="nam")
    parser.add_argument("--chunk", type=int, default=1000, help="where the long film is measured, around")
    parser.add_argument("--segments", type=int, default=5, help="segments of 16 chunks that are measured")
    options = parser.parse_args()
    chosen = load_chosen(options)
    entry, backbone = chosen.entry, chosen.backbone

    first_segment = max(1, options.chunk // SEGMENT_CHUNKS - options.segments // 2)
    measured = range(first_segment, first_segment + options.segments)
    rows: list[tuple[tuple[float, ChunkDone], tuple[float, ChunkDone]]] = []
    with tempfile.TemporaryDirectory(prefix="memflow-long-") as folder:

        def film(name: str, num_segments: int, first: int) -> SteppedFilm:
            story = story_of(entry, num_segments, first, options.policy, chosen.size)
            return SteppedFilm(story, entry, backbone, Path(folder, f"{name}.mp4"))

        old = film("old", measured.stop, 0)
        started = time.perf_counter()
        for _ in range(measured.start * SEGMENT_CHUNKS):
            old.chunk()
        spent = time.perf_counter() - started
        print(f"{measured.start * SEGMENT_CHUNKS} chunks in {spent:.0f} s", file=sys.stderr, flush=True)
        for segment in measured:
            young = film(f"young-{segment}", 3, segment - 1)
            for _ in range(SEGMENT_CHUNKS):
                young.chunk()
            for place_in_segment in range(SEGMENT_CHUNKS):
                if place_in_segment % 2:
                    late = old.chunk()
                    early = young.chunk()
                else:
                    early = young.chunk()
                    late = old.chunk()
                rows.append((early, late))
            young.stop()
        old.stop()
    report(rows, measured)


def report(rows: list[tuple[tuple[float, ChunkDone], tuple[float, ChunkDone]]], measured: range) -> None:
    begin, end = measured.start * SEGMENT_CHUNKS, measured.stop * SEGMENT_CHUNKS - 1
    print(
        f"| ms a chunk (median) | chunks {SEGMENT_CHUNKS}-{2 * SEGMENT_CHUNKS - 1} | chunks {begin}-{end} |\n|---|---|---|"
    )
    early, late = (1000 * statistics.median(row[side][0] for row in rows) for side in (0, 1))
    print(f"| all | {early:.1f} | {late:.1f} |")
    for stage in rows[0][0][1].seconds:
        early, late = (1000 * statistics.median(row[side][1].seconds[stage] for row in rows) for side in (0, 1))
        print(f"| {stage} | {early:.1f} | {late:.1f} |")
    low, median, high = statistics.quantiles([late[0] / early[0] for early, late in rows], n=4)
    print(f"\nratio, chunk by chunk: {median:.3f} (quartiles {low:.3f} - {high:.3f}; at most {MAX_RATIO})")
    sys.exit(median > MAX_RATIO)


if __name__ == "__main__":
    main()
