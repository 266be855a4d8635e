"""Do a film's first three chunks show what its prompt says? On combinations seen in training, and on held-out ones."""

import numpy as np

from benchmarks.films import Studio
from benchmarks.judge import QUESTIONS
from benchmarks.true_clips import ACCESSORY_CLASSES, COLOURS, IGNORED, SPECIES, worn_by
from training.data import sample_picture
from training.world import FIRST_HELD_OUT_SEED

COMBINATIONS = ("seen combinations", "held-out combinations")
POLICY = "nam"


def watch_opening(studio: Studio, number: int, combinations: str) -> dict[str, list[bool]]:
    """Which of the prompt's words came true, for each question: one answer a scene, or one a puppet that is to be seen.

    What most frames (chunks, for actions) say counts, of those in which it should be seen.
    """
    seed = FIRST_HELD_OUT_SEED + number
    story = sample_picture(seed, held_out=combinations == COMBINATIONS[1]).story
    film = studio.watch(story, POLICY, seed=0)
    answers, labels = film.answers, film.labels
    right: dict[str, list[bool]] = {name: [] for name in QUESTIONS}
    right["setting"].append(_most(answers.setting == labels.setting[:, None]))
    asked = labels.present != IGNORED
    right["species"].append(_most(((answers.present == (labels.present == 1)) | ~asked).all(-1)))
    for puppet in story.puppets:
        index = SPECIES.index(puppet.species)
        in_view = labels.present[..., index] == 1
        if not in_view.any():
            continue
        found = answers.present[..., index]
        right["once"].append(_most(~answers.twice[..., index][in_view]))
        colour = found & (answers.colour[..., index] == COLOURS.index(puppet.colour))
        worn = found & (answers.accessory[..., index] == ACCESSORY_CLASSES.index(worn_by(puppet)))
        right["colour"].append(_most(colour[in_view]))
        right["accessory"].append(_most(worn[in_view]))
        moves = labels.move[:, index]
        if (moves != IGNORED).any():
            acted = found.any(1) & (answers.move[:, index] == moves)
            right["action"].append(_most(acted[moves != IGNORED]))
    return right


def _most(values: np.ndarray) -> bool:
    return bool(values.mean() > 0.5)
