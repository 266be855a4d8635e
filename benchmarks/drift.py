"""Does a film of a minute end as well as it began? Fidelity and picture statistics at 60 s against 5 s.

Held-out stories of 80 chunks in one scene without a cut; puppets come, act and go. Whoever a prompt names is described in it,
so that memory need not supply looks; who only stands by may go unmentioned. Picture statistics are differences from the
story as it was drawn at the same time, so that who is on stage does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from benchmarks.films import Studio
from benchmarks.judge import agreement, tally
from benchmarks.true_clips import LOOKED_AT
from training.drawing import draw_frame
from training.world import FIRST_HELD_OUT_SEED, FRAMES_PER_CHUNK, Story, sample_story, stage

CHUNKS = 80  # 60 s
TIMES = {"5 s": range(3, 10), "60 s": range(73, 80)}  # chunks: 2.25-7.5 s and 54.75-60 s
STATISTICS = ("brightness", "contrast", "saturation", "sharpness")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Minute:
    """One film: for each of TIMES, (right, asked) by question, and statistics against what was drawn, in 0..255."""

    policy: str
    story: int
    fidelity: dict[str, dict[str, tuple[int, int]]]
    statistics: dict[str, dict[str, float]]


def story_of(number: int) -> Story:
    """The held-out story `number` of a minute that stays in one scene."""
    seeds = (FIRST_HELD_OUT_SEED + 100_000 * (1 + number) + attempt for attempt in count())
    stories = (sample_story(seed, "free", num_chunks=CHUNKS) for seed in seeds)
    return next(story for story in stories if not any(beat.cut for beat in story.beats))


def picture_statistics(frames: Sequence[np.ndarray]) -> dict[str, float]:
    """Frames uint8 [height, width, 3] -> mean and deviation of luma, mean saturation, mean size of its Laplacian."""
    rows = []
    for frame in np.asarray(frames, np.float32):
        luma = frame @ LUMA
        inner = luma[1:-1, 1:-1]
        edges = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
        rows.append((luma.mean(), luma.std(), (frame.max(-1) - frame.min(-1)).mean(), np.abs(edges).mean()))
    return dict(zip(STATISTICS, np.mean(rows, axis=0).tolist(), strict=True))


def watch_minute(studio: Studio, story: Story, policy: str) -> Minute:
    kept: dict[int, np.ndarray] = {}

    def keep(chunk: int, frames: np.ndarray) -> None:
        if any(chunk in chunks for chunks in TIMES.values()):
            kept[chunk] = frames[list(LOOKED_AT)]

    film = studio.watch(story, policy, seed=0, said_again=1.0, keep=keep)
    motions = stage(story)
    fidelity, statistics = {}, {}
    for name, chunks in TIMES.items():
        rows = slice(chunks.start, chunks.stop)
        fidelity[name] = tally(agreement(film.answers[rows], film.labels[rows]))
        made = picture_statistics([frame for chunk in chunks for frame in kept[chunk]])
        drawn = picture_statistics(
            [
                draw_frame(story, motions, chunk * FRAMES_PER_CHUNK + offset)[0]
                for chunk in chunks
                for offset in LOOKED_AT
            ]
        )
        statistics[name] = {statistic: round(made[statistic] - drawn[statistic], 3) for statistic in STATISTICS}
    return Minute(policy, story.seed, fidelity, statistics)
