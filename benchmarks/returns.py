"""A puppet leaves for longer than the window and is called back by its species: is it the same one?

*one puppet*: the story begins without it, so that the sink cannot help. *right one of two*: two puppets came and went in
turn, and one is called back. Looks are said once, when a puppet first comes. Who guesses is right in about 4% of returns.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.films import Studio
from benchmarks.judge import Seen, agreement, tally
from benchmarks.true_clips import IGNORED, MOVES, worn_by
from training.data import visibility
from training.world import FIRST_HELD_OUT_SEED, Story, sample_story

KINDS = ("one puppet", "right one of two")
FAILURES = ("never came", "did not return", "colour", "accessory")
LATER = (0, 3)  # chunks after the return at which the bank is looked at
WHOLE_FILM = ("setting", "species", "once", "action")  # what is asked of all of a film's chunks
WALKING = 2  # chunks from the edge of the stage to the mark


@dataclass(frozen=True)
class Return:
    """One return, as the judge saw the puppet before and after (None: not in view), and what else the film showed."""

    policy: str
    kind: str
    story: int
    seed: int
    before: Seen | None
    after: Seen | None
    told: Seen  # what its prompt once said
    same_side: bool  # it comes back where it left
    bank: list[list[bool]]  # for each of LATER: which bank frames (of any layer, for `official`) were to show it
    fidelity: dict[str, tuple[int, int]]  # by question, and by move: (right, asked) over the whole film
    frames_per_second: float

    @property
    def failure(self) -> str | None:
        """The first thing that went wrong; None: it is the same one."""
        return failure_of(self.before, self.after)


def failure_of(before: Seen | None, after: Seen | None) -> str | None:
    """Of a puppet before it left and after its return: the first thing that differs; None: it is the same one."""
    if before is None:
        return "never came"
    if after is None:
        return "did not return"
    if before.colour != after.colour:
        return "colour"
    return "accessory" if before.accessory != after.accessory else None


def story_of(number: int) -> Story:
    """Held-out story `number`; the kinds take turns."""
    return sample_story(FIRST_HELD_OUT_SEED + number, KINDS[number % len(KINDS)])


def majority(seen: Sequence[Seen | None]) -> Seen | None:
    """What most frames say; of equals, what was seen first."""
    return Counter(seen).most_common(1)[0][0]


def watch_return(studio: Studio, story: Story, policy: str, seed: int) -> Return:
    """Generate a story and compare the returning puppet with what it was."""
    beats, starts = story.beats, story.beat_starts
    index = next(iter(beats[-1].acts))
    puppet = story.puppets[index]
    own = [beat for beat in range(len(beats)) if index in beats[beat].acts]
    entered, left, returned = own[0], own[-3], own[-2]
    assert (beats[left].acts[index].verb, beats[returned].acts[index].verb) == ("leave", "enter")
    film = studio.watch(story, policy, seed)
    seen = np.array(film.answers.seen(puppet.species), object).reshape(story.num_chunks, -1)
    shown = visibility(story)[index]
    chunk_length = studio.backbone.geometry.chunk
    return Return(
        policy,
        story.kind,
        story.seed,
        seed,
        majority(seen[starts[entered] + WALKING : starts[left]].flatten().tolist()),
        majority(seen[starts[returned] + WALKING :].flatten().tolist()),
        Seen(puppet.species, puppet.colour, worn_by(puppet)),
        beats[left].acts[index].side == beats[returned].acts[index].side,
        [
            [bool(shown[item.frame // chunk_length]) for item in film.records[starts[returned] + later].bank]
            for later in LATER
        ],
        film_fidelity(film),
        round(film.frames_per_second, 2),
    )


def film_fidelity(film) -> dict[str, tuple[int, int]]:
    """By question, and by move: (right, asked). Looks are left out: most prompts of a film do not say them."""
    right = agreement(film.answers, film.labels)
    whole = tally(right)
    counts = {name: whole[name] for name in WHOLE_FILM}
    asked = film.labels.move[film.labels.move != IGNORED]
    for place, name in enumerate(MOVES):
        counts[name] = (int(right["action"][asked == place].sum()), int((asked == place).sum()))
    return counts
