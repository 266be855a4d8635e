"""A model family: one object that answers for all models of a kind. Nothing outside asks what kind a model is.

A family known here is a folder of this package with a `family.py` whose `FAMILY` is its object; a plug-in brings its own,
or, by `ModelEntry.backbone`, a loader alone. No torch at import: planning asks families too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memflow_cli.backbone import with_defaults
from memflow_cli.errors import MemflowError, ModelError, UsageError

if TYPE_CHECKING:
    import torch

    from memflow_cli.backbone import Backbone
    from memflow_cli.models.entry import ModelEntry

ACCELERATIONS = ("compile", "graphs", "cudnn", "sage", "fp8")
"""All that any family knows."""


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    embeddings: folder to keep a large text encoder's embeddings in. placement: what stays on the device
    (`footprint.Placement`), all of it unless given. prompts: of all films to come, so that a large text encoder is loaded
    once for them. preview_decoder: a file that decodes in place of the model's own autoencoder. tell: told, a sentence at a
    time, what of the files was not used.
    """

    embeddings: Path | None = None
    placement: Any = None
    prompts: Sequence[str] = ()
    preview_decoder: Path | None = None
    tell: Callable[[str], None] = lambda text: None


class Family:
    """What a family answers about a model of its own. The answers here are those of one that can do the least."""

    autoencoders: tuple[str, ...] = ()
    """Class names in vae/config.json by which a folder is told to be of this family."""
    takes_loras = False
    takes_placement = False
    """Whether parts of it can be left on the host (--vram)."""
    takes_preview_decoder = False
    accelerations: tuple[str, ...] = ()
    keeps_films = False
    """Whether its films are so small that what they can be gone on from is kept unless told otherwise (--keep)."""

    def load(
        self, entry: ModelEntry, device: torch.device, dtype: torch.dtype, options: LoadOptions = LoadOptions()
    ) -> Backbone:
        """A model ready to make films. Raises ModelError: files missing, broken, or not fitting."""
        raise NotImplementedError

    def random(self, entry: ModelEntry, device: torch.device, dtype: torch.dtype) -> Backbone:
        """A model of the right shape with random numbers in it, and without a text encoder."""
        raise UsageError(f"{entry.name} cannot be made of random numbers", "leave out --random-weights")

    def accelerate(self, backbone: Backbone, wanted: Sequence[str]) -> None:
        """Switch on each of `wanted`, some of `accelerations`, in place."""

    def check_files(self, entry: ModelEntry) -> None:
        """Raises ModelError, with the command that repairs it, if a file that it needs is not here."""

    def check(self, entry: ModelEntry) -> Iterator[str]:
        """Compare every tensor with the model: a line for each component that fits, ModelError at one that does not."""
        yield from ()

    def not_checked(self, entry: ModelEntry) -> list[str]:
        """What `check` had nothing to compare with."""
        return []

    def check_size(self, entry: ModelEntry, width: int, height: int) -> None:
        """Raises UsageError for a picture that comes out badly, though the geometry would allow it."""

    def tokenizer_folder(self, entry: ModelEntry) -> Path | None:
        """Where the tokenizer is, if it is here."""
        return None

    def token_limit(self, entry: ModelEntry) -> int | None:
        """Tokens that it reads of a prompt; None: nobody knows."""
        return None

    def unknown_words(self, prompt: str) -> list[str]:
        """The words of a prompt that mean nothing to it, each once."""
        return []

    def meanings(
        self, entry: ModelEntry, prompts: Sequence[str], cuts: Sequence[bool], pictured: Sequence[str] = ()
    ) -> list[str] | None:
        """What it takes each segment to mean, in words; None: prompts are taken as they are written.

        `pictured`: see `Backbone.read_story`.
        """
        return None

    def not_shown(
        self,
        entry: ModelEntry,
        prompts: Sequence[str],
        cuts: Sequence[bool],
        pictured: Sequence[str] = (),
        places: Sequence[tuple[int, str]] = (),
    ) -> list[str]:
        """Sentences about what a film of these prompts will not show, although they ask for it.

        `places`: the descriptions of places that have pictures, each with the segment, from 0, that calls it first.
        """
        return []

    def vocabulary(self) -> dict[str, list[str]]:
        """What it understands, by kind, for a model that understands few words."""
        return {}

    def decoder_bytes(self, entry: ModelEntry, width: int, height: int, itemsize: int) -> int:
        """What decoding takes of a card's memory."""
        return 0

    def make_tiny(self, entry: ModelEntry, folder: Path) -> None:
        """Write a tiny random model in the published layout, with `entry`'s sampling, memory and cells."""
        raise UsageError(f"there is no tiny {entry.name}: nobody has said how one is made", "choose another model")


class LoaderOnly(Family):
    """A plug-in that brings a loader and nothing else: whatever goes wrong in there is told as its own fault."""

    def load(
        self, entry: ModelEntry, device: torch.device, dtype: torch.dtype, options: LoadOptions = LoadOptions()
    ) -> Backbone:
        from memflow_cli.machine.out_of_memory import is_memory_error  # here: it imports torch

        assert entry.backbone is not None, "only plug-ins bring a loader"
        try:
            return with_defaults(entry.backbone(entry, device, dtype))
        except (Exception, SystemExit) as error:
            if isinstance(error, MemflowError) or is_memory_error(error):
                raise
            raise ModelError(
                f"the plug-in that brings the model {entry.name} cannot load it: {type(error).__name__}: {error}",
                "ask its authors, or choose another model with --model",
            ) from error

    def not_checked(self, entry: ModelEntry) -> list[str]:
        return ["tensors: only the plug-in itself knows them"]


def family_of(entry: ModelEntry) -> Family:
    """The family that answers for a model."""
    if isinstance(entry.family, Family):
        return entry.family
    return LoaderOnly() if entry.backbone is not None else family_named(entry.family)


@cache
def family_names() -> tuple[str, ...]:
    """The families of this package: its folders with a family.py."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/family.py")))


def family_named(name: str) -> Family:
    """Raises ModelError for a name that none has."""
    if name not in family_names():
        raise ModelError(f"there is no model family {name[:40]!r}", f"known: {', '.join(family_names())}")
    family: Family = import_module(f"memflow_cli.models.{name}.family").FAMILY
    return family


def family_of_autoencoder(class_name: object) -> str:
    """The family of a folder that names none, by its autoencoder's class; Wan's, where that class is nobody's."""
    return next((name for name in family_names() if class_name in family_named(name).autoencoders), "wan")
