"""What tells a model's weights from others', and where they were: what a film's recipe and record say of its model.

Revisions on the hub, content of local files; large files are told apart by size and time. A file that did not change is
read once a process.
"""

import hashlib
import stat
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

HASHED_BYTES = 256 * 2**20  # local weights up to this size are told apart by content, larger ones by size and time

Identity = dict[str, Any]


class _Repository(Protocol):
    @property
    def repo_id(self) -> str: ...

    @property
    def revision(self) -> str: ...


class _Lora(Protocol):
    @property
    def path(self) -> Path: ...

    @property
    def strength(self) -> float: ...


class _Model(Protocol):
    """What of a `ModelEntry` says which weights it has."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path | None: ...

    @property
    def repositories(self) -> Sequence[_Repository]: ...

    @property
    def transformer_file(self) -> str | None: ...

    @property
    def lora_file(self) -> str | None: ...

    @property
    def loras(self) -> Sequence[_Lora]: ...

    @property
    def given_as(self) -> str: ...


def identity_of(entry: _Model) -> Identity:
    """A model's name and what tells its weights from others: revisions on the hub, content of local files."""
    remote = [f"{repository.repo_id}@{repository.revision}" for repository in entry.repositories]
    strengths = " ".join(str(lora.strength) for lora in entry.loras)
    local = []
    for path in _local_files(entry):
        about = path.stat()
        local.append((path, about.st_size, about.st_mtime_ns))
    return {
        "name": entry.name,
        "files": files_digest(strengths, tuple(local)) if local else None,
        "repositories": remote,
    }


def source_of(entry: _Model, preview_decoder: Path | None = None) -> Identity:
    """Where a model's files were: with its name, what to give on a command line to make the film again."""
    return {
        "path": str(Path(entry.given_as).expanduser().absolute()) if entry.given_as else None,
        "loras": [{"path": str(lora.path.absolute()), "strength": lora.strength} for lora in entry.loras],
        "preview_decoder": preview_decoder and str(preview_decoder.absolute()),
    }


def _local_files(entry: _Model) -> Iterator[Path]:
    if entry.folder is not None:
        yield from sorted(path for path in files_below(entry.folder) if path.suffix in (".safetensors", ".json"))
    for name in (entry.transformer_file, entry.lora_file):
        if name and Path(name).is_absolute():
            yield Path(name)
    yield from (lora.path for lora in entry.loras)


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files of a model's folder and of its components' folders: whatever else lies there is not its own."""
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        try:
            if stat.S_ISREG(path.stat().st_mode):
                yield path
        except OSError:  # a link to nowhere
            continue


@lru_cache(maxsize=64)
def files_digest(strengths: str, files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files with their sizes and times."""
    digest = hashlib.sha256(strengths.encode())
    for path, num_bytes, time in files:
        digest.update(f"{path.name} {num_bytes} ".encode())
        digest.update(path.read_bytes() if num_bytes <= HASHED_BYTES else str(time).encode())
    return digest.hexdigest()[:16]
