"""Which retrieval score recalls the right frames: `python -m benchmarks.recall --stories 24`.

Held-out stories of theatre, as they were drawn: their latents are committed chunk by chunk, nothing is generated, so only
retrieval is measured. A puppet that was away for longer than the window is called back by its species; printed, at its
return and three chunks later, is how often a bank frame shows it, and the share of bank frames that do (in the stories of
two puppets, at most two or three frames of all show the right one).
"""

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from benchmarks.memory import KINDS, POLICIES, to_storyboard
from memflow_cli.catalog import THEATRE_FOLDER, find_model
from memflow_cli.geometry import plan_film
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory.scores import SCORES
from memflow_cli.pipeline import Backbone, generate_chunks
from memflow_cli.theatre.autoencoder import PatchAutoencoder
from memflow_cli.wan.checkpoints import load_model
from training.data import visibility
from training.drawing import render
from training.world import FIRST_HELD_OUT_SEED, HEIGHT, WIDTH, sample_story

FIRST_STORY = FIRST_HELD_OUT_SEED + 1000
LATER = (0, 3)  # chunks after the return


def recalled(backbone: Backbone, latents: torch.Tensor, seed: int, kind: str, score: str) -> dict[int, list[bool]]:
    """For each bank frame, chunks after the return -> does it show the puppet? `latents`: [chunks, 3, C, h, w]."""
    story = sample_story(seed, kind)
    memory = replace(POLICIES["nam"], score=score)
    plan = plan_film(to_storyboard(story, memory, seed=0), backbone.geometry, (WIDTH, HEIGHT))
    embeds = [backbone.encode_prompts([segment.prompt])[0] for segment in plan.segments]
    shown = visibility(story)[next(iter(story.beats[-1].acts))]
    returned = story.beat_starts[-2]
    chunks = generate_chunks(
        backbone,
        plan,
        make_policy(memory, plan.geometry),
        embeds,
        replay=(latents[i : i + 1] for i in range(len(latents))),
    )
    return {
        chunk.index - returned: [bool(shown[item.frame // backbone.geometry.chunk]) for item in chunk.record.bank]
        for chunk in chunks
        if chunk.index - returned in LATER
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_model(find_model("theatre"))
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    banks: dict[tuple[str, str, int], list[list[bool]]] = defaultdict(list)
    for number in range(options.stories):
        seed, kind = FIRST_STORY + number, KINDS[number % len(KINDS)]
        frames, _ = render(sample_story(seed, kind))
        latents = autoencoder.encode(torch.from_numpy(frames).float() / 255).unflatten(0, (-1, 3))
        for score in SCORES:
            for later, shows in recalled(backbone, latents, seed, kind, score).items():
                banks[score, kind, later].append(shows)
    columns = [(kind, later) for kind in KINDS for later in LATER]
    print("| score | " + " | ".join(f"{kind}, +{later}" for kind, later in columns) + " |")
    print("|" + "---|" * (1 + len(columns)))
    for score in SCORES:
        cells = [
            f"{100 * np.mean([any(shows) for shows in banks[score, kind, later]]):.0f} "
            f"({100 * np.mean([np.mean(shows) for shows in banks[score, kind, later]]):.0f})"
            for kind, later in columns
        ]
        print(f"| {score} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
