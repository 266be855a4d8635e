"""A picture that a film starts from: read, turned upright, resized and cropped to the film's size. No torch."""

import hashlib
import stat
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

# What is larger is a mistake, or meant to fill the memory.
MAX_PIXELS = 8192 * 8192
MAX_PICTURE_BYTES = 256 << 20
FORMATS = ("PNG", "JPEG", "WEBP")  # some of Pillow's others start programs

_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    struct.error,
    zlib.error,
)


def load_picture(path: Path, width: int, height: int) -> "np.ndarray":
    """[height, width, 3] uint8: scaled until it covers the film's picture, what stands out is cut off evenly.

    Raises UsageError if there is no such file, or it is no picture.
    """
    import numpy as np  # here, and the next: planning a film without a picture needs neither
    from PIL import Image, ImageOps

    if (problem := _file_problem(path)) is not None:
        raise UsageError(f"cannot read the picture {path}: {problem}")
    Image.MAX_IMAGE_PIXELS = None  # checked here, with a sentence
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UsageError(f"{path}: a picture of {opened.width}x{opened.height} pixels is too large")
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except _BROKEN as error:
        if isinstance(error, OSError) and error.strerror:
            raise UsageError(f"cannot read the picture {path}: {error.strerror}") from error
        raise UsageError(f"{path} is no picture, or a broken one", "PNG, JPEG and WebP work") from error
    behind = Image.new("RGBA", upright.size, "white")
    opaque = Image.alpha_composite(behind, upright).convert("RGB")
    return np.asarray(ImageOps.fit(opaque, (width, height), Image.Resampling.LANCZOS))


def picture_identity(path: str | None) -> str | None:
    """A picture's file and what tells its content from another's, for the film's record."""
    if path is None or _file_problem(Path(path)) is not None:
        return path
    try:
        return f"{path} sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
    except OSError:
        return path


def _file_problem(path: Path) -> str | None:
    """Why this is no file to read a picture from: one that is missing, endless or huge is never opened."""
    try:
        about = path.stat()
    except OSError as error:
        return error.strerror or "no such file"
    if not stat.S_ISREG(about.st_mode):
        return "not a file"
    return f"larger than {MAX_PICTURE_BYTES >> 20} MiB" if about.st_size > MAX_PICTURE_BYTES else None
