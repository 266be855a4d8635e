"""What the Wan family answers about its models: transformer, text encoder, tokenizer and autoencoder in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.family import ACCELERATIONS, Family, LoadOptions
from memflow_cli.models.hub import locate, tokenizer_folder

if TYPE_CHECKING:
    import torch

    from memflow_cli.backbone import Backbone


class DecoderNeeds(NamedTuple):
    """Of an autoencoder in 16 bits: bytes of the decoder's state and work for a pixel of the picture, and its numbers."""

    state: int
    work: int
    weights: int


# Wan 2.1's counted from the tensors of a real decode. Wan 2.2's on the meta device, where a decode holds 10,750 bytes a
# pixel in all; its work has as much on top as a real decode of Wan 2.1 had over that count.
DECODERS = {8: DecoderNeeds(4_730, 9_400, 126_892_531), 16: DecoderNeeds(3_570, 11_500, 704_688_668)}
"""By pixels of a latent cell's side."""


class WanFamily(Family):
    """Torch and what needs it are imported when a model is loaded, not before."""

    autoencoders = ("AutoencoderKLWan",)
    takes_loras = True
    takes_placement = True
    takes_preview_decoder = True
    accelerations = ACCELERATIONS

    def load(
        self, entry: ModelEntry, device: torch.device, dtype: torch.dtype, options: LoadOptions = LoadOptions()
    ) -> Backbone:
        from memflow_cli.models.wan.loading import load, read_cuts

        return load(entry, device, dtype, options, read_cuts(entry.cut_prefix))

    def random(self, entry: ModelEntry, device: torch.device, dtype: torch.dtype) -> Backbone:
        from memflow_cli.models.wan.random_weights import random_model

        return random_model(entry, device, dtype)

    def accelerate(self, backbone: Backbone, wanted: Sequence[str]) -> None:
        from memflow_cli.models.wan.acceleration import accelerate

        accelerate(backbone, wanted)

    def check_files(self, entry: ModelEntry) -> None:
        locate(entry)

    def check(self, entry: ModelEntry) -> Iterator[str]:
        from memflow_cli.models.wan.loading import check

        return check(entry)

    def tokenizer_folder(self, entry: ModelEntry) -> Path | None:
        return tokenizer_folder(entry)

    def token_limit(self, entry: ModelEntry) -> int | None:
        return entry.text_len

    def make_tiny(self, entry: ModelEntry, folder: Path) -> None:
        from memflow_cli.models.wan.tiny import make_tiny

        make_tiny(entry, folder)

    def decoder_bytes(self, entry: ModelEntry, width: int, height: int, itemsize: int) -> int:
        needs = DECODERS.get(entry.geometry.spatial_stride, DECODERS[8])
        return (width * height * (needs.state + needs.work) // 2 + needs.weights) * itemsize


FAMILY = WanFamily()
