"""Tensors from files: safetensors, torch's own format, GGUF, folders of them. Safe, mapped into memory, and never half."""

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.files import check_regular, refusing
from memflow_cli.models.wan.names import from_diffusers
from memflow_cli.models.weights.folders import weight_files
from memflow_cli.models.weights.gguf_files import read_gguf
from memflow_cli.models.weights.packed import Packed, Weight

MAX_TENSORS = 20_000  # of a file; the largest known models have a few thousand
MAX_HEADER_JSON = 1 << 20  # characters of a JSON text in a file's header
_NOT_WEIGHTS = {
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "the pointer that git-lfs leaves in a file's place",
    b"\x1f\x8b": "a compressed archive",
    b'{"error': "an error message of a server",
}


class Checkpoint(NamedTuple):
    """What a file holds: tensors by name (and, in torch's format, whatever else), and its header's texts."""

    tensors: dict[str, Any]
    metadata: dict[str, str]


def read_tensors(path: Path) -> dict[str, Any]:
    """What a checkpoint file, or a folder of them, holds: on the CPU, mapped where the format allows it.

    Raises ModelError for a file that is missing, cut off, of no known format, or a pickle that wants to run code.
    """
    if not path.is_dir():
        return read_checkpoint(path).tensors
    tensors: dict[str, Any] = {}
    for file in weight_files(path):
        loaded = read_checkpoint(file).tensors
        if twice := next((name for name in loaded if name in tensors), None):
            raise ModelError(f"{path} holds {str(twice)[:80]} in two files, of which {file.name} is one")
        tensors.update(loaded)
    return tensors


def read_checkpoint(path: Path) -> Checkpoint:
    """One file. Raises ModelError, see `read_tensors`."""
    check_regular(path)
    try:
        with open(path, "rb") as file:
            beginning = file.read(32)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    for start, what in _NOT_WEIGHTS.items():
        if beginning.lower().startswith(start.lower()):
            raise ModelError(f"{path} is not a checkpoint but {what}", "download it again")
    if beginning.startswith(b"GGUF"):
        return Checkpoint(read_gguf(path), {})
    if beginning.startswith((b"PK", b"\x80")):
        return Checkpoint(_checked(path, _read_pickle(path, beginning)), {})
    return _read_safetensors(path)


def _read_safetensors(path: Path) -> Checkpoint:
    with (
        refusing(path, "is cut off or not a checkpoint", "download or copy it again, and compare its size"),
        safe_open(path, framework="pt") as file,
    ):
        names = list(file.keys())
        _check_count(path, len(names))
        tensors = {name: file.get_tensor(name) for name in names}
        metadata = dict(file.metadata() or {})
    return Checkpoint(tensors, metadata)


def _check_count(path: Path, count: int) -> None:
    if count > MAX_TENSORS:
        raise ModelError(f"{path} holds {count:,} tensors, more than any model has")


def _read_pickle(path: Path, beginning: bytes) -> Any:
    with refusing(path, "is cut off or damaged"):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=beginning.startswith(b"PK"))
        except pickle.UnpicklingError as error:
            unsafe = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", str(error))
            if unsafe and "nsupported" in str(error):
                raise ModelError(
                    f"{path} wants to run code while it is read ({unsafe[1]}), and is refused",
                    "use a checkpoint that holds nothing but tensors, best a .safetensors file",
                ) from error
            raise ModelError(f"{path} is damaged: it cannot be unpickled", "download or copy it again") from error


def _checked(path: Path, loaded: Any, depth: int = 0) -> dict[str, Any]:
    """What torch's format held, if it is tensors by name, also one level down. Raises ModelError for tensors that are not
    plain numbers in memory.
    """
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path} holds a {type(loaded).__name__}, not the tensors of a model")
    _check_count(path, len(loaded))
    for name, value in loaded.items():
        if not isinstance(name, str):
            raise ModelError(f"{path} holds {str(name)[:40]!r} where a tensor's name is expected")
        if isinstance(value, Mapping) and depth < 2:
            _checked(path, value, depth + 1) if any(isinstance(part, Tensor) for part in value.values()) else None
        if isinstance(value, Tensor):
            if value.device.type != "cpu" or value.layout != torch.strided or value.is_quantized or value.is_complex():
                raise ModelError(
                    f"{path} holds {name[:80]} as a tensor that is not plain numbers (sparse, meta, complex)"
                )
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ModelError(f"{path} claims more numbers for {name[:80]} than it holds")
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in loaded.items()}


def header_json(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    """A JSON object in a header's text; empty if there is none that can be read."""
    try:
        content = json.loads(metadata.get(key, "")[:MAX_HEADER_JSON])
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def tally(*kinds: tuple[str, Sequence[str]]) -> str:
    """How many keys are wrong in which way, and the first three of each."""
    return "; ".join(f"{len(keys)} {kind} ({first_three(keys)})" for kind, keys in kinds if keys)


def first_three(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


def check_fit(path: Path, weights: Mapping[str, Weight], expected: Mapping[str, torch.Size]) -> None:
    """Raises ModelError unless names and shapes are exactly those of the model."""
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    misfits = [
        f"{name} ({_size(weights[name].shape)}, not {_size(shape)})"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    whole = [name for name in expected if name in weights and not _is_plain(weights[name])]
    if missing or unexpected or misfits or whole:
        raise ModelError(
            f"{path} does not fit this model: "
            + tally(
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", misfits),
                ("not in floating point of 16 bits or more", whole),
            ),
            likely_cause(weights, expected),
        )


def _is_plain(weight: Weight) -> bool:
    return isinstance(weight, Packed) or (weight.is_floating_point() and weight.element_size() > 1)


def check_finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    """The tensor itself. Raises ModelError if a number of it is NaN or infinite."""
    if tensor.numel() and not tensor.detach().abs().amax().isfinite():
        raise ModelError(
            f"{path} holds NaN or infinite numbers in {name}, or has them in {tensor.dtype}",
            "download or copy it again; if it is whole, a wider --dtype or another --lora strength may help",
        )
    return tensor


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def likely_cause(weights: Mapping[str, Weight], expected: Mapping[str, torch.Size]) -> str:
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
