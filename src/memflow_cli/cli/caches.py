"""Where what may be kept between runs is kept: below the user's cache folder, if there is one."""

import os
import tempfile
from pathlib import Path


def cache_folder(kind: str) -> Path | None:
    """`$XDG_CACHE_HOME/memflow/KIND`, or below the home folder. None: this user has neither, and films do without."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the standard says that another counts as unset
        return Path(named) / "memflow" / kind
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user that the system does not know
        return None
    return home / ".cache" / "memflow" / kind


def writable_cache_folder(kind: str) -> Path:
    """The cache folder, made if need be; one for temporary files where that cannot be."""
    folder = cache_folder(kind)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            pass
    return Path(tempfile.mkdtemp(prefix=f"memflow-{kind}-"))
