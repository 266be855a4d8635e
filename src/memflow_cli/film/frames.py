"""Latents in the film's order -> frames -> parts: what may run in a thread of its own (see overlap.py)."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memflow_cli.backbone import StreamingDecoder
from memflow_cli.errors import MemflowError
from memflow_cli.film.parts import FilmParts
from memflow_cli.machine.out_of_memory import doing
from memflow_cli.story.plan import SegmentPlan


@dataclass(frozen=True)
class Shown:
    """What came of a chunk's latents. `segments`: those whose parts are whole now; `seconds`: what each stage took;
    `frames`: [F, height, width, 3] uint8, those that went to the encoder; None: none did.
    """

    segments: tuple[SegmentPlan, ...]
    seconds: dict[str, float]
    frames: np.ndarray | None = None


class FilmFrames:
    """Decodes latents and hands their frames to the parts. Everything that touches the decoder goes through here."""

    def __init__(self, decoder: StreamingDecoder, parts: FilmParts) -> None:
        self.past = decoder.past
        self._decoder = decoder
        self._parts = parts
        self._owed = 0  # frames that are there already, and that the decoder still holds back
        decoder.reset()

    def go_on_at(self, latent_frame: int) -> None:
        """What is shown or skipped next is this latent frame of the film; for a decoder whose `past` is not None."""
        self._decoder.reset()
        if go_on_at := getattr(self._decoder, "go_on_at", None):
            go_on_at(latent_frame)

    @doing("decoding frames")
    def show(self, latents: Tensor) -> Shown:
        """Latents [F, C, h, w], the next of the film."""
        seconds: dict[str, float] = {}
        with _timed("decode", seconds):
            frames = self._decoder.decode(latents)
        return self._write(frames, seconds)

    @doing("decoding frames")
    def skip(self, latents: Tensor, num_frames: int) -> Shown:
        """Latents whose `num_frames` frames are there already: they only bring the decoder to where it was."""
        seconds: dict[str, float] = {}
        with _timed("decode", seconds):
            frames = self._decoder.decode(latents)
        if self.past is None:  # begun at the film's start, so that every frame counts
            self._owed += num_frames - len(frames)
        return Shown((), seconds)

    @doing("decoding frames")
    def flush(self) -> Shown:
        """The frames that the decoder still holds back."""
        return self._write(self._decoder.flush(), {})

    def _write(self, frames: Tensor, seconds: dict[str, float]) -> Shown:
        """Frames [F, height, width, 3], fp32 in 0..1 or uint8, go to the encoder, as uint8.

        Raises MemflowError if one holds NaN or Inf.
        """
        late = min(self._owed, len(frames))
        self._owed, frames = self._owed - late, frames[late:]
        if not len(frames):
            return Shown((), seconds)
        if frames.dtype != torch.uint8 and not torch.isfinite(frames).all():  # clamped, NaN would be black
            raise MemflowError(
                f"the frames from {self._parts.seconds:.2f} s on cannot be shown: the decoder made NaN or Inf of good latents",
                "Look after the autoencoder's file, or use another --dtype; the segments before it are kept.",
            )
        with _timed("encode", seconds):
            pixels = to_uint8(frames)
            segments = self._parts.write(pixels)
        return Shown(tuple(segments), seconds, pixels)


def to_uint8(frames: Tensor) -> np.ndarray:
    """Frames as they are shown and encoded, from fp32 in 0..1 unless they are uint8 already."""
    if frames.dtype == torch.uint8:
        return frames.cpu().numpy()
    pixels: np.ndarray = (frames.clamp(0, 1) * 255).round_().to(torch.uint8).cpu().numpy()
    return pixels


@contextlib.contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    before = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - before
