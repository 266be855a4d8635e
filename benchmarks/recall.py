"""Which retrieval score recalls the right frames: `python -m benchmarks.recall --stories 24`.

Held-out stories of theatre, as they were drawn: their latents are committed chunk by chunk, nothing is generated, so only
retrieval is measured. A puppet that was away for longer than the window is called back by its species. For its return and
three chunks later: how often a bank frame shows it, with 95% intervals, and in brackets the share of bank frames that do (in
the stories of two puppets, at most two frames of all show the right one). Two scores that ignore the prompt are
held against them: what was seen last, and chance. `benchmarks.memory` holds the same table.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmarks.films import BASELINES, POLICIES, change_nam, make_memory, to_storyboard
from benchmarks.intervals import share
from benchmarks.returns import KINDS, LATER
from memflow_cli.backbone import Backbone
from memflow_cli.machine.device import fast_dtype
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory.scores import SCORES
from memflow_cli.models.catalog import THEATRE_FOLDER, find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.pipeline import Walk, generate_chunks, planned_shots
from memflow_cli.story.plan import plan_film
from training.data import visibility
from training.drawing import render
from training.world import FIRST_HELD_OUT_SEED, HEIGHT, WIDTH, Story, sample_story

FIRST_STORY = FIRST_HELD_OUT_SEED + 1000
ALL_SCORES = (*SCORES, *BASELINES)


def story_of(number: int) -> Story:
    return sample_story(FIRST_STORY + number, KINDS[number % len(KINDS)])


def recalled(backbone: Backbone, latents: torch.Tensor, story: Story, score: str) -> list[list[bool]]:
    """For each of LATER: which bank frames show the puppet. `latents`: the drawn story's, [chunks, 3, C, h, w]."""
    options = replace(POLICIES["nam"], score=score)
    memory = (
        make_memory(score, backbone.geometry, story.seed)
        if score in BASELINES
        else make_policy(options, backbone.geometry)
    )
    plan = plan_film(to_storyboard(story, POLICIES["nam"], seed=0), backbone.geometry, (WIDTH, HEIGHT))
    embeds = [backbone.encode_prompts([segment.prompt])[0] for segment in plan.segments]
    shown = visibility(story)[next(iter(story.beats[-1].acts))]
    returned = story.beat_starts[-2]
    replay = (latents[chunk : chunk + 1] for chunk in range(len(latents)))
    banks = {}
    walk = Walk(backbone, plan.size, plan.fps, memory)
    for chunk in generate_chunks(walk, planned_shots(plan, embeds), replay):
        banks[chunk.index] = [bool(shown[item.frame // backbone.geometry.chunk]) for item in chunk.record.bank]
        if chunk.index == returned + LATER[-1]:
            break
    return [banks[returned + later] for later in LATER]


def recall_of_story(backbone: Backbone, autoencoder: PatchAutoencoder, number: int) -> dict:
    """One story under every score: {"kind", "banks": score -> for each of LATER, which bank frames show the puppet}."""
    story = story_of(number)
    latents = autoencoder.encode(torch.from_numpy(render(story)[0]).float() / 255).unflatten(0, (-1, 3))
    return {
        "kind": story.kind,
        "banks": {score: recalled(backbone, latents, story, score) for score in ALL_SCORES},
    }


def summarise_recall(rows: Iterable[dict]) -> dict[str, dict[str, dict]]:
    """By score and by "kind, +chunks": share of returns with a frame that shows the puppet, and share of such frames."""
    rows = list(rows)
    table: dict[str, dict[str, dict]] = {score: {} for score in ALL_SCORES} if rows else {}
    for score, cells in table.items():
        for kind in KINDS:
            for place, later in enumerate(LATER):
                banks = [row["banks"][score][place] for row in rows if row["kind"] == kind]
                frames = [np.mean(bank) if bank else 0.0 for bank in banks]
                cells[f"{kind}, +{later}"] = share([any(bank) for bank in banks]) | {
                    "frames_percent": round(100 * float(np.mean(frames)), 1) if frames else None
                }
    return table


def recall_markdown(table: dict[str, dict[str, dict]]) -> str:
    columns = list(next(iter(table.values()))) if table else []
    lines = ["| score | " + " | ".join(columns) + " |", "|" + "---|" * (1 + len(columns))]
    for score, cells in table.items():
        lines.append(f"| {score} | " + " | ".join(_cell(cells[column]) for column in columns) + " |")
    return "\n".join(lines)


def _cell(value: dict) -> str:
    if value["percent"] is None:
        return "-"
    return f"{value['percent']:.0f} ({value['low']:.0f}-{value['high']:.0f}) [{value['frames_percent']:.0f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=24)
    parser.add_argument("--bank", type=int, help="latent frames in the bank; default: the product's")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    change_nam(bank=options.bank)
    backbone = load_model(find_model("theatre"), dtype=fast_dtype(torch.device("cpu")))
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    rows = [recall_of_story(backbone, autoencoder, number) for number in range(options.stories)]
    print(recall_markdown(summarise_recall(rows)))


if __name__ == "__main__":
    main()
