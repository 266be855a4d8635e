"""A folder or a checkpoint file of the user's own -> what is known about the model in it."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from memflow_cli.backbone import Sampling
from memflow_cli.errors import ModelError
from memflow_cli.geometry import Geometry
from memflow_cli.models.entry import ModelEntry, check_entry
from memflow_cli.models.family import family_names, family_of_autoencoder
from memflow_cli.models.files import read_json

_WAN_CELLS = {"latent_channels": 16, "spatial_stride": 8, "temporal_stride": 4, "first_frames": 1}  # of Wan 2.1
_SIZE = 832, 480


def folder_model(folder: Path, known: Sequence[ModelEntry] = ()) -> ModelEntry:
    """A local folder: a diffusers Wan layout, or a copy of a known model's repository. Raises ModelError."""
    folder = folder.absolute()  # its name is the model's, also that of "."
    folder = folder.resolve() if folder.name in ("", "..") else folder
    if (folder / "transformer" / "config.json").exists():
        return _diffusers_model(folder)
    for entry in known:
        if entry.transformer_file is None or not (folder / entry.transformer_file).is_file():
            continue
        checkpoint = folder / entry.transformer_file
        lora = folder / entry.lora_file if entry.lora_file else None
        if lora is not None and not lora.is_file():
            raise ModelError(f"{folder} holds {checkpoint.name} of {entry.name} but not its {lora.name}")
        return with_local_files(entry, folder.name, checkpoint, lora)
    raise ModelError(
        f"{folder} is not a model: it has neither transformer/config.json nor a checkpoint of a known model",
        "known checkpoints: " + ", ".join(str(entry.transformer_file) for entry in known),
    )


def with_local_files(entry: ModelEntry, name: str, checkpoint: Path, lora: Path | None) -> ModelEntry:
    """A known model with the user's own checkpoint in place of its own; text encoder and VAE stay."""
    remote = tuple(repository for repository in entry.repositories if "transformer" not in repository.components)
    return replace(
        entry,
        name=name,
        summary=f"{checkpoint} with {entry.name}'s text encoder and VAE",
        licence="that of your file",
        repositories=remote,
        transformer_file=str(checkpoint.resolve()),
        lora_file=str(lora.resolve()) if lora else None,
    )


def _diffusers_model(folder: Path) -> ModelEntry:
    """A folder, described by its own files; diffusers has no field for some of it: `memflow` in model_index.json."""
    transformer = read_json(folder / "transformer" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", optional=True)
    ours = read_json(folder / "model_index.json", optional=True).get("memflow", {})
    if not isinstance(ours, dict):
        raise ModelError(f"{folder / 'model_index.json'}: memflow holds a {type(ours).__name__}, not an object")
    try:
        entry = ModelEntry(
            name=folder.name,
            summary=str(ours.get("summary", f"the model in {folder}")),
            licence=str(ours.get("licence", "that of your files")),
            geometry=_geometry(transformer, vae, ours),
            sampling=_sampling(scheduler),
            width=ours.get("width", _SIZE[0]),
            height=ours.get("height", _SIZE[1]),
            policy=ours.get("policy", "nam"),
            published=ours.get("published", ""),
            positions=ours.get("positions", "absolute"),
            mirrors_pictures=ours.get("mirrors_pictures", ModelEntry.mirrors_pictures),
            picture_guidance=ours.get("picture_guidance", ModelEntry.picture_guidance),
            fps=ours.get("fps", ModelEntry.fps),
            cut_prefix=str(ours.get("cut_prefix", "")),
            text_len=transformer.get("text_len", ModelEntry.text_len),
            folder=folder,
            family=ours.get("family", family_of_autoencoder(vae.get("_class_name"))),
        )
        check_entry(entry)
        if entry.family not in family_names():
            raise ValueError(f"family {str(entry.family)[:40]!r} is none of {', '.join(family_names())}")
    except KeyError as missing:
        raise ModelError(f"{folder / 'transformer' / 'config.json'} has no {missing.args[0]!r}") from missing
    except (TypeError, ValueError, AttributeError, ArithmeticError, AssertionError) as error:
        raise ModelError(f"{folder} does not describe a model: {error}") from error
    return entry


def _geometry(transformer: dict[str, Any], vae: dict[str, Any], ours: dict[str, Any]) -> Geometry:
    heads, head_dim = _heads(transformer)
    frames, height, width = transformer["patch_size"]
    return Geometry(
        latent_channels=transformer.get("in_channels", transformer.get("in_dim", _WAN_CELLS["latent_channels"])),
        patch_size=(frames, height, width),
        num_layers=transformer["num_layers"],
        num_heads=heads,
        head_dim=head_dim,
        spatial_stride=vae.get("scale_factor_spatial", _WAN_CELLS["spatial_stride"]),
        temporal_stride=vae.get("scale_factor_temporal", _WAN_CELLS["temporal_stride"]),
        first_frames=vae.get("first_frames", _WAN_CELLS["first_frames"]),
        sizes=tuple(_film_size(text) for text in ours.get("sizes", ())),
        **{key: ours[key] for key in ("chunk", "sink", "bank", "window") if key in ours},
    )


def _film_size(text: str) -> tuple[int, int]:
    """Width and height, from "448x256"."""
    width, height = map(int, text.split("x"))
    return width, height


def _heads(transformer: dict[str, Any]) -> tuple[int, int]:
    """Number and size of the heads, in diffusers' names or the original ones."""
    if "num_attention_heads" in transformer:
        return transformer["num_attention_heads"], transformer["attention_head_dim"]
    return transformer["num_heads"], transformer["dim"] // transformer["num_heads"]


def _sampling(scheduler: dict[str, Any]) -> Sampling:
    """A schedule counts where it names its steps: diffusers writes a shift for models of any kind."""
    known = {field.name for field in fields(Sampling)} - (set() if "steps" in scheduler else {"shift"})
    values = {name: value for name, value in scheduler.items() if name in known}
    return Sampling(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
