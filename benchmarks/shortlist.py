"""Does the shortlist hold what comparing everything would recall: `python -m benchmarks.shortlist --stories 20`.

True frames of theatre's held-out stories are committed chunk by chunk and their prototypes put into one archive, then every
prompt of the stories recalls from it: with a shortlist, and in full. Prints, for shortlists of some lengths, the share of
recalled frames that are the same, and how far the worst bank's mean score falls short, in deviations of the archive's.
"""

import argparse
import json
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.films import POLICIES, to_storyboard
from benchmarks.recall import story_of
from memflow_cli.attention_context import PromptProjection
from memflow_cli.backbone import Backbone
from memflow_cli.memory.archive import Prototype
from memflow_cli.memory.policies import DEFAULT_SCORE, make_policy
from memflow_cli.memory.scores import SCORES, SketchingScore
from memflow_cli.models.catalog import THEATRE_FOLDER, find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.pipeline import Walk, generate_chunks, planned_shots
from memflow_cli.story.plan import plan_film
from training.drawing import render
from training.world import HEIGHT, WIDTH

BANK = 3


@dataclass(frozen=True)
class Loss:
    """What a shortlist of some length loses over many prompts."""

    shortlist: int
    same_frames: float
    worst_shortfall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=20)
    parser.add_argument("--score", choices=[name for name in SCORES if isinstance(SCORES[name](), SketchingScore)])
    options = parser.parse_args()
    score = SCORES[options.score or DEFAULT_SCORE]()
    prototypes, prompts = gather(load_model(find_model("theatre")), options.stories, options.score or DEFAULT_SCORE)
    sketches = torch.stack([score.sketch(item.features) for item in prototypes])
    everything, estimates = [], []  # [prompts, P] each
    for prompt in prompts:
        agreed = torch.stack([score.agree(item.words, prompt) for item in prototypes])
        everything.append(_ranks(score, _matches(score, prototypes, prompt), agreed))
        estimate = score.estimate(sketches, prompt)
        estimates.append(_ranks(score, estimate - estimate.amin(dim=0), agreed))
    everything, estimates = torch.stack(everything), torch.stack(estimates)
    print(f"{len(prototypes)} prototypes, {len(prompts)} prompts, score {options.score or DEFAULT_SCORE}")
    for length in (len(prototypes) // divisor for divisor in (64, 32, 16, 8, 4)):
        if length >= BANK:
            print(json.dumps(vars(loss(everything, estimates, length))))


def loss(scores: Tensor, estimates: Tensor, shortlist: int) -> Loss:
    """`scores`, `estimates`: [prompts, P]. What banks of `BANK` frames lose when only `shortlist` frames are scored."""
    same, shortfalls = 0, []
    for exact, estimate in zip(scores, estimates, strict=True):
        listed = estimate.topk(shortlist).indices
        wanted, found = exact.topk(BANK), exact[listed].topk(BANK)
        same += len({*wanted.indices.tolist()} & {*listed[found.indices].tolist()})
        shortfalls.append(((wanted.values.mean() - found.values.mean()) / exact.std()).item())
    return Loss(shortlist, round(same / (BANK * len(scores)), 4), round(max(shortfalls), 3))


@torch.no_grad()
def gather(backbone: Backbone, num_stories: int, score: str) -> tuple[list[Prototype], list[PromptProjection]]:
    """Every prototype of the stories, and their prompts."""
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    prototypes: list[Prototype] = []
    prompts: list[PromptProjection] = []
    for number in range(num_stories):
        story = story_of(number)
        latents = autoencoder.encode(torch.from_numpy(render(story)[0]).float() / 255).unflatten(0, (-1, 3))
        options = replace(POLICIES["nam"], score=score)
        memory = make_policy(options, backbone.geometry)
        plan = plan_film(to_storyboard(story, options, seed=0), backbone.geometry, (WIDTH, HEIGHT))
        embeds = [backbone.encode_prompts([segment.prompt])[0] for segment in plan.segments]
        replay = (latents[chunk : chunk + 1] for chunk in range(len(latents)))
        walk = Walk(backbone, plan.size, plan.fps, memory)
        for _ in generate_chunks(walk, planned_shots(plan, embeds), replay):
            pass
        prototypes += memory.archive.prototypes
        prompts += [backbone.project_prompt(each.unsqueeze(0)) for each in embeds]
    return prototypes, prompts


def _matches(score: SketchingScore, prototypes: list[Prototype], prompt: PromptProjection) -> Tensor:
    blocks = (prototypes[first : first + 16] for first in range(0, len(prototypes), 16))
    return torch.cat([score.match(torch.stack([item.features for item in block]), prompt) for block in blocks])


def _ranks(score: SketchingScore, matches: Tensor, agreed: Tensor) -> Tensor:
    return score.rank(matches * agreed, score.weigh(matches))


if __name__ == "__main__":
    main()
