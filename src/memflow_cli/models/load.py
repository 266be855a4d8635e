"""The one door to a model: whatever its family, an entry goes in and a backbone comes out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from memflow_cli.backbone import Backbone
from memflow_cli.machine.out_of_memory import doing
from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.family import LoadOptions, family_of
from memflow_cli.models.footprint import Placement


@doing("loading the weights")
def load_model(
    entry: ModelEntry,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    embeddings: Path | None = None,
    placement: Placement | None = None,
    prompts: Sequence[str] = (),
    preview_decoder: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Backbone:
    """A model ready to make films; see `LoadOptions`.

    Raises ModelError: files missing (with the command that downloads them), broken, or not fitting.
    """
    options = LoadOptions(embeddings, placement, prompts, preview_decoder, tell)
    return family_of(entry).load(entry, torch.device(device), dtype, options)


@doing("loading the weights")
def random_model(entry: ModelEntry, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
    """A model as `load_model` would give it, but for its weights. It has no text encoder."""
    return family_of(entry).random(entry, torch.device(device), dtype)
