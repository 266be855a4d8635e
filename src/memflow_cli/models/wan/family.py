"""What the Wan family answers about its models: transformer, text encoder, tokenizer and autoencoder in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.family import ACCELERATIONS, Family, LoadOptions
from memflow_cli.models.hub import locate, tokenizer_folder

if TYPE_CHECKING:
    import torch

    from memflow_cli.backbone import Backbone

# Of the autoencoder's decoder in 16 bits, for a pixel of the picture: counted from the tensors of a real decode.
DECODER_STATE = 4_730
DECODER_WORK = 9_400


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
        return width * height * (DECODER_STATE + DECODER_WORK) * itemsize // 2


FAMILY = WanFamily()
