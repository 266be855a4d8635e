"""A model's files on this machine: where they are, fetching what is missing, checking what is there.

Files from the hub lie in huggingface_hub's own cache (HF_HOME); tokens, mirrors and offline mode are the library's.
Nothing here imports torch; nothing but `pull` touches the network.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memflow_cli.errors import ModelError
from memflow_cli.models.entry import Component, ModelEntry, RemoteFile, Repository

_READ_SIZE = 1 << 22  # bytes
_SHA256_DIGITS = 64  # the hub's ETag of a large file is its checksum


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


Progress = Callable[[HubFile, int], None]
"""(file, its bytes that are here now), called often while a file is downloaded."""


def pull(entry: ModelEntry, on_progress: Progress = lambda file, num_bytes: None) -> Iterator[HubFile]:
    """Download what is missing, a file after the other; yields each when it is here, also those that were before.

    A download that was interrupted, by whatever, goes on where it stopped. Raises ModelError: hub not reachable, access
    refused, file not there, disk full, content not as known.
    """
    files = hub_files(entry)
    missing = [file for file in files if file.path is None]
    if missing:
        _check_disk(sum(file.file.num_bytes for file in missing))
    for file in files:
        yield file if file.path is not None else replace(file, path=_fetch(file, on_progress))


def cache_folder() -> Path:
    """Where huggingface_hub keeps its files: HF_HUB_CACHE, or hub/ in HF_HOME."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _fetch(file: HubFile, on_progress: Progress) -> Path:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    where = f"{file.repository.repo_id}/{file.file.path}"
    kept = "what is downloaded already is kept; the same command goes on from there"
    try:
        return _download(file, on_progress)
    except OfflineModeIsEnabled as error:
        raise ModelError(f"cannot download {where}: offline mode is on", "unset HF_HUB_OFFLINE") from error
    except HfHubHTTPError as error:
        hint = "it may need a token: set HF_TOKEN" if error.response.status_code in (401, 403) else kept
        raise ModelError(f"the hub has no {where} for us: {_first_line(error)}", hint) from error
    except HTTPError as error:
        raise ModelError(
            f"cannot reach the hub for {where}: {_first_line(error)}", f"check HF_ENDPOINT; {kept}"
        ) from error
    except OSError as error:
        raise ModelError(f"cannot download {where}: {error.strerror or _first_line(error)}", kept) from error


def _download(file: HubFile, on_progress: Progress) -> Path:
    """Fetch a file into the hub's cache, through a part that outlives the process: the library itself begins anew."""
    from filelock import FileLock
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import http_get, repo_folder_name
    from huggingface_hub.utils import build_hf_headers

    repo_id, path, revision = file.repository.repo_id, file.file.path, file.repository.revision
    url = hf_hub_url(repo_id, path, revision=revision)
    about = get_hf_file_metadata(url)
    if about.etag is None:
        raise OSError("the server names no ETag, so that nothing tells one version of the file from another")
    blob = cache_folder() / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs" / about.etag
    part = blob.with_name(f"{about.etag}.part")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        if not blob.exists():
            here = part.stat().st_size if part.exists() else 0
            if about.size is not None and here > about.size:
                part.unlink()
                here = 0
            with open(part, "ab") as content:
                listener = _listener(file, here, on_progress)
                headers = build_hf_headers()
                http_get(url, content, resume_size=here, headers=headers, expected_size=about.size, tqdm_class=listener)
            expected = file.file.sha256 or (about.etag if _is_sha256(about.etag) else None)
            if expected is not None and _sha256(part) != expected:
                part.unlink()
                raise OSError("its checksum is not the one that it should have; it was thrown away")
            os.replace(part, blob)
    Path(f"{part}.lock").unlink(missing_ok=True)
    return Path(hf_hub_download(repo_id, path, revision=revision))


def _check_disk(num_bytes: int) -> None:
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise ModelError(
            f"{folder} has {free / 1e9:.1f} GB free, and the download needs {num_bytes / 1e9:.1f} GB",
            "free some space, or set HF_HOME to a folder on a larger disk",
        )


@dataclass(frozen=True)
class Verdict:
    """On a file from the hub. `problem`: what is wrong with it; `unchecked`: what there was nothing to compare with."""

    file: HubFile
    problem: str | None = None
    unchecked: str | None = None


def verify(entry: ModelEntry) -> Iterator[Verdict]:
    """Each file of a model from the hub, its size and content compared with what the catalog knows of it.

    A file whose checksum the catalog does not know is compared with the one that the hub named when it was downloaded.
    """
    for file in hub_files(entry):
        if file.path is None:
            yield Verdict(file, "is not downloaded")
            continue
        size = file.path.stat().st_size
        known = file.file.sha256
        sent = file.path.resolve().name  # in the hub's cache a large file is named by its checksum
        if known is not None and size != file.file.num_bytes:
            yield Verdict(file, f"has {size} bytes, not {file.file.num_bytes}")
            continue
        unchecked = None if known else _unchecked(file, is_as_sent=_is_sha256(sent))
        expected = known or (sent if _is_sha256(sent) else None)
        problem = None
        if expected is not None and (digest := _sha256(file.path)) != expected:
            problem = f"has checksum {digest[:12]}..., not {expected[:12]}..."
        yield Verdict(file, problem, unchecked)


def _unchecked(file: HubFile, is_as_sent: bool) -> str:
    """What cannot be said of a file whose checksum the catalog does not know."""
    assert file.path is not None, "only a file that is here has content"
    parts = file.path.parts
    commit = parts[parts.index("snapshots") + 1][:12] if "snapshots" in parts[:-1] else "an unknown commit"
    content = "it is what the hub sent" if is_as_sent else "its content was compared with nothing"
    return f"no published checksum is known, nor which commit was tested (here: {commit}); {content}"


def _is_sha256(text: str) -> bool:
    return re.fullmatch(f"[0-9a-f]{{{_SHA256_DIGITS}}}", text) is not None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()


def _listener(file: HubFile, here: int, on_progress: Progress) -> Any:
    """A class in tqdm's manner, as huggingface_hub wants it, that reports instead of drawing."""
    from huggingface_hub.utils import tqdm

    class Listener(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})
            self.here = here

        def update(self, n: float | None = 1) -> None:
            self.here += int(n or 0)
            on_progress(file, self.here)

    return Listener


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
