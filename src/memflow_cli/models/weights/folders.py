"""Which files of a component's folder are its weights: the ones whose names say so, never whatever else lies there."""

import re
from pathlib import Path

from memflow_cli.errors import ModelError
from memflow_cli.models.files import read_json

CANONICAL = ("diffusion_pytorch_model", "model")
"""What diffusers and transformers call a component's checkpoint."""

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


def weight_files(folder: Path) -> list[Path]:
    """The file, or the shards, that a folder's weights are in.

    In this order: a file of a canonical name; the shards of a canonical index; the one index, the one complete set of
    shards, the one .safetensors file, the one .gguf file. Hidden files (`._X` of macOS) are not looked at, and neither is
    what lies beside a canonical name. Raises ModelError for a folder with none, or with several and nothing to choose by.
    """
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for stem in CANONICAL:
        if f"{stem}.safetensors" in names:
            return [folder / f"{stem}.safetensors"]
    indices = [name for name in names if name.endswith(".safetensors.index.json")]
    canonical = [name for name in indices if name in [f"{stem}.safetensors.index.json" for stem in CANONICAL]]
    if canonical or indices:
        return _shards_of_index(folder, _only(folder, canonical or indices))
    files = [name for name in names if name.endswith(".safetensors")]
    if sets := {match["stem"] for match in map(_SHARD.fullmatch, files) if match}:
        return _shards(folder, _only(folder, sorted(sets)), files)
    files = files or [name for name in names if name.endswith(".gguf")]
    if not files:
        others = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        beside = f", only {others[0]}: give that file itself with --model" if others else ""
        raise ModelError(f"{folder} holds no weights: there is no .safetensors file in it{beside}")
    return [folder / _only(folder, files)]


def _only(folder: Path, names: list[str]) -> str:
    if len(names) > 1:
        raise ModelError(
            f"{folder} holds several checkpoints, and nothing says which is the model's: {', '.join(names[:4])}",
            f"leave one there, or name it {CANONICAL[0]}.safetensors",
        )
    return names[0]


def _shards_of_index(folder: Path, name: str) -> list[Path]:
    """The files that an index names. Raises ModelError for one that names others' files, or that are not there."""
    index = folder / name
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelError(f"{index} has no weight_map, the table of which file holds what")
    for file in table.values():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise ModelError(f"{index} names {str(file)[:80]!r}, which is not a .safetensors file in its folder")
    return _all_here(folder, sorted(set(table.values())), "its index names")


def _shards(folder: Path, stem: str, files: list[str]) -> list[Path]:
    """A set of shards without an index, if it is whole."""
    matches = [match for match in map(_SHARD.fullmatch, files) if match and match["stem"] == stem]
    count = max(int(match["count"]) for match in matches)
    names = [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, min(count, 1000) + 1)]
    return _all_here(folder, names, "its shards' names count")


def _all_here(folder: Path, names: list[str], because: str) -> list[Path]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} of {len(names)} files that {because}: {missing[0]}")
    return [folder / name for name in names]
