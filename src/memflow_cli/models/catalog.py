"""The models: a name or a path -> what is known about it.

Three kinds of entry, one type: models known here (theatre inside the package, and a TOML file for each of the others), a
local folder, checkpoint or TOML file given in place of a name, and models that other packages add by the entry point
group `memflow_cli.backbones`. Nothing here imports torch or touches the network.
"""

import difflib
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from memflow_cli.errors import ModelError
from memflow_cli.models import describe
from memflow_cli.models.entry import Component, Lora, ModelEntry, RemoteFile, Repository
from memflow_cli.models.files import check_checkpoint
from memflow_cli.models.from_toml import read_entry

__all__ = [
    "PLUGIN_GROUP",
    "SEARCH_PATH",
    "THEATRE_FOLDER",
    "Component",
    "Lora",
    "ModelEntry",
    "Problem",
    "RemoteFile",
    "Repository",
    "file_model",
    "find_model",
    "folder_model",
    "known_models",
    "plugin_models",
    "published_models",
    "theatre",
]

PLUGIN_GROUP = "memflow_cli.backbones"
_EMBEDDED = "theatre"
THEATRE_FOLDER = Path(__file__).parent / "theatre" / "weights"
SEARCH_PATH = (Path(__file__).parent / "known",)
"""Folders of TOML files, one for each published model."""
_BARE_CHECKPOINT = "memflow-1.3b"  # whose text encoder and VAE serve a checkpoint that comes alone


class Problem(NamedTuple):
    """Why a model cannot be used, as a sentence, and the installed package that it comes from, where that is known."""

    text: str
    package: str | None


def find_model(name_or_path: str | Path) -> ModelEntry:
    """The entry of a known name, a plug-in's name, a local folder, checkpoint or TOML file.

    Raises ModelError: unknown (with the nearest names), or a folder that is not a model.
    """
    name = str(name_or_path)
    if name == _EMBEDDED:
        return theatre()
    for entry in published_models():
        if entry.name == name:
            return entry
    plugins, problems = plugin_models()
    for entry in plugins:
        if entry.name == name:
            return entry
    path = _local_path(name)
    if path.is_dir():
        return replace(folder_model(path), given_as=name)
    if path.is_file():
        if path.suffix == ".toml":
            return replace(read_entry(path), given_as=name)
        check_checkpoint(path)
        return replace(file_model(path), given_as=name)
    names = [_EMBEDDED, *(entry.name for entry in (*published_models(), *plugins))]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    message = f"there is no model named {name!r}"
    if "/" in name or path.suffix:
        message = f"{name!r} is neither a model's name nor an existing file or folder"
    elif nearest:
        message += f"; did you mean {nearest[0]!r}?"
    hint = f"known models: {', '.join(names)}"
    if problems:
        hint += "\n" + "\n".join(problem.text for problem in problems)
    raise ModelError(message, hint)


def _local_path(name: str) -> Path:
    """The path that a name may be, with its ~ replaced. Raises ModelError for a name that no file can have."""
    try:
        path = Path(name).expanduser()
        path.is_dir()
    except (RuntimeError, OSError, ValueError) as error:  # no such home; longer than a file's name may be
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{name!r} is neither a model's name nor an existing file or folder: {reason}") from error
    return path


def known_models() -> tuple[list[ModelEntry], list[Problem]]:
    """Every model by name, embedded first, and a problem for each one that could not be read."""
    plugins, problems = plugin_models()
    entries = [*published_models(), *plugins]
    problems = [*_read_folders(SEARCH_PATH)[1], *problems]
    try:
        entries.insert(0, theatre())
    except ModelError as error:
        problems.insert(0, Problem(error.message, "memflow-cli"))
    return entries, problems


def theatre() -> ModelEntry:
    """The embedded model, described by its own files."""
    if not (THEATRE_FOLDER / "model_index.json").is_file():
        raise ModelError(
            f"theatre's files are missing from this installation: there is no {THEATRE_FOLDER / 'model_index.json'}",
            "install memflow-cli again, or choose another model with --model",
        )
    return replace(folder_model(THEATRE_FOLDER), name=_EMBEDDED)


def published_models() -> tuple[ModelEntry, ...]:
    """The models of the TOML files on the search path, by name."""
    return _read_folders(SEARCH_PATH)[0]


@lru_cache(maxsize=8)
def _read_folders(folders: tuple[Path, ...]) -> tuple[tuple[ModelEntry, ...], tuple[Problem, ...]]:
    entries, problems = {}, []
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        try:
            entry = read_entry(path)
        except ModelError as error:
            problems.append(Problem(error.message, None))
        else:
            entries[entry.name] = entry
    return tuple(entries[name] for name in sorted(entries)), tuple(problems)


def plugin_models() -> tuple[list[ModelEntry], list[Problem]]:
    """Models of other packages: each entry point names a ModelEntry or a function returning one.

    A plug-in that fails, or takes a name that is taken, becomes a problem in the second list; it never raises.
    """
    entries: list[ModelEntry] = []
    problems: list[Problem] = []
    taken = {_EMBEDDED, *(entry.name for entry in published_models())}
    for point in metadata.entry_points(group=PLUGIN_GROUP):
        wrong = None
        try:
            made = point.load()
            entry = made if isinstance(made, ModelEntry) else made()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's code does must not stop the film
            wrong = f"cannot be used: {type(error).__name__}: {error}"
        else:
            if not isinstance(entry, ModelEntry):
                wrong = f"made a {type(entry).__name__}, not a ModelEntry"
            elif entry.name in taken:
                wrong = f"is named {entry.name!r}, which is taken"
        if wrong is None:
            taken.add(entry.name)
            entries.append(entry)
        else:
            package = point.dist.name if point.dist is not None else None
            origin = f"{point.value} of {package}" if package else point.value
            problems.append(Problem(f"plug-in {point.name!r} ({origin}) {wrong}", package))
    return entries, problems


def folder_model(folder: Path) -> ModelEntry:
    """A local folder: a diffusers Wan layout, or a copy of a known model's repository."""
    return describe.folder_model(folder, published_models())


def file_model(path: Path) -> ModelEntry:
    """A local checkpoint file of the Wan 1.3B family; text encoder and VAE stay those of memflow-1.3b."""
    known = next(entry for entry in published_models() if entry.name == _BARE_CHECKPOINT)
    return describe.with_local_files(known, path.stem, path, None)
