"""How good theatre's pictures are at 448x256: the autoencoder's own decoder, scaled up bicubically, against the painter.

`python -m benchmarks.pictures`: stories that nothing was trained on, their true latents and those that the model draws, each
chunk after true chunks and again after chunks of its own; peak signal-to-noise ratios against the world drawn at that size,
over the whole frame, inside puppets and where nobody is, and how each film moves. `--sheet` writes pictures beside each other.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.true_clips import half_size
from memflow_cli.backbone import StreamingDecoder
from memflow_cli.machine.device import fast_dtype
from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder, PatchStreamingDecoder
from memflow_cli.models.theatre.life import Life
from memflow_cli.models.theatre.painter import UPSCALE, Painter
from memflow_cli.models.theatre.painting import PaintingDecoder
from training.drawing import render
from training.pairs import draw_chunks, shipped_model
from training.teacher_forcing import CHUNK
from training.world import FIRST_HELD_OUT_SEED, FRAMES_PER_LATENT, Story, sample_story

FIRST_SEED, SEED_STEP = 6_000_014, 15  # of stories whose puppets and settings training knows
LARGEST = 0.1  # share of a film's frame-to-frame changes that count as large
FROZEN = 6.0  # of 255; nothing moves between two frames of which no pixel, seen at 112x64, changes more
SAME = 2.0  # of 255; two frames that differ less on average, seen at 112x64, are the same to the eye
FREE = 2  # chunks at a film's start that are left out: which backdrop a setting has is the model's to choose
LATENTS = ("true", "own, after true chunks", "own, after own chunks")
HELD = "painter, the scene as it was"  # as films are shown, but nobody breathes
LIVING = "painter, living"  # as films are shown; the world drawn for comparison does not breathe, so that only motion is told
DECODERS = ("scaled up", "painter", HELD, LIVING)


@dataclass
class Motion:
    """Frame-to-frame changes of films: which of them are large, and at which frames."""

    large_between_latents: int = 0
    large: int = 0
    same: int = 0
    frozen: int = 0
    changes: int = 0

    def add(self, frames: Iterator[np.ndarray]) -> None:
        """One film's frames, uint8 [64, 112, 3] each."""
        sizes, largest, last = [], [], None
        for frame in frames:
            if last is not None:
                change = np.abs(frame.astype(np.int16) - last)
                sizes.append(float(change.mean()))
                largest.append(float(change.max()))
            last = frame
        self.same += sum(size < SAME for size in sizes)
        self.frozen += sum(size < FROZEN for size in largest)
        chosen = np.argsort(sizes)[::-1][: round(LARGEST * len(sizes))]
        self.large_between_latents += int(((chosen + 1) % FRAMES_PER_LATENT == 0).sum())
        self.large += len(chosen)
        self.changes += len(sizes)

    def shares(self) -> dict[str, float]:
        return {
            "large changes between latent frames": round(self.large_between_latents / max(self.large, 1), 3),
            "frames that look the same as the one before": round(self.same / max(self.changes, 1), 3),
            "frames in which nothing moves": round(self.frozen / max(self.changes, 1), 3),
        }


@dataclass
class Errors:
    """Squared errors in 0..1, summed: over all pixels, and over those that puppets cover."""

    whole: float = 0.0
    inside: float = 0.0
    pixels: float = 0.0
    covered: float = 0.0
    motion: Motion = field(default_factory=Motion)

    def add(self, frames: Tensor, truth: Tensor, coverage: Tensor) -> None:
        """Frames and truth [T, height, width, 3] in 0..1, coverage [T, height, width]."""
        error = (frames - truth).square().mean(-1)
        self.whole, self.pixels = self.whole + error.sum().item(), self.pixels + error.numel()
        self.inside += (error * coverage).sum().item()
        self.covered += coverage.sum().item()

    def decibels(self) -> dict[str, float]:
        shares = {
            "whole frame dB": (self.whole, self.pixels),
            "inside puppets dB": (self.inside, self.covered),
            "where nobody is dB": (self.whole - self.inside, self.pixels - self.covered),
        }
        return {name: round(-10 * math.log10(error / count), 2) for name, (error, count) in shares.items()}


def scaled_up(frames: Tensor) -> Tensor:
    """[T, height, width, 3] in 0..1 -> twice as wide and high, bicubically."""
    pixels = F.interpolate(frames.permute(0, 3, 1, 2), scale_factor=UPSCALE, mode="bicubic", align_corners=False)
    return pixels.clamp(0, 1).permute(0, 2, 3, 1)


class Held(Life):
    """Life that stands still: what rests, and the scene, are as in a living film."""

    def animate(self, frames: Tensor, cells: Tensor, places: Tensor, latent_frame: int) -> Tensor:
        return frames


def as_shown(frames: Tensor) -> Tensor:
    """Painted frames as they are."""
    return frames


