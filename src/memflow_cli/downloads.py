"""A model's files on this machine: where they are, fetching what is missing, checking what is there.

Files from the hub lie in huggingface_hub's own cache (HF_HOME), whose resume, tokens and mirrors are the library's.
Nothing here imports torch; nothing but `pull` touches the network.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memflow_cli.catalog import Component, ModelEntry, RemoteFile, Repository
from memflow_cli.errors import ModelError

_READ_SIZE = 1 << 22  # bytes


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
            f"({size / 1e9:.1f} GB)",
            f"memflow models pull {entry.name}",
        )
    folders = {component: _component_folder(entry, component, files) for component in _COMPONENTS}
    for component, folder in folders.items():
        if folder is None or not folder.exists():
            raise ModelError(f"the model {entry.name} has no {component}: there is no {folder or 'source for it'}")
    transformer, text_encoder, tokenizer, vae = (folders[component] for component in _COMPONENTS)
    assert transformer and text_encoder and tokenizer and vae, "checked above"
    return ModelFiles(transformer, _named_file(entry.lora_file, files), text_encoder, tokenizer, vae)


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


Progress = Callable[[RemoteFile, int], None]
"""(file, its bytes that are here now), called often while a file is downloaded."""


def pull(entry: ModelEntry, on_progress: Progress | None = None) -> list[Path]:
    """Download what is missing; a download that was interrupted goes on where it stopped. Returns every file's path.

    Raises ModelError: hub not reachable, access refused, file not there, disk full.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    paths = []
    for file in hub_files(entry):
        repository = file.repository
        where = f"{repository.repo_id}/{file.file.path}"
        try:
            path = hf_hub_download(
                repository.repo_id,
                file.file.path,
                revision=repository.revision,
                tqdm_class=_listener(file.file, on_progress),
            )
        except LocalEntryNotFoundError as error:
            raise ModelError(
                f"cannot reach the hub for {where}",
                "check the network, HF_ENDPOINT and HF_HUB_OFFLINE; what is downloaded already is kept",
            ) from error
        except HfHubHTTPError as error:
            raise ModelError(
                f"the hub refuses {where}: {_first_line(error)}", "does it need a token (HF_TOKEN)?"
            ) from error
        except OSError as error:
            raise ModelError(
                f"cannot download {where}: {_first_line(error)}", "what is downloaded already is kept"
            ) from error
        paths.append(Path(path))
    return paths


def verify(entry: ModelEntry) -> Iterator[tuple[HubFile, str | None]]:
    """Each file of a model from the hub, and what is wrong with it: None if its size and checksum are as known."""
    for file in hub_files(entry):
        if file.path is None:
            yield file, "is not downloaded"
            continue
        size = file.path.stat().st_size
        if file.file.sha256 is None:
            yield file, None
        elif size != file.file.num_bytes:
            yield file, f"has {size} bytes, not {file.file.num_bytes}"
        else:
            digest = _sha256(file.path)
            yield (
                file,
                None
                if digest == file.file.sha256
                else f"has checksum {digest[:12]}..., not {file.file.sha256[:12]}...",
            )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()


def _listener(file: RemoteFile, on_progress: Progress | None) -> Any:
    """A class in tqdm's manner, as huggingface_hub wants it, that reports instead of drawing."""
    from huggingface_hub.utils import tqdm

    class Listener(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})
            self.here = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.here += int(n or 0)
            if on_progress is not None:
                on_progress(file, self.here)

    return Listener


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
