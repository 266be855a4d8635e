"""Trains the judge: `python -m benchmarks.train_judge --work DIR`, then prints its accuracy on held-out true frames.

Drawn clips and the state of training are kept in DIR: the same command goes on where it was stopped. Clips are drawn while
training goes on, 250 every round. `--steps` may be changed on the way: the learning rate follows from the share done.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.judge import WEIGHTS, Judge, agreement, load_judge, save_judge, to_input
from benchmarks.true_clips import IGNORED, Labels, cached_clips, doubled_clips, held_out_clips, training_clips
from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from training.precision import fast_products
from training.world import FIRST_HELD_OUT_SEED

FIRST_SEED = 6_000_000  # stories that the model is not trained on either
FIRST_TEST_SEED = FIRST_HELD_OUT_SEED + 500_000
STORIES_A_ROUND, CLIPS_A_STORY, STEPS_A_ROUND = 50, 5, 25
BATCH = 16  # clips, of four frames each
PEAK_RATE, WARM_UP = 4e-3, 0.08


def spoil(clips: Tensor, generator: torch.Generator) -> Tensor:
    """Noise, brightness, blur: the judge must not hang on what no generated frame has."""
    size = (len(clips), 1, 1, 1, 1)
    clips = clips + 0.12 * torch.rand(size, generator=generator) * torch.randn(clips.shape, generator=generator)
    clips = clips * (0.92 + 0.16 * torch.rand(size, generator=generator))
    blurred = F.avg_pool2d(clips.flatten(0, 1), 3, 1, 1).view_as(clips)
    return torch.where(torch.rand(size, generator=generator) < 0.4, blurred, clips)


def where_loss(where: Tensor, present: Tensor, middle: Tensor) -> Tensor:
    """Cross-entropy over 14 columns and nowhere; a puppet between two columns counts for both."""
    columns = where.shape[-1]
    place = (middle.float() / 16 - 0.5).clamp(0, columns - 1)
    target = (1 - (torch.arange(columns) - place[..., None]).abs()).clamp_min(0) * (present == 1)[..., None]
    target = torch.cat([target, (present == 0).float()[..., None]], -1)
    logits = torch.cat([where, torch.zeros_like(where[..., :1])], -1)
    return -(target * logits.log_softmax(-1)).sum(-1)[present != IGNORED].mean()


def judge_loss(logits: dict[str, Tensor], labels: Labels) -> Tensor:
    truth = {name: torch.from_numpy(value).long() for name, value in vars(labels).items()}
    setting = truth["setting"][:, None].expand(logits["setting"].shape[:2])
    loss = F.cross_entropy(logits["setting"].float().flatten(0, 1), setting.flatten())
    loss = loss + 4 * where_loss(logits["where"].float(), truth["present"], truth["middle"])
    for name in ("colour", "accessory", "move"):
        label = truth[name].flatten()
        if (label != IGNORED).any():
            loss = loss + F.cross_entropy(logits[name].float().flatten(0, -2), label, ignore_index=IGNORED)
    return loss


def rate(progress: float) -> float:
    """One cycle: up, then a cosine down to nothing."""
    return PEAK_RATE * min(1, progress / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1, progress)))


def drawn_clips(work: Path, number: int, autoencoder: PatchAutoencoder) -> tuple[np.ndarray, Labels]:
    seeds = range(FIRST_SEED + number * STORIES_A_ROUND, FIRST_SEED + (number + 1) * STORIES_A_ROUND)
    return cached_clips(work / f"clips_{number:03}.npz", lambda: training_clips(seeds, autoencoder, CLIPS_A_STORY))


def train(judge: Judge, work: Path, steps: int, rounds: int) -> None:
    """Until `steps`; clips of at most `rounds` rounds are drawn."""
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    optimizer = torch.optim.AdamW(judge.parameters(), betas=(0.9, 0.98), weight_decay=0.02)
    state_path, log_path = work / "judge.pt", work / "judge.jsonl"
    step, seconds = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        judge.load_state_dict(state["judge"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    drawn, parts = 0, list[tuple[np.ndarray, Labels]]()
    while step < steps:
        started, losses = time.process_time(), []
        wanted = min(rounds, 2 + step // STEPS_A_ROUND)
        parts += [drawn_clips(work, number, autoencoder) for number in range(drawn, wanted)]
        if drawn < wanted:
            parts = [(np.concatenate([part[0] for part in parts]), Labels.join([part[1] for part in parts]))]
            drawn = wanted
        clips, labels = parts[0]
        generator, rng = torch.Generator().manual_seed(step), np.random.default_rng(step)
        judge.train()
        for _ in range(min(STEPS_A_ROUND, steps - step)):
            for group in optimizer.param_groups:
                group["lr"] = rate((step + 1) / steps)
            rows = rng.choice(len(clips), BATCH, replace=False)
            inputs = spoil(to_input(clips[rows]), generator)
            with fast_products(torch.device("cpu")):
                logits = judge(inputs)
            loss = judge_loss(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(judge.parameters(), 5.0)
            optimizer.step()
            step += 1
            losses.append(loss.item())
        seconds += time.process_time() - started
        line = {"step": step, "clips": len(clips), "seconds": round(seconds), "loss": round(float(np.mean(losses)), 4)}
        with log_path.open("a") as log:
            log.write(json.dumps(line) + "\n")
        state = {"judge": judge.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}
        torch.save(state, state_path.with_suffix(".part"))
        state_path.with_suffix(".part").replace(state_path)
    judge.eval()


def accuracy(judge: Judge, clips: np.ndarray, labels: Labels) -> dict[str, tuple[float, int]]:
    """By question: percent right, and of how many."""
    parts = [slice(first, first + 50) for first in range(0, len(clips), 50)]
    right = [agreement(judge.answers(clips[part]), labels[part]) for part in parts]
    answers = {name: np.concatenate([part[name] for part in right]) for name in right[0]}
    return {name: (round(100 * float(values.mean()), 2), len(values)) for name, values in answers.items()}


def test(judge: Judge, work: Path, stories: int) -> dict[str, dict[str, tuple[float, int]]]:
    """Accuracy on stories that it was never trained on; drawn once."""
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + stories)
    kinds = {
        "stories": lambda: held_out_clips(seeds),
        "held-out combinations": lambda: held_out_clips(seeds, held_out=True),
        "through the autoencoder": lambda: held_out_clips(seeds[: stories // 8], autoencoder=autoencoder),
    }
    result = {
        name: accuracy(judge, *cached_clips(work / f"test_{name.replace(' ', '_')}_{stories}.npz", make))
        for name, make in kinds.items()
    }
    return result | {"two of one puppet": {"once": told_apart(judge, *doubled_clips(seeds))}}


def told_apart(judge: Judge, clips: np.ndarray, doubled: np.ndarray) -> tuple[float, int]:
    """Percent of the frames with a doubled puppet in which the judge sees two of it, and of how many."""
    twice = judge.answers(clips).twice[np.arange(len(clips)), :, doubled]
    return round(100 * float(twice.mean()), 2), twice.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for drawn clips and the state of training")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=40, help="of drawing; 250 clips each")
    parser.add_argument("--test-stories", type=int, default=300)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    judge = Judge()
    train(judge, options.work, options.steps, options.rounds)
    save_judge(judge, options.out)
    result = test(load_judge(options.out), options.work, options.test_stories)
    save_judge(judge, options.out, result)
    for name, row in result.items():
        print(f"{name}: " + ", ".join(f"{question} {share}% of {n}" for question, (share, n) in row.items()))


if __name__ == "__main__":
    main()
