"""A model's files on this machine: where they are.

Files from the hub lie in huggingface_hub's own cache (HF_HOME). Nothing here imports torch or touches the network:
download.py does.
"""

from dataclasses import dataclass
from pathlib import Path

from memflow_cli.errors import ModelError
from memflow_cli.machine.amounts import size_text
from memflow_cli.models.entry import Component, ModelEntry, RemoteFile, Repository


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's components are: a checkpoint file or a folder for the transformer, folders for the others."""

    transformer: Path
    lora: Path | None
    text_encoder: Path
    tokenizer: Path
    vae: Path


@dataclass(frozen=True)
class HubFile:
    """A file that a model takes from the hub; `path` is None while it is not downloaded."""

    repository: Repository
    file: RemoteFile
    path: Path | None


def hub_files(entry: ModelEntry) -> list[HubFile]:
    """Every file that a model takes from the hub, in the catalog's order."""
    if not entry.repositories:
        return []
    from huggingface_hub import try_to_load_from_cache  # here: slow to import, and theatre does without

    found = []
    for repository in entry.repositories:
        for file in repository.files:
            path = try_to_load_from_cache(repository.repo_id, file.path, revision=repository.revision)
            found.append(HubFile(repository, file, Path(path) if isinstance(path, str) else None))
    return found


def missing_bytes(entry: ModelEntry) -> int:
    """What is still to download."""
    return sum(file.file.num_bytes for file in hub_files(entry) if file.path is None)


def locate(entry: ModelEntry) -> ModelFiles:
    """Where each component is. Raises ModelError, with the command that repairs it, if something is not here."""
    files = hub_files(entry)
    missing = [file for file in files if file.path is None]
    if missing:
        size = sum(file.file.num_bytes for file in missing)
        raise ModelError(
            f"the model {entry.name} is not downloaded: {len(missing)} of {len(files)} files are missing "
            f"({size_text(size)})",
            f"memflow models pull {entry.address}",
        )
    folders = {component: _component_folder(entry, component, files) for component in _COMPONENTS}
    for component, folder in folders.items():
        if folder is None or not folder.exists():
            raise ModelError(f"the model {entry.name} has no {component}: there is no {folder or 'source for it'}")
    transformer, text_encoder, tokenizer, vae = (folders[component] for component in _COMPONENTS)
    assert transformer and text_encoder and tokenizer and vae, "checked above"
    return ModelFiles(transformer, _named_file(entry.lora_file, files), text_encoder, tokenizer, vae)


def tokenizer_folder(entry: ModelEntry) -> Path | None:
    """Where the tokenizer is, whatever else is missing; None if it is not here."""
    folder = _component_folder(entry, "tokenizer", hub_files(entry))
    return folder if folder is not None and (folder / "tokenizer.json").is_file() else None


_COMPONENTS: tuple[Component, ...] = ("transformer", "text_encoder", "tokenizer", "vae")


def _component_folder(entry: ModelEntry, component: Component, files: list[HubFile]) -> Path | None:
    if component == "transformer" and entry.transformer_file:
        return _named_file(entry.transformer_file, files)
    if entry.folder is not None and ((entry.folder / component).is_dir() or not files):
        return entry.folder / component
    for file in files:
        if component in file.repository.components and file.file.path.startswith(f"{component}/") and file.path:
            return file.path.parent
    return None


def _named_file(name: str | None, files: list[HubFile]) -> Path | None:
    """A catalog path or an absolute one -> where the file is."""
    if name is None:
        return None
    return next((file.path for file in files if file.file.path == name), Path(name))


def cache_folder() -> Path:
    """Where huggingface_hub keeps its files: HF_HUB_CACHE, or hub/ in HF_HOME."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)
