"""Fetching what is missing of a model from the hub, and checking what is there.

Tokens, mirrors and offline mode are huggingface_hub's. Where the hub offers a file through Xet and hf-xet is installed, the
library downloads it; else, and where that fails, we do, through a part that outlives the process.
"""

import hashlib
import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memflow_cli.errors import ModelError
from memflow_cli.machine.amounts import size_text
from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.hub import HubFile, cache_folder, hub_files

_READ_SIZE = 1 << 22  # bytes
_SHA256, _GIT_SHA1 = "[0-9a-f]{64}", "[0-9a-f]{40}"  # the hub's ETags of large files and of small ones
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")  # an ETag or a commit that may become a file's name

Progress = Callable[[HubFile, int], None]
"""(file, its bytes that are here now), called often while a file is downloaded."""


def pull(entry: ModelEntry, on_progress: Progress = lambda file, num_bytes: None) -> Iterator[HubFile]:
    """Download what is missing or damaged, a file after the other; yields each when it is here, also those that were before.

    What is here is compared with its checksum, as `verify` does: a flipped byte is mended by the same command as a file that
    is not there. A download that was interrupted, by whatever, goes on where it stopped. Raises ModelError: hub not
    reachable, access refused, file not there, disk full, content not as known.
    """
    files = [replace(file, path=None) if _is_damaged(file) else file for file in hub_files(entry)]
    missing = [file for file in files if file.path is None]
    if missing:
        _check_disk(bytes_to_come(missing))
    for file in files:
        yield file if file.path is not None else replace(file, path=_fetch(file, on_progress))


def _is_damaged(file: HubFile) -> bool:
    """Whether a file is here with content that is not what it should be; it is taken out of the way then."""
    if file.path is None or _look_at(file).problem is None:
        return False
    blob = file.path.resolve()
    if blob.is_file() and blob.is_relative_to(cache_folder().resolve()):  # what lies elsewhere is the user's own
        blob.unlink()
    if file.path.is_file() or file.path.is_symlink():
        file.path.unlink()
    return True


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
    except ValueError as error:  # the library's word for an answer that makes no sense
        raise ModelError(
            f"the hub's answer for {where} is refused: {_first_line(error)}", "check HF_ENDPOINT"
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
    for name in (about.etag, about.commit_hash or "main"):
        if not _NAME.fullmatch(name) or name.endswith("."):
            raise ValueError(f"{name[:80]!r} is not the name of a version")
    if about.xet_file_data is not None and (fetched := _fetch_by_xet(file, on_progress)) is not None:
        return fetched
    blob = cache_folder() / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs" / about.etag
    part = blob.with_name(f"{about.etag}.part")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        if not blob.exists():
            if os.path.lexists(part) and not stat.S_ISREG(part.lstat().st_mode):
                raise OSError(f"{part} is in its way, and is not a file")
            here = part.stat().st_size if part.exists() else 0
            if about.size is not None and here > about.size:
                part.unlink()
                here = 0
            with open(part, "ab") as content:
                listener = _listener(file, here, on_progress)
                headers = build_hf_headers()
                http_get(url, content, resume_size=here, headers=headers, expected_size=about.size, tqdm_class=listener)
            expected = file.file.sha256 or (about.etag if re.fullmatch(_SHA256, about.etag) else None)
            if expected is not None and _sha256(part) != expected:
                part.unlink()
                raise OSError("its checksum is not the one that it should have; it was thrown away")
            os.replace(part, blob)
    Path(f"{part}.lock").unlink(missing_ok=True)
    return _inside(Path(hf_hub_download(repo_id, path, revision=revision)))


def _fetch_by_xet(file: HubFile, on_progress: Progress) -> Path | None:
    """The library's own download, in pieces that it shares between files; None where it cannot."""
    if find_spec("hf_xet") is None:
        return None
    from huggingface_hub import hf_hub_download

    listener = _listener(file, 0, on_progress)
    try:
        path = Path(
            hf_hub_download(
                file.repository.repo_id, file.file.path, revision=file.repository.revision, tqdm_class=listener
            )
        )
    except (OSError, ValueError, RuntimeError):  # what the hub says of it, our own way is told too
        return None
    fetched = replace(file, path=_inside(path))
    return None if _is_damaged(fetched) else fetched.path


def _inside(path: Path) -> Path:
    """The path itself. Raises ValueError for one outside the cache: a server names folders."""
    if ".." in path.parts or not path.is_relative_to(cache_folder()):
        raise ValueError(f"it would lie in {path}")
    return path


def bytes_to_come(missing: Sequence[HubFile]) -> int:
    """What of these files is still to be downloaded: what an interrupted download has left is here."""
    from huggingface_hub.file_download import repo_folder_name

    wanted: Counter[str] = Counter()
    for file in missing:
        wanted[file.repository.repo_id] += file.file.num_bytes
    for repo_id in wanted:
        blobs = cache_folder() / repo_folder_name(repo_id=repo_id, repo_type="model") / "blobs"
        wanted[repo_id] -= min(wanted[repo_id], sum(part.stat().st_size for part in blobs.glob("*.part")))
    return wanted.total()


def _check_disk(num_bytes: int) -> None:
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise ModelError(
            f"{folder} has {size_text(free)} free, and the download needs {size_text(num_bytes)}",
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
    yield from map(_look_at, hub_files(entry))


def _look_at(file: HubFile) -> Verdict:
    if file.path is None:
        return Verdict(file, "is not downloaded")
    if not file.path.is_file():
        return Verdict(file, "is not a file")
    size, known = file.path.stat().st_size, file.file.sha256
    sent = file.path.resolve().name  # in the hub's cache a file is named by its checksum
    if known is not None and size != file.file.num_bytes:
        return Verdict(file, f"has {size} bytes, not {file.file.num_bytes}")
    is_git = known is None and re.fullmatch(_GIT_SHA1, sent) is not None
    expected = known or (sent if is_git or re.fullmatch(_SHA256, sent) else None)
    unchecked = None if known else _unchecked(file, is_as_sent=expected is not None)
    if expected is not None:
        digest = _git_sha1(file.path) if is_git else _sha256(file.path)
        if digest != expected:
            return Verdict(file, f"has checksum {digest[:12]}..., not {expected[:12]}...", unchecked)
    return Verdict(file, None, unchecked)


def _unchecked(file: HubFile, is_as_sent: bool) -> str:
    """What cannot be said of a file whose checksum the catalog does not know."""
    assert file.path is not None, "only a file that is here has content"
    parts = file.path.parts
    commit = parts[parts.index("snapshots") + 1][:12] if "snapshots" in parts[:-1] else "an unknown commit"
    content = "it is what the hub sent" if is_as_sent else "its content was compared with nothing"
    return f"no published checksum is known, nor which commit was tested (here: {commit}); {content}"


def _sha256(path: Path) -> str:
    return _digest(path, hashlib.sha256())


def _git_sha1(path: Path) -> str:
    """What git, and so the hub, calls a small file."""
    return _digest(path, hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False))


def _digest(path: Path, digest: Any) -> str:
    with open(path, "rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return str(digest.hexdigest())


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
