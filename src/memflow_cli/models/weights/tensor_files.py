"""Tensors from files: safetensors, torch's own format, folders of shards. Safe, mapped into memory, and never half."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.machine.out_of_memory import is_memory_error
from memflow_cli.models.files import read_json
from memflow_cli.models.wan.names import from_diffusers


def read_tensors(path: Path) -> dict[str, Any]:
    """What a checkpoint file, or a folder of safetensors, holds: on the CPU, mapped where the format allows it.

    Raises ModelError for a file that is missing, cut off, of no known format, or a pickle that wants to run code.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        with open(path, "rb") as file:
            beginning = file.read(2)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    loaded = _read_pickle(path, beginning) if beginning in (b"PK", b"\x80\x02") else _read_safetensors(path)
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path} holds a {type(loaded).__name__}, not the tensors of a model")
    return dict(loaded)


def _read_folder(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("*.safetensors"))
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if indices:
        names = _names_in(indices[0])
        missing = sorted(name for name in names if not (folder / name).is_file())
        if missing:
            raise ModelError(f"{folder} lacks {len(missing)} of {len(names)} files that its index names: {missing[0]}")
        files = sorted(folder / name for name in names)
    if not files:
        raise ModelError(f"{folder} holds no weights: there is no .safetensors file in it")
    tensors: dict[str, Any] = {}
    for file in files:
        tensors.update(_read_safetensors(file))
    return tensors


def _names_in(index: Path) -> set[str]:
    """The files that a folder's index names. Raises ModelError for an index that is none, or names others' files."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelError(f"{index} has no weight_map, the table of which file holds what")
    for name in table.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise ModelError(f"{index} names {str(name)[:80]!r}, which is no file in its folder")
    return set(table.values())


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        if is_memory_error(error):
            raise MemoryError(str(error)) from error
        raise ModelError(
            f"{path} is cut off or no checkpoint: {error}", "download or copy it again, and compare its size"
        ) from error


def _read_pickle(path: Path, beginning: bytes) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=beginning == b"PK")
    except pickle.UnpicklingError as error:
        unsafe = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", str(error))
        if unsafe and "nsupported" in str(error):
            raise ModelError(
                f"{path} wants to run code while it is read ({unsafe[1]}), and is refused",
                "use a checkpoint that holds nothing but tensors, best a .safetensors file",
            ) from error
        raise ModelError(f"{path} is damaged: it cannot be unpickled", "download or copy it again") from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        if is_memory_error(error):
            raise MemoryError(str(error)) from error
        raise ModelError(
            f"{path} is cut off or damaged: {str(error).splitlines()[0]}", "download or copy it again"
        ) from error


def tally(*kinds: tuple[str, Sequence[str]]) -> str:
    """How many keys are wrong in which way, and the first three of each."""
    return "; ".join(f"{len(keys)} {kind} ({first_three(keys)})" for kind, keys in kinds if keys)


def first_three(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


def check_fit(path: Path, weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raises ModelError unless names and shapes are exactly those of the model."""
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    misfits = [
        f"{name} ({_size(weights[name].shape)}, not {_size(shape)})"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    if missing or unexpected or misfits:
        raise ModelError(
            f"{path} does not fit this model: "
            + tally(("missing", missing), ("unexpected", unexpected), ("of another shape", misfits)),
            likely_cause(weights, expected),
        )


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def likely_cause(weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> str:
    """The likely reason why a checkpoint does not fit."""
    names = [from_diffusers(name) for name in weights]
    if any(name.startswith(("img_emb", "condition_embedder.image_embedder")) or "k_img" in name for name in names):
        return "this is an image-to-video model; a text-to-video model is needed"
    if any(name.startswith(("vace_", "control")) for name in names):
        return "this model has control inputs, which are not supported"
    if any(name.startswith(("decoder.", "encoder.", "conv1", "post_quant")) for name in names):
        return "this looks like an autoencoder or a text encoder, not the transformer"
    if "patch_embedding.weight" in weights and "patch_embedding.weight" in expected:
        theirs, ours = weights["patch_embedding.weight"].shape[0], expected["patch_embedding.weight"][0]
        if theirs != ours:
            return f"this is a model of width {theirs}, not {ours}: perhaps another size of the same family"
        return "the file is incomplete, or of a variant with other layers"
    return "this is another kind of model"
