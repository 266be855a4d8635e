"""Two puppets on the stage at once: does each keep its looks, and does the one act, alone, who is told to?

They stand there from the start, or come in together; one acts while the other waits; both leave, stay away for longer than the
window, and are called back in one prompt by their species, every second time from the other sides; one acts again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.films import Studio, Watched
from benchmarks.judge import Answers
from benchmarks.returns import WALKING, failure_of, majority
from benchmarks.true_clips import MOVES
from memflow_cli.models.theatre.language.vocabulary import SETTINGS, SIDES, SPECIES
from training.beats import Act, Beat
from training.data import visibility
from training.plots import ACTIONS_ON_THE_SPOT
from training.world import BACKDROPS_PER_SETTING, FIRST_HELD_OUT_SEED, Story, sample_puppets, shows_held_out

FIRST_SEED = FIRST_HELD_OUT_SEED + 30_000_000


@dataclass(frozen=True)
class Together:
    """One film. `lost`: what was wrong with each puppet when it was back, None: nothing. The rest: of both beats of action."""

    policy: str
    story: int
    seed: int
    lost: list[str | None]
    acted: list[bool]  # who was told to did what it was told
    waited: list[bool]  # the other stood there
    once: list[bool]  # nobody was there twice
    bank: list[list[bool]]  # for each puppet: which bank frames show it at the return
    frames_per_second: float

    @property
    def right_one(self) -> list[bool]:
        return [all(told) for told in zip(self.acted, self.waited, self.once, strict=True)]


def story_of(number: int) -> Story:
    """Held-out story `number`."""
    rng = np.random.default_rng([FIRST_SEED + number, 8])
    setting = str(rng.choice(list(SETTINGS)))
    puppets = sample_puppets(rng, 2)
    while shows_held_out(puppets, [setting]):
        puppets = sample_puppets(rng, 2)
    scene = setting, int(rng.integers(BACKDROPS_PER_SETTING))
    sides = list(SIDES)
    if opens_with_both := number % 2 == 0:
        beats = [Beat(3, *scene, {0: Act("stand"), 1: Act("stand")})]
    else:
        rng.shuffle(sides)
        beats = [Beat(1, *scene), Beat(3, *scene, _both("enter", sides))]
    beats += [Beat(3, *scene, _one_acts(rng)), Beat(3, *scene, _both("leave", sides)), Beat(4, *scene)]
    back = sides[::-1] if number // 2 % 2 else sides
    beats += [Beat(3, *scene, _both("enter", back)), Beat(3, *scene, _one_acts(rng))]
    kind = "stand there" if opens_with_both else "come in"
    return Story(FIRST_SEED + number, f"both {kind}", puppets, tuple(beats))


def _both(verb: str, sides: Sequence[str]) -> dict[int, Act]:
    return {puppet: Act(verb, side) for puppet, side in enumerate(sides)}


def _one_acts(rng: np.random.Generator) -> dict[int, Act]:
    verbs = [str(rng.choice(ACTIONS_ON_THE_SPOT)), "stand"]
    rng.shuffle(verbs)
    return {puppet: Act(verb) for puppet, verb in enumerate(verbs)}


def watch_both(studio: Studio, story: Story, policy: str, seed: int) -> Together:
    """Generate a story and judge it."""
    return judge_both(studio.watch(story, policy, seed), story, policy, seed, studio.backbone.geometry.chunk)


def judge_both(film: Watched, story: Story, policy: str, seed: int, chunk_length: int) -> Together:
    """What a story's film shows. `chunk_length`: latent frames of a chunk."""
    acting, leaving, _, back, acting_again = story.beat_starts[-5:]
    lost = []
    for puppet in story.puppets:
        seen = np.array(film.answers.seen(puppet.species), object).reshape(story.num_chunks, -1)
        parts = seen[acting - 1 : leaving], seen[back + WALKING :]
        lost.append(failure_of(*(majority(part.flatten().tolist()) for part in parts)))
    beats = [_told_and_done(film, story, start) for start in (acting, acting_again)]
    acted, waited, once = (list(answers) for answers in zip(*beats, strict=True))
    bank = [[bool(row[item.frame // chunk_length]) for item in film.records[back].bank] for row in visibility(story)]
    return Together(policy, story.seed, seed, lost, acted, waited, once, bank, round(film.frames_per_second, 2))


def _told_and_done(film: Watched, story: Story, start: int) -> tuple[bool, bool, bool]:
    """Of the beat that begins at a chunk, in most of it: (who was told to acts, the other stands, both are there once)."""
    beat = story.beats[story.beat_starts.index(start)]
    answers = film.answers[slice(start, start + beat.num_chunks)]
    told = {act.verb == "stand": story.puppets[index].species for index, act in beat.acts.items()}
    (verb,) = (act.verb for act in beat.acts.values() if act.verb != "stand")
    twice = answers.twice[..., [SPECIES.index(puppet.species) for puppet in story.puppets]].any(-1)
    return _does(answers, told[False], verb), _does(answers, told[True], "stand"), bool(twice.mean() < 0.5)


def _does(answers: Answers, species: str, verb: str) -> bool:
    """Whether a puppet is in view and does this, in most chunks."""
    index = SPECIES.index(species)
    return bool((answers.present[..., index].any(1) & (answers.move[:, index] == MOVES.index(verb))).mean() > 0.5)
