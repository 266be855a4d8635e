"""Who is on stage after a cut, with its looks, and once?

Held-out stories of action that are cut to a second setting, whose prompt names the puppets by species only: looks must come
from memory, places must not, since everybody stands anew. The first chunks after the cut are judged.
"""

from dataclasses import replace
from itertools import count

from benchmarks.films import Studio
from benchmarks.judge import agreement, tally
from training.world import FIRST_HELD_OUT_SEED, Story, sample_story

POLICY = "nam"
CHUNKS_AFTER = 3


def story_of(number: int) -> Story:
    """The held-out story `number` with a cut, up to the beat that begins with it."""
    seeds = (FIRST_HELD_OUT_SEED + 20_000_000 + 100 * number + attempt for attempt in count())
    for story in (sample_story(seed, "acting") for seed in seeds):
        for place, beat in enumerate(story.beats):
            if beat.cut and beat.acts:
                return replace(story, beats=story.beats[: place + 1])
    raise AssertionError("most stories of action have a cut")


def watch_cut(studio: Studio, story: Story) -> dict[str, tuple[int, int]]:
    """By question: (right, asked), over the chunks after the cut."""
    start = story.beat_starts[-1]
    rows = slice(start, start + CHUNKS_AFTER)
    film = studio.watch(story, POLICY, seed=0)
    return tally(agreement(film.answers[rows], film.labels[rows]))
