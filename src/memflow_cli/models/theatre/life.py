"""What lives in theatre's painted films between what its latents tell: puppets breathe and blink, trees, clouds and boats sway.

Latents show poses, four frames each, and the transformer's world is still where nobody acts. Small networks read from the
painter's features what could move: how far each place goes when all that is there breathes in, or the wind blows its hardest;
and which pixels are an eye's, and which a puppet's. A clock says how much of it is seen: it knows nothing but a frame's number,
so that a film is the same in whatever portions it is decoded, and the same again when it is made anew.
Shapes: (h, w) cells of 32x32 painted pixels, 4 frames a latent frame.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memflow_cli.models.theatre.autoencoder import WEIGHTS_NAME
from memflow_cli.models.theatre.painter import UPSCALE, PainterConfig

BREATH_FRAMES, WIND_FRAMES = 40, 72  # of a breath, in and out, and of a sway: 2.5 and 4.5 seconds
BREATH_TURNS, WIND_TURNS = 0.5, 1.5  # by how much of a turn the stage's right side is later than its left
# Thirds of the stage, from the left: the first frame, and every how many, at which who is there blinks.
LIDS = ((0, 53), (29, 67), (47, 59))
LID_FRAMES = (0.5, 1.0, 1.0)  # how far an eye is closed in the frames of a blink
BREATH, WIND = 0, 1  # the directions of what moves: up, and to the right
OPEN = -6.0  # the logit of what is no eye
BESIDE = 5  # places, each way, among which a lid's colour is looked for
STRIP = 4  # places that are moved together: of high and narrow things, little is looked at that stands still
STILL = 0.25  # painted pixels; nothing that moves less is moved


@dataclass(frozen=True)
class LifeConfig:
    """`cell_width`, `place_width`: channels of the painter's features at one, and at `places` places a cell, each way."""

    cell_width: int = 256
    place_width: int = 48
    hidden: int = 64
    places: int = 8
    frames: int = 4  # of a latent frame
    cell: int = 32  # painted pixels

    def fits(self, painter: PainterConfig) -> bool:
        """Whether it reads what this painter knows."""
        widths, places = painter.widths, 2 ** (len(painter.widths) - 1)
        known = (widths[0], widths[-1], places, painter.frames_per_latent, UPSCALE * painter.cell)
        return (self.cell_width, self.place_width, self.places, self.frames, self.cell) == known


@dataclass(frozen=True)
class Clock:
    """How much moves in the frames of a latent frame, from left to right in `columns`: 1 is all that can, [frames, columns]."""

    breath: Tensor
    wind: Tensor
    lids: Tensor  # 0 open, 1 closed


def clock_at(latent_frame: int, frames: int, columns: int) -> Clock:
    """Of a film's latent frame number `latent_frame`, from 0."""
    time = torch.arange(latent_frame * frames, (latent_frame + 1) * frames)[:, None]
    across = (torch.arange(columns) + 0.5) / columns
    lids = torch.zeros(frames, columns)
    for third, (first, every) in enumerate(LIDS):
        there = (across * len(LIDS)).long() == third
        for frame, closed in enumerate(LID_FRAMES):
            lids += closed * ((time - first) % every == frame) * there
    return Clock(
        breath=torch.sin(2 * math.pi * (time / BREATH_FRAMES - BREATH_TURNS * across)),
        wind=torch.sin(2 * math.pi * (time / WIND_FRAMES - WIND_TURNS * across)),
        lids=lids,
    )


