"""A model described by a TOML file: the ones known here (known/), and those that a user writes.

name = "wan-14b"                                # what it is called on a command line
summary = "Wan 2.1 of 14 billion parameters"
licence = "Apache-2.0"
size = [832, 480]
transformer = "model.safetensors"               # the checkpoint, in one of the repositories or beside this file

[geometry]                                      # the fields of geometry.Geometry
num_layers = 40                                 # ...

[sampling]                                      # the fields of backbone.Sampling; without it: four steps of flow
steps = [1000, 750, 500, 250]

[[repositories]]
shared = "wan2.1-text-vae"                      # known/shared/wan2.1-text-vae.toml, or all of:
repo_id = "somebody/something"
revision = "main"
components = ["transformer"]
files = [{ path = "model.safetensors", num_bytes = 28000000000, sha256 = "..." }]
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path, PurePosixPath
from typing import Any

from memflow_cli.backbone import Sampling
from memflow_cli.errors import ModelError
from memflow_cli.geometry import Geometry
from memflow_cli.models.entry import COMPONENTS, ModelEntry, RemoteFile, Repository, check_entry
from memflow_cli.models.files import read_small, why_not_read

SHARED_FOLDER = Path(__file__).parent / "known" / "shared"

_MAX_BYTES = 64 << 10
_MAX_LINE = 2000
_REPO_ID = re.compile(r"([\w.-]{1,96}/)?[\w.-]{1,96}", re.ASCII)
_REVISION = re.compile(r"[\w./-]{1,200}", re.ASCII)

_TEXTS = (
    "name",
    "summary",
    "licence",
    "policy",
    "published",
    "cut_prefix",
    "positions",
    "family",
    "transformer",
    "lora",
)
_NUMBERS = ("text_len", "stored_itemsize", "ffn_dim", "fps")
_OF_PICTURES = ("mirrors_pictures", "picture_guidance")
_KEYS = (*_TEXTS, *_NUMBERS, *_OF_PICTURES, "size", "geometry", "sampling", "repositories")


def read_entry(path: Path) -> ModelEntry:
    """The model that a TOML file describes. Raises ModelError for one that is not TOML, or describes none."""
    table = _read_table(path)
    try:
        _only(table, _KEYS, "the file")
        for key in ("name", "summary", "licence", "size", "geometry", "transformer"):
            if key not in table:
                raise ValueError(f"{key} is missing")
        texts = {key: _text(table, key) for key in _TEXTS if key in table}
        width, height = table["size"]
        repositories = tuple(_repository(about, texts["licence"]) for about in table.get("repositories", []))
        entry = ModelEntry(
            name=texts["name"],
            summary=texts["summary"],
            licence=texts["licence"],
            geometry=Geometry(**_values(table["geometry"], Geometry, "geometry")),
            width=width,
            height=height,
            sampling=Sampling(**_values(table.get("sampling", {}), Sampling, "sampling")),
            repositories=repositories,
            transformer_file=_found(texts["transformer"], repositories, path),
            lora_file=_found(texts["lora"], repositories, path) if "lora" in texts else None,
            **{key: texts[key] for key in ("policy", "published", "cut_prefix", "positions", "family") if key in texts},
            **{key: table[key] for key in (*_NUMBERS, *_OF_PICTURES) if key in table},
        )
        check_entry(entry)
    except (TypeError, ValueError, AttributeError, AssertionError, KeyError) as error:
        raise ModelError(
            f"{path} describes no model: {error}", "docs/adding-a-model.md shows how it is written"
        ) from error
    return entry


def _read_table(path: Path) -> dict[str, Any]:
    """Raises ModelError. Lines are bounded: the reader's work grows with the square of how many dots a key has."""
    try:
        text = read_small(path, _MAX_BYTES).decode("utf-8-sig")
        if any(len(line) > _MAX_LINE for line in text.splitlines()):
            raise ValueError(f"a line has more than {_MAX_LINE:,} characters")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not TOML: {why_not_read(error)}") from error


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            raise ValueError(
                f"{where} has the unknown key {key[:40]!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
            )


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is {str(value)[:40]!r}; a text is expected")
    return value


def _values(table: Mapping[str, Any], kind: type[Any], where: str) -> dict[str, Any]:
    """A table's values as arguments of a dataclass, lists as tuples; what has no default must be there."""
    known = {field.name: field for field in fields(kind)}
    _only(table, known, where)
    for name, field in known.items():
        if field.default is MISSING and name not in table:
            raise ValueError(f"{where}.{name} is missing")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _repository(about: Mapping[str, Any], licence: str) -> Repository:
    """`licence`: of the model, which is the repository's unless it has one of its own."""
    if "shared" in about:
        _only(about, ("shared",), "a shared repository")
        name = _text(about, "shared")
        shared = SHARED_FOLDER / f"{name}.toml"
        if Path(name).name != name or not shared.is_file():
            raise ValueError(f"there is no shared repository {name[:40]!r}")
        return _repository(_read_table(shared), licence)
    about = {"licence": licence, **about}
    known = [field.name for field in fields(Repository)]
    _only(about, known, "a repository")
    if missing := [key for key in known if key not in about]:
        raise ValueError(f"a repository has no {missing[0]}")
    if strange := [name for name in about["components"] if name not in COMPONENTS]:
        raise ValueError(f"components: {str(strange[0])[:40]!r} is none of {', '.join(COMPONENTS)}")
    files = tuple(_remote_file(file) for file in about["files"])
    texts = {key: _text(about, key) for key in ("repo_id", "revision", "licence")}
    for key, form in (("repo_id", _REPO_ID), ("revision", _REVISION)):
        if not form.fullmatch(texts[key]) or any(part in texts[key] for part in ("..", "--")):
            raise ValueError(f"{key} {texts[key][:40]!r} is not one that a hub knows, such as somebody/something")
    return Repository(**texts, components=tuple(about["components"]), files=files)


def _remote_file(about: Mapping[str, Any]) -> RemoteFile:
    _only(about, ("path", "num_bytes", "sha256"), "a file")
    num_bytes = about.get("num_bytes")
    if type(num_bytes) is not int or num_bytes < 0:
        raise ValueError(f"num_bytes is {str(num_bytes)[:40]}; a whole number is expected")
    sha256 = about.get("sha256")
    name = PurePosixPath(_text(about, "path"))
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"path {str(name)[:40]!r} is outside its repository")
    return RemoteFile(str(name), num_bytes, None if sha256 is None else _text(about, "sha256"))


def _found(name: str, repositories: Iterable[Repository], path: Path) -> str:
    """A checkpoint's name as it is in a repository; else a path, counted from the file that says it."""
    if any(file.path == name for repository in repositories for file in repository.files):
        return name
    return str((path.parent / name).absolute())
