"""What is known about a model before it is loaded: the types that the catalogue is made of. Nothing here imports torch."""

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from memflow_cli.backbone import Sampling
from memflow_cli.geometry import Geometry
from memflow_cli.memory.options import POLICIES
from memflow_cli.models.identity import Identity, identity_of, source_of

MAX_SIZE = 65536  # of anything that a model's files say: above all there are
MAX_STEPS = 100  # of a chunk: published ones have four, those that are not distilled fifty
MAX_CHUNK = 64  # latent frames, denoised together: published models have one to eight
MAX_TEXT = 4096  # tokens of a prompt: no weight has this size, so that nothing else would bound it

Component = Literal["transformer", "lora", "text_encoder", "tokenizer", "vae"]
PositionName = Literal["absolute", "relative", "packed"]
COMPONENTS: tuple[Component, ...] = get_args(Component)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository. Without a `sha256` its `num_bytes` is an estimate."""

    path: str
    num_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Repository:
    """Files of one hub repository, and the components of a model that they make."""

    repo_id: str
    revision: str
    licence: str
    components: tuple[Component, ...]
    files: tuple[RemoteFile, ...]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class Lora:
    """A low-rank update's file and how much of it is added."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True)
class ModelEntry:
    """All that is known about a model before it is loaded.

    family: the name of a family known here (see family.py), or a plug-in's own `Family`.
    folder: laid out as a diffusers Wan model (transformer/, text_encoder/, tokenizer/, vae/); what it lacks comes from
    `repositories`. transformer_file, lora_file: the checkpoint, a path in its repository or an absolute one.
    stored_itemsize: bytes a number in that checkpoint. ffn_dim: width of its feed-forward, where no config.json says it;
    0: in Wan 1.3B's proportion.
    mirrors_pictures, picture_guidance: whether memory is given the pictures of characters mirrored as well, and how far chunks
    are led towards given pictures, unless a storyboard says.
    policy: how its films remember unless the storyboard says otherwise; published: how its authors' code does, the same if
    empty. fps: frames a second that it was made for. cut_prefix: what it was taught to read before the prompt of a cut's
    first chunk.
    loras: a user's own updates, besides the model's. text_len: tokens that it reads of a prompt.
    given_as: the path that it was found by, where it has no name of its own.
    backbone: the least that a plug-in can bring: a loader, (entry, device, dtype) -> an object with the Backbone protocol.
    """

    name: str
    summary: str
    licence: str
    geometry: Geometry
    width: int
    height: int
    sampling: Sampling = Sampling()
    policy: str = "nam"
    published: str = ""
    positions: str = "absolute"
    mirrors_pictures: bool = False
    picture_guidance: float = 0.0
    fps: int = 16
    cut_prefix: str = ""
    folder: Path | None = None
    repositories: tuple[Repository, ...] = ()
    transformer_file: str | None = None
    lora_file: str | None = None
    loras: tuple[Lora, ...] = ()
    text_len: int = 512
    given_as: str = ""
    backbone: Callable[..., Any] | None = None
    family: Any = "wan"
    stored_itemsize: int = 4
    ffn_dim: int = 0

    @property
    def address(self) -> str:
        """What finds this model again on a command line."""
        return shlex.quote(self.given_as) if self.given_as else self.name

    @property
    def num_bytes(self) -> int:
        """What a download of this model's files would move, in bytes; 0 if everything is local."""
        return sum(repository.num_bytes for repository in self.repositories)

    @property
    def published_policy(self) -> str:
        return self.published or self.policy

    def identity(self) -> Identity:
        """The model's name and what tells its weights from others."""
        return identity_of(self)

    def source(self, preview_decoder: Path | None = None) -> Identity:
        """Where its files are: with its name, what to give on a command line to make the film again."""
        return source_of(self, preview_decoder)


def check_entry(entry: ModelEntry) -> None:
    """Raises ValueError for sizes and words that no model has: its description may come from strangers."""
    sizes = {**asdict(entry.geometry), "width": entry.width, "height": entry.height, "text_len": entry.text_len}
    sizes["fps"] = entry.fps
    sizes |= {f"patch_size {index}": size for index, size in enumerate(sizes.pop("patch_size"))}
    of_films = sizes.pop("sizes")
    sizes |= {f"sizes {index}": side for index, side in enumerate(side for size in of_films for side in size)}
    for name, size in sizes.items():
        least = 0 if name in ("sink", "bank") else 1
        most = {"text_len": MAX_TEXT, "chunk": MAX_CHUNK}.get(name, MAX_SIZE)
        if type(size) is not int or not least <= size <= most:
            raise ValueError(f"{name} is {str(size)[:40]}; a whole number from {least} to {most:,} is expected")
    if of_films:
        entry.geometry.grid_size(*min(of_films))
        if (entry.width, entry.height) not in of_films:
            raise ValueError(f"its own size, {entry.width}x{entry.height}, is not among its sizes")
    for name, size in (("stored_itemsize", entry.stored_itemsize), ("ffn_dim", entry.ffn_dim)):
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            raise ValueError(f"{name} is {str(size)[:40]}; a whole number up to {MAX_SIZE:,} is expected")
    if type(entry.mirrors_pictures) is not bool:
        raise ValueError(f"mirrors_pictures is {str(entry.mirrors_pictures)[:40]}; true or false is expected")
    if not _is_number(entry.picture_guidance, 10):
        raise ValueError(f"picture_guidance is {str(entry.picture_guidance)[:40]}; a number from 0 to 10 is expected")
    _check_sampling(entry.sampling)
    choices = (
        (entry.policy, POLICIES),
        (entry.published_policy, POLICIES),
        (entry.positions, get_args(PositionName)),
        (entry.sampling.prediction, ("flow", "sample")),
        (entry.sampling.solver, ("renoise", "unipc")),
    )
    for word, known in choices:
        if word not in known:
            raise ValueError(f"{str(word)[:40]!r} is none of {', '.join(known)}")


def _check_sampling(sampling: Sampling) -> None:
    for name, steps in (("steps", sampling.steps), ("first_chunk_steps", sampling.first_chunk_steps)):
        if len(steps) > MAX_STEPS:
            raise ValueError(f"{name} are {len(steps):,}; at most {MAX_STEPS} are possible")
        if len(steps) < (name == "steps") or not all(
            _is_number(step, 1000) and (step > 0 or sampling.sigmas) for step in steps
        ):
            raise ValueError(f"{name} are {str(steps)[:40]}; timesteps from 1 to 1000 are expected")
    if len(sampling.sigmas) not in (0, len(sampling.steps)):
        raise ValueError(
            f"sigmas are {len(sampling.sigmas)}; one for each of the {len(sampling.steps)} steps is expected"
        )
    if not all(_is_number(sigma, 1) for sigma in sampling.sigmas):
        raise ValueError(f"sigmas are {str(sampling.sigmas)[:40]}; noise levels from 0 to 1 are expected")
    if not _is_number(sampling.shift, 1000) or not sampling.shift:
        raise ValueError(f"shift is {str(sampling.shift)[:40]}; a number up to 1000 is expected")
    if not _is_number(sampling.context_noise, 1000):
        raise ValueError(f"context_noise is {str(sampling.context_noise)[:40]}; a timestep from 0 to 1000 is expected")
    if not _is_number(sampling.guidance_scale, 100) or sampling.guidance_scale < 1:
        raise ValueError(f"guidance_scale is {str(sampling.guidance_scale)[:40]}; a number from 1 to 100 is expected")


def _is_number(value: object, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most  # type: ignore[operator]