def decoded(decoder: StreamingDecoder, latents: Tensor, enlarge: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """A film's frames, chunk by chunk: [12, 256, 448, 3] in 0..1."""
    decoder.reset()
    for chunk in latents.split(CHUNK):
        frames = decoder.decode(chunk)
        yield enlarge(frames if frames.dtype != torch.uint8 else frames.float() / 255)


def held_out_stories(count: int) -> list[Story]:
    """Half of known combinations, half of those that are never shown in training."""
    known = [sample_story(FIRST_SEED + SEED_STEP * number) for number in range(-(-count // 2))]
    return known + [sample_story(FIRST_HELD_OUT_SEED + number, held_out=True) for number in range(count // 2)]


def latents_of(story: Story, model, token_ids, autoencoder: PatchAutoencoder) -> dict[str, Tensor]:
    """LATENTS -> [F, C, h, w]."""
    torch.manual_seed(story.seed)
    rng = np.random.default_rng([story.seed, 23])
    shown = autoencoder.encode(torch.from_numpy(render(story)[0]).float() / 255).unflatten(0, (-1, CHUNK))
    found = [shown]
    for _ in LATENTS[1:]:
        found.append(draw_chunks(model, token_ids, story, found[-1], rng))
    return {name: chunks.flatten(0, 1) for name, chunks in zip(LATENTS, found, strict=True)}


def to_bytes(frames: Tensor) -> np.ndarray:
    return (frames * 255).round().byte().numpy()


def save_sheet(path: Path, rows: list[list[np.ndarray]]) -> None:
    """Pictures uint8 [height, width, 3] in rows, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.ascontiguousarray(np.concatenate([np.concatenate(row, axis=1) for row in rows]))
    with av.open(str(path), "w", format="image2") as file:
        stream = file.add_stream("png")
        stream.height, stream.width, stream.pix_fmt = *whole.shape[:2], "rgb24"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(whole, "rgb24")), *stream.encode()]:
            file.mux(packet)


def look_at(
    story: Story, latents: dict[str, Tensor], decoders: dict[str, StreamingDecoder], errors: dict, sheet: Path | None
) -> None:
    """Add a story to `errors`, by (latents, decoder), and to `errors["truth"]` how the drawn world moves."""
    step = CHUNK * FRAMES_PER_LATENT
    truth = [render(story, first, CHUNK, UPSCALE) for first in range(FREE * CHUNK, story.num_chunks * CHUNK, CHUNK)]
    errors.setdefault("truth", Motion()).add(frame for frames, _ in truth for frame in half_size(frames))
    chosen = range(5, len(truth) * step, step)  # a frame of each chunk
    columns: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    for kind, frames_of_kind in latents.items():
        for name, decoder in decoders.items():
            enlarge = scaled_up if name == "scaled up" else as_shown
            entry, film = errors.setdefault((kind, name), Errors()), []
            for chunk, frames in enumerate(decoded(decoder, frames_of_kind[FREE * CHUNK :], enlarge)):
                if name != LIVING:
                    entry.add(
                        frames, torch.from_numpy(truth[chunk][0]).float() / 255, torch.from_numpy(truth[chunk][1])
                    )
                film.append(to_bytes(frames))
            entry.motion.add(frame for frames in film for frame in half_size(frames))
            columns[kind, name] = {at: film[at // step][at % step] for at in chosen}
    if sheet is not None:
        kind = LATENTS[-1]
        rows = [[*(columns[kind, name][at] for name in decoders), truth[at // step][0][at % step]] for at in chosen]
        for part in range(0, len(rows), 6):
            save_sheet(sheet / f"{story.seed}_{part // 6}.png", rows[part : part + 6])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stories", type=int, default=12)
    parser.add_argument("--painter", type=Path, default=THEATRE_FOLDER / "vae" / "painter")
    parser.add_argument("--life", type=Path, default=THEATRE_FOLDER / "vae" / "life")
    fast = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default=fast,
        help="that the painter computes in; default: this CPU's",
    )
    parser.add_argument("--sheet", type=Path, help="folder for pictures: as each decodes, and the truth")
    parser.add_argument("--keep", type=Path, help="file in which the latents are kept for the next time")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    stories = held_out_stories(options.stories)
    if options.keep and options.keep.exists():
        drawn = torch.load(options.keep, weights_only=True)
    else:
        drawn = [latents_of(story, *shipped) for shipped in [shipped_model()] for story in stories]
        if options.keep:
            torch.save(drawn, options.keep)
    dtype = getattr(torch, options.dtype)
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae", dtype)
    painter, lives = Painter.from_pretrained(options.painter, dtype), (Held, Life)
    painting = (
        PaintingDecoder(autoencoder, painter, None, life)
        for life in (None, *(kind.from_pretrained(options.life, dtype) for kind in lives))
    )
    decoders = dict(zip(DECODERS, (PatchStreamingDecoder(autoencoder), *painting), strict=True))
    errors: dict = {}
    for story, latents in zip(stories, drawn, strict=True):
        look_at(story, latents, decoders, errors, options.sheet)
    table = {"truth": errors.pop("truth").shares()}
    for (kind, name), entry in errors.items():
        decibels = entry.decibels() if name != LIVING else {}
        table[f"{kind} | {name}"] = {**decibels, **entry.motion.shares()}
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
