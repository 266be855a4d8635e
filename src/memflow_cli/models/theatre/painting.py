"""Latents to painted frames as they come; and which of theatre's two decoders makes films of a size."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.models.theatre.autoencoder import PatchAutoencoder, PatchStreamingDecoder
from memflow_cli.models.theatre.fused_painter import FusedPainter
from memflow_cli.models.theatre.life import Life
from memflow_cli.models.theatre.painter import UPSCALE, Painted, Painter, sketch
from memflow_cli.models.theatre.scenery import GATHERED, Scenery, Settling


def with_past(latents: Tensor, past: Tensor) -> Tensor:
    """Latents [F, C, h, w] after `past` [P, C, h, w], oldest first -> [F, 1 + P, C, h, w], newest first."""
    whole = torch.cat([past, latents])
    return torch.stack([whole[len(past) - back : len(whole) - back] for back in range(len(past) + 1)], dim=1)


class PaintedSizes:
    """Both sizes of film that there are of the same latents: painted, or as the autoencoder decodes."""

    def __init__(self, autoencoder: PatchAutoencoder, painter: Painter, life: Life | None = None) -> None:
        self._autoencoder, self._painter, self._life = autoencoder, painter, life

    def decoder(self, width: int, height: int) -> "PaintingDecoder | PatchStreamingDecoder":
        if self._is_painted(width, height):
            return PaintingDecoder(self._autoencoder, self._painter, self.fused, self._life)
        return PatchStreamingDecoder(self._autoencoder)

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [4 * F, height, width, 3] in 0..1, of either size -> latents [F, C, h, w]."""
        if self._is_painted(frames.shape[2], frames.shape[1]):
            frames = F.avg_pool2d(frames.permute(0, 3, 1, 2), UPSCALE).permute(0, 2, 3, 1)
        return self._autoencoder.encode(frames)

    @cached_property
    def fused(self) -> FusedPainter | None:
        """For all films; none where painter and autoencoder are not on a CPU."""
        on_cpu = self._autoencoder.basis.device.type == "cpu"
        return FusedPainter(self._autoencoder, self._painter) if on_cpu else None

    def _is_painted(self, width: int, height: int) -> bool:
        return (width, height) == (self._painter.config.width, self._painter.config.height)


class PaintingDecoder:
    """Latents to painted frames as they come; what it keeps are the last latent frames.

    Latent frames are painted one by one, so that a film is the same, bit for bit, in whatever portions it comes.
    Before a film's first latent frame stands that frame itself. `fused`: made of the same two; without it they paint
    themselves, which is the slow twin. `life`: what moves in them; without it frames are as they were painted.
    """

    def __init__(
        self,
        autoencoder: PatchAutoencoder,
        painter: Painter,
        fused: FusedPainter | None = None,
        life: Life | None = None,
    ) -> None:
        self.past = painter.config.past + (0 if life is None else GATHERED)
        self._autoencoder, self._painter, self._fused, self._life = autoencoder, painter, fused, life
        self._beside: ThreadPoolExecutor | None = None
        self.reset()

    def reset(self) -> None:
        """Begin a new film."""
        self.go_on_at(0)

    def go_on_at(self, latent_frame: int) -> None:
        """See `StreamingDecoder`."""
        self._before: Tensor | None = None
        self._living = None if self._life is None else LivingFrames(self._life, latent_frame)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, C, h, w] -> frames [4 * F, height, width, 3], uint8 if fused or living, else fp32 in 0..1; see
        `StreamingDecoder`."""
        latents = latents.to(self._autoencoder.basis)
        past = self._painter.config.past
        before = latents[:1].expand(past, -1, -1, -1) if self._before is None else self._before
        looked_at = with_past(latents, before)
        self._before = torch.cat([before, latents])[len(latents) :].clone()
        frames = [self._show(one.unsqueeze(0)) for one in looked_at]
        shown = [frame.result() if isinstance(frame, Future) else frame for frame in frames]
        if any(frame is None for frame in shown):
            # Not numbers: they are shown as they are, for moved they might be seen as a colour.
            return torch.cat([self._paint(one.unsqueeze(0)).frames for one in looked_at])
        return torch.cat(cast("list[Tensor]", shown))

    def flush(self) -> Tensor:
        """What is still to come at the film's end: no frames."""
        return torch.empty(0, 0, 0, 3)

    def _paint(self, latents: Tensor) -> Painted:
        features, mended = self._painter.look(latents)
        decoded = sketch(self._autoencoder, mended)
        places = self._painter.places_of(features, decoded)
        frames = self._painter.finish(places, decoded).unflatten(1, (-1, 3)).flatten(0, 1).permute(0, 2, 3, 1)
        return Painted((frames.float() / 2 + 0.5).clamp(0, 1), F.silu(features), places)

    def _show(self, latents: Tensor) -> "Tensor | Future[Tensor] | None":
        """What is shown of a latent frame [1, 1 + past, C, h, w]; None: it is not a number. On a CPU one is brought to life
        while the next is painted.
        """
        painted = self._paint(latents) if self._fused is None else self._fused.paint(latents)
        if painted is None or (painted.frames.dtype != torch.uint8 and not painted.frames.isfinite().all()):
            return None
        if self._living is None:
            return painted.frames
        if latents.device.type != "cpu":
            return self._living.show(painted)
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, "life", partial(torch.set_num_threads, torch.get_num_threads()))
        return self._beside.submit(self._living.show, painted)


class LivingFrames:
    """What is shown of painted latent frames, which come in the film's order; the first is number `latent_frame`."""

    def __init__(self, life: Life, latent_frame: int) -> None:
        self._life, self._settling, self._scenery = life, Settling(), Scenery()
        self._next = latent_frame

    @torch.inference_mode()
    def show(self, painted: Painted) -> Tensor:
        """Frames [4, height, width, 3], uint8."""
        frames, cells, places = painted
        if frames.dtype != torch.uint8:
            frames = (frames * 255).round().to(torch.uint8)
        frames = self._settling.settled(frames)
        frames = self._scenery.without_specks(frames, self._life.covers(places)[0].sigmoid())
        number, self._next = self._next, self._next + 1
        return self._life.animate(frames, cells, places, number)
