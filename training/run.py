"""Trains theatre from nothing to weights: `python -m training.run --hours 2`.

Stage by stage - autoencoder basis, tokenizer, rendered data, pictures, stories, refiner, export - and each stage is
skipped when its result is in the folder `--work`, so that the same command goes on after an interruption.
"""

import argparse
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from training import teacher_forcing
from training.autoencoder import fit_basis, psnr, train_refiner
from training.batches import Pictures, Stories
from training.data import STORY_CHUNKS, STORY_SOURCES, Latents, render_rows
from training.export import export
from training.learn import Learner, Options, theatre_config, train
from training.text import TokenIds, train_tokenizer

LOGS = Path(__file__).parent / "logs"  # of the shipped weights; a run writes its own beside its checkpoints
PICTURES_SHARE, STORIES_SHARE, REFINER_SHARE = 0.3, 0.58, 0.12


def make_autoencoder(work: Path) -> PatchAutoencoder:
    if not (work / "autoencoder" / "config.json").exists():
        autoencoder = fit_basis()
        autoencoder.save_pretrained(work / "autoencoder", torch.float32)
        whole, inside = psnr(autoencoder, range(900_000, 900_016), refined=False)
        print(f"patch basis: {whole} dB, inside puppets {inside} dB", flush=True)
    return PatchAutoencoder.from_pretrained(work / "autoencoder")


def make_tokenizer(work: Path) -> PreTrainedTokenizerFast:
    if not (work / "tokenizer" / "tokenizer.json").exists():
        train_tokenizer(work / "tokenizer")
    return PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")


def adopt(exported: Path, work: Path) -> None:
    """Go on with an exported model's autoencoder and tokenizer, without which its weights mean nothing."""
    if not work.joinpath("autoencoder").exists():
        shutil.copytree(exported / "vae", work / "autoencoder")
        work.joinpath("refiner.done").touch()
    if not work.joinpath("tokenizer").exists():
        shutil.copytree(exported / "tokenizer", work / "tokenizer")


def train_stage(work: Path, name: str, options: Options, device: str, before: Path | None = None) -> None:
    """One stage of the transformer's training; starts from the checkpoint `before`, or goes on from its own."""
    autoencoder, tokenizer = make_autoencoder(work), make_tokenizer(work)
    learner = Learner(theatre_config(), len(tokenizer), autoencoder.scale, options, device)
    checkpoint = work / f"{name}.pt"
    if checkpoint.exists():
        learner.load(checkpoint)
    elif before is not None and before.is_dir():
        learner.load_exported(before)
    elif before is not None:
        learner.load(before, weights_only=True)
    token_ids = TokenIds(tokenizer)
    pictures = Pictures(Latents.open(work / "data", "pictures"), token_ids)
    stories = open_stories(work, token_ids, autoencoder) if options.stories else None
    train(learner, pictures, stories, checkpoint, log_path(work, name))


def log_path(work: Path, stage: str) -> Path:
    (work / "logs").mkdir(exist_ok=True)
    return work / "logs" / f"{stage}.csv"


def open_stories(work: Path, token_ids: TokenIds, autoencoder: PatchAutoencoder) -> Stories:
    sources = [(Latents.open(work / "data", name), kind) for name, kind in STORY_SOURCES.items()]
    return Stories(sources, token_ids, STORY_CHUNKS, autoencoder)


def make_refiner(work: Path, seconds: float) -> None:
    done = work / "refiner.done"
    if not done.exists():
        autoencoder = PatchAutoencoder.from_pretrained(work / "autoencoder")
        train_refiner(autoencoder, seconds, log_path(work, "refiner"), latent_noise=0.15)
        autoencoder.save_pretrained(work / "autoencoder", torch.float32)
        done.touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("theatre-work"), help="for data and checkpoints, about 14 GB")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--hours", type=float, default=2.0, help="time for training, rendering not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=48_000, help="how many to render")
    parser.add_argument("--stories", type=int, default=1_300, help="how many to render")
    parser.add_argument("--stage", choices=("pictures", "stories", "refiner"), help="this one only")
    parser.add_argument("--returns", type=int, default=1_000, help="stories of comings and goings to render")
    parser.add_argument("--acting", type=int, default=800, help="stories full of action to render")
    parser.add_argument("--company", type=int, default=1_000, help="stories of two together to render")
    parser.add_argument("--both", type=int, default=1_000, help="stories of two who come, act and go at once to render")
    parser.add_argument(
        "--own-context", type=float, default=0.35, help="share of story steps on the model's own chunks"
    )
    parser.add_argument(
        "--start", type=Path, help="checkpoint, or exported folder, whose weights a --stage begins with"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="factor of the learning rates")
    parser.add_argument("--batch", type=int, nargs=2, default=(48, 3), help="pictures and stories of a step")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn: another for another stage")
    parser.add_argument("--out", type=Path, default=THEATRE_FOLDER, help="where a whole run writes the weights")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.no_compile:
        teacher_forcing.compile_blocks()
    if options.start and not options.stage:
        parser.error("--start needs --stage: which stage is to begin there?")
    work, seconds = options.work, options.hours * 3600
    if options.start and options.start.is_dir():
        adopt(options.start, work)
    make_autoencoder(work)
    make_tokenizer(work)
    data = work / "data", work / "autoencoder"
    alone = options.stage is not None
    if options.stage != "refiner":
        render_rows(*data, "pictures", options.pictures, options.threads)
    if options.stage in (None, "pictures"):
        share = 1 if alone else PICTURES_SHARE
        stage = Options(share * seconds, pictures=144, hold=0.6, final_factor=0.2, seed=options.seed)
        train_stage(work, "pictures", stage, options.device, options.start)
    if options.stage in (None, "stories"):
        for name in STORY_SOURCES:
            render_rows(*data, name, getattr(options, name), options.threads)
        share = 1 if alone else STORIES_SHARE
        before = options.start or work / "pictures.pt"
        stage = Options(
            share * seconds,
            pictures=options.batch[0],
            stories=options.batch[1],
            own_context=options.own_context,
            rate=options.rate,
            seed=options.seed,
        )
        train_stage(work, "stories", stage, options.device, before)
    if options.stage in (None, "refiner"):
        make_refiner(work, (1 if alone else REFINER_SHARE) * seconds)
    if not alone:
        export(work, work / "stories.pt", options.out)
        if options.out == THEATRE_FOLDER:
            shutil.copytree(work / "logs", LOGS, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
