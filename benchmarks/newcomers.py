"""Who is new after a cut: is it seen as it is told, or in what somebody else wore? `python -m benchmarks.newcomers`

Films of two scenes, in two places, with a puppet each; the second is told in full, and memory knows nothing of it. The last
chunk is judged.
"""

import argparse
from collections import Counter

import numpy as np
import torch

from benchmarks.films import film_frames
from benchmarks.judge import Judge, Seen, load_judge
from benchmarks.true_clips import LOOKED_AT, half_size, worn_by
from memflow_cli.backbone import Backbone
from memflow_cli.cli.device import choose_dtype
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.language.trained_captions import write_caption
from memflow_cli.models.theatre.language.vocabulary import SETTINGS, SPECIES
from memflow_cli.story.storyboard import Segment, Storyboard
from training.world import Puppet, sample_puppets

FIRST_SEED = 7_700  # of the puppets and places
SECONDS = 2.25
SIZE = 224, 128


def film_of(number: int) -> tuple[Storyboard, Puppet, str]:
    """A film, who is new in its second scene, and where that is."""
    rng = np.random.default_rng(FIRST_SEED + number)
    puppets, places = sample_puppets(rng, 2), [str(place) for place in rng.permutation(list(SETTINGS))[:2]]
    prompts = [
        write_caption([(puppet.species, puppet.colour, worn_by(puppet), "stand", None)], place)
        for puppet, place in zip(puppets, places, strict=True)
    ]
    segments = (Segment(prompts[0], SECONDS), Segment(prompts[1], SECONDS, transition="cut"))
    board = Storyboard("newcomers", segments, seed=number, memory=MemoryOptions(policy="nam"))
    return board, puppets[1], places[1]


def watch(backbone: Backbone, judge: Judge, number: int) -> dict[str, bool]:
    """By question: whether the film's last chunk is right."""
    board, puppet, place = film_of(number)
    *_, (_, frames) = film_frames(backbone, board, SIZE)
    answers = judge.answers(half_size(frames[list(LOOKED_AT)])[None])
    seen = answers.seen(puppet.species)[-1] or Seen(puppet.species, "", None)
    return {
        "setting": list(SETTINGS)[answers.setting[0, -1]] == place,
        "who": {species for at, species in enumerate(SPECIES) if answers.present[0, -1, at]} == {puppet.species},
        "once": not answers.twice[0, -1, SPECIES.index(puppet.species)],
        "colour": seen.colour == puppet.colour,
        "accessory": bool(seen.colour) and seen.accessory == worn_by(puppet),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=40)
    options = parser.parse_args()
    device = torch.device("cpu")
    backbone = load_model(find_model("theatre"), device, choose_dtype("auto", device))
    judge, right = load_judge(), Counter[str]()
    for number in range(options.films):
        right.update({question: int(answer) for question, answer in watch(backbone, judge, number).items()})
    print(f"of {options.films} films: " + ", ".join(f"{question} {count}" for question, count in right.items()))


if __name__ == "__main__":
    main()