class Life(nn.Module):
    """Untrained, it moves nothing and closes no eye."""

    def __init__(self, config: LifeConfig) -> None:
        super().__init__()
        self.config = config
        self.side = config.cell // config.places  # painted pixels of a place
        self.reach = nn.Sequential(
            nn.Conv2d(config.cell_width, config.hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(config.hidden, config.frames * 2 * 4, 1),
        )
        self.eyes = nn.Sequential(
            nn.Conv2d(config.place_width, config.hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(config.hidden, config.frames * self.side**2, 1),
        )
        self.puppets = nn.Sequential(
            nn.Conv2d(config.place_width, config.hidden, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(config.hidden, config.hidden, 3, padding=2, dilation=2),
            nn.SiLU(),
            nn.Conv2d(config.hidden, config.frames * self.side**2, 1),
        )
        for last, bias in ((self.reach[-1], 0.0), (self.eyes[-1], OPEN), (self.puppets[-1], 0.0)):
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, bias)

    def reaches(self, cells: Tensor) -> Tensor:
        """The painter's features [F, cell_width, h, w] -> painted pixels that places move by at most, [F, 4, 2, 2 h, 2 w]."""
        return F.pixel_shuffle(self.reach(cells), 2).float().unflatten(1, (self.config.frames, 2))

    def lids(self, places: Tensor) -> Tensor:
        """Features [F, place_width, 8 h, 8 w] -> logits of how much a closed lid covers of a pixel, [F, 4, 32 h, 32 w]."""
        return F.pixel_shuffle(self.eyes(places), self.side).float()

    def covers(self, places: Tensor) -> Tensor:
        """Features [F, place_width, 8 h, 8 w] -> logits of whether a puppet covers a pixel, [F, 4, 32 h, 32 w]."""
        return F.pixel_shuffle(self.puppets(places), self.side).float()

    def animate(self, frames: Tensor, cells: Tensor, places: Tensor, latent_frame: int) -> Tensor:
        """Frames [4, height, width, 3] of latent frame number `latent_frame`, as they are painted -> as they are shown.

        `cells`, `places`: the features that they were painted from, [1, ...]. All frames here are uint8.
        """
        clock = clock_at(latent_frame, self.config.frames, 2 * cells.shape[-1])
        shown = frames.clone()
        self._blink(shown, places, clock.lids)
        reach = self.reaches(cells)[0]
        up, right = (
            reach[:, way] * phase.to(reach)[:, None] for way, phase in ((BREATH, clock.breath), (WIND, clock.wind))
        )
        displace(shown, torch.stack([right, -up], dim=1))
        return shown

    def _blink(self, frames: Tensor, places: Tensor, clock: Tensor) -> None:
        """In place. `clock` [frames, columns]: how far eyes are closed there."""
        width = frames.shape[2] // clock.shape[1]
        for columns in runs(clock.amax(0) > 0):
            part = slice(columns.start * width, columns.stop * width)
            lids = self.lids(places[..., part.start // self.side : part.stop // self.side])[0].sigmoid().unsqueeze(1)
            closed = clock[:, columns].to(lids).repeat_interleave(width, dim=1)[:, None, None]
            open_eyes = frames[:, :, part].permute(0, 3, 1, 2).float()
            skin = beside(open_eyes, (1 - 3 * lids).clamp_min(0), self.side)
            frames[:, :, part] = as_frames(open_eyes.lerp(skin, lids * closed))

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        described = {"_class_name": type(self).__name__, **asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n")
        save_file(
            {name: tensor.half().contiguous() for name, tensor in self.state_dict().items()}, folder / WEIGHTS_NAME
        )

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "Life":
        described = json.loads((folder / "config.json").read_text())
        described.pop("_class_name")
        life = cls(LifeConfig(**described))
        life.load_state_dict(load_file(folder / WEIGHTS_NAME))
        return life.to(memory_format=torch.channels_last).to(dtype).eval().requires_grad_(False)  # type: ignore[call-overload]


def displace(frames: Tensor, by: Tensor) -> None:
    """Moves frames [F, height, width, 3], in place, by what `by` [F, 2, rows, columns] says of their places: to the right and
    down, in pixels. Nothing but what moves is looked at.
    """
    side = frames.shape[2] // by.shape[-1]
    moving = F.max_pool2d((by.abs().amax((0, 1)) > STILL).float()[None], 3, 1, 1)[0] > 0  # and what lies beside it
    before, by = frames.clone(), F.pad(by, (1, 1, 1, 1), mode="replicate")
    for columns in strips(moving.any(0)):
        for rows in runs(moving[:, columns].any(1)):
            near = by[:, :, rows.start : rows.stop + 2, columns.start : columns.stop + 2]
            smooth = F.interpolate(near, scale_factor=side, mode="bilinear")
            top, left = side * max(rows.start - 1, 0), side * max(columns.start - 1, 0)
            source = before[:, top : side * (rows.stop + 1), left : side * (columns.stop + 1)]
            part = slice(side * rows.start, side * rows.stop), slice(side * columns.start, side * columns.stop)
            frames[:, *part] = moved(
                source, smooth[:, :, side:-side, side:-side], part[0].start - top, part[1].start - left
            )


def moved(source: Tensor, by: Tensor, top: int, left: int) -> Tensor:
    """What is seen in a part of `source` [F, height, width, 3], from row `top` and column `left` on, when it moves by
    `by` [F, 2, rows, columns] pixels."""
    (height, width), (rows, columns) = source.shape[1:3], by.shape[-2:]
    size = by.new_tensor((width, height))
    across, down = (torch.arange(count, device=by.device) for count in (columns, rows))
    still = torch.stack(torch.meshgrid(left + across, top + down, indexing="xy"), dim=-1)
    grid = torch.addcmul((2 * still + 1) / size - 1, by.permute(0, 2, 3, 1), 2 / size, value=-1)
    pixels = F.grid_sample(source.permute(0, 3, 1, 2).float(), grid, padding_mode="border", align_corners=False)
    return as_frames(pixels)


def strips(there: Tensor) -> list[slice]:
    """`runs`, none of them longer than STRIP."""
    return [
        slice(start, min(start + STRIP, run.stop)) for run in runs(there) for start in range(run.start, run.stop, STRIP)
    ]


def runs(there: Tensor) -> list[slice]:
    """The stretches of a row [n] of booleans that are true."""
    edges = F.pad(there.int(), (1, 1)).diff().nonzero().flatten().tolist()
    return [slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def beside(pixels: Tensor, counted: Tensor, side: int) -> Tensor:
    """The mean colour of the pixels [F, 3, height, width] around each that count, `counted` [F, 1, height, width]."""
    sums = F.avg_pool2d(torch.cat([pixels * counted, counted], dim=1), side)
    sums = F.avg_pool2d(sums, BESIDE, stride=1, padding=BESIDE // 2)
    return F.interpolate(sums[:, :3] / sums[:, 3:].clamp_min(1e-3), scale_factor=side, mode="bilinear")


def as_frames(pixels: Tensor) -> Tensor:
    """Pixels [F, 3, height, width] in 0..255 -> frames [F, height, width, 3], uint8."""
    return pixels.round_().to(torch.uint8).permute(0, 2, 3, 1)
