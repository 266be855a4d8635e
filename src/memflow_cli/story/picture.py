"""A picture that somebody gives, of a film's start or of a character: read, turned upright, fitted to the film's size.

The one room for all of them. The file is a stranger's: nothing is decoded before its format and its sides are known to be
sensible. Transparency lies on white, of an animation the first picture counts, 16-bit grey keeps its upper 8 bits. No torch.
"""

import hashlib
import stat
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

# What is larger is a mistake, or meant to fill the memory.
MAX_SIDE = 16_384
MAX_PIXELS = 8192 * 8192
MAX_PICTURE_BYTES = 256 << 20
MAX_ASPECT = 64  # longer side over shorter
FORMATS = ("PNG", "JPEG", "WEBP")  # some of Pillow's others start programs
_LARGE_PIXELS = 16 << 20
_MAX_CHUNKS = 100_000
_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")

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

    Raises UsageError if there is no such file, or it is not a picture.
    """
    import numpy as np  # here, and the next: planning a film without a picture needs neither
    from PIL import Image, ImageOps

    check_picture_file(path)
    _check_chunks(path)
    Image.MAX_IMAGE_PIXELS = None  # checked here, with a sentence
    try:
        with Image.open(path, formats=FORMATS) as opened:
            _check_sides(path, opened.width, opened.height)
            upright = _opaque(ImageOps.exif_transpose(_made_smaller(opened, max(width, height))))
    except _BROKEN as error:
        if isinstance(error, OSError) and error.strerror:
            raise UsageError(f"cannot read the picture {path}: {error.strerror}") from error
        if not _is_one_of_ours(path):
            raise UsageError(f"{path} is no PNG, JPEG or WebP", "save the picture as one of them") from error
        raise UsageError(f"{path} is not a picture, or a broken one") from error
    return np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS))


def check_picture_file(path: Path) -> None:
    """Raises UsageError unless there is a regular file of sensible size. Nothing of it is read."""
    if (problem := _file_problem(path)) is not None:
        raise UsageError(f"cannot read the picture {path}: {problem}")


def picture_identity(path: str | None) -> str | None:
    """A picture's name and what tells its content from another's, for the film's record. Without the latter, it cannot be
    read.
    """
    if path is None:
        return None
    name = Path(path).name
    if _file_problem(Path(path)) is not None:
        return name
    try:
        return f"{name} sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
    except OSError:
        return name


def _check_sides(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UsageError(f"{path}: a picture of {width}x{height} pixels shows nothing")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} pixels are read"
        raise UsageError(f"{path}: a picture of {width}x{height} pixels is too large; {limit}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UsageError(f"{path}: a picture of {width}x{height} pixels is a line; it cannot fill a film's picture")


def _check_chunks(path: Path) -> None:
    """Raises UsageError for a PNG of so many chunks that reading their names alone would take minutes."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return
        for _ in range(_MAX_CHUNKS):
            header = file.read(8)
            if len(header) < 8 or header[4:] == b"IEND":
                return
            file.seek(int.from_bytes(header[:4], "big") + 4, 1)
    raise UsageError(f"{path}: more than {_MAX_CHUNKS:,} chunks; that is not a picture")


def _is_one_of_ours(path: Path) -> bool:
    """Whether it begins as one of `FORMATS`."""
    with path.open("rb") as file:
        begin = file.read(12)
    return begin.startswith((b"\x89PNG", b"\xff\xd8\xff")) or (begin[:4] == b"RIFF" and begin[8:] == b"WEBP")


def _made_smaller(picture: Any, needed: int) -> Any:
    """A picture whose pixels would fill the memory, shrunk to no less than twice what is needed in either direction."""
    if picture.width * picture.height <= _LARGE_PIXELS:
        return picture
    picture.draft(None, (2 * needed, 2 * needed))  # which only JPEG can, while it decodes
    factor = min(picture.width, picture.height) // (2 * needed)
    if factor < 2 or picture.mode not in ("L", "RGB", "RGBA"):
        return picture
    smaller = picture.reduce(factor)
    smaller.info = picture.info  # how it is to be turned stands there
    return smaller


def _opaque(picture: Any) -> Any:
    """Any of Pillow's modes -> RGB."""
    from PIL import Image

    if picture.mode in _DEEP_GREY:
        return _upper_bits(picture).convert("RGB")
    if picture.mode in ("RGB", "L", "1", "CMYK", "YCbCr") and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    behind = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(behind, picture).convert("RGB")


def _upper_bits(picture: Any) -> Any:
    """16-bit grey -> 8 bits, where a conversion of Pillow's clips at 255."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.int64)
    return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8))


def _file_problem(path: Path) -> str | None:
    """Why this is not a file to read a picture from: one that is missing, endless or huge is never opened."""
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        return (isinstance(error, OSError) and error.strerror) or "no such file"
    if not stat.S_ISREG(about.st_mode):
        return "not a file"
    return f"larger than {MAX_PICTURE_BYTES >> 20} MiB" if about.st_size > MAX_PICTURE_BYTES else None
