"""A picture that a film starts from: read, turned upright, resized and cropped to the film's size. No torch."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

MAX_PIXELS = 200_000_000  # what is larger is a mistake, or meant to fill the memory


def load_picture(path: Path, width: int, height: int) -> "np.ndarray":
    """[height, width, 3] uint8: scaled until it covers the film's picture, what stands out is cut off evenly.

    Raises UsageError if there is no such file, or it is no picture.
    """
    import numpy as np  # here, and the next: planning a film without a picture needs neither
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # checked here, with a sentence
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise UsageError(f"{path}: a picture of {opened.width}x{opened.height} pixels is too large")
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except OSError as error:
        if error.strerror:
            raise UsageError(f"cannot read the picture {path}: {error.strerror}") from error
        raise UsageError(f"{path} is no picture, or a broken one", "PNG, JPEG and WebP work") from error
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is no picture, or a broken one", "PNG, JPEG and WebP work") from error
    behind = Image.new("RGBA", upright.size, "white")
    opaque = Image.alpha_composite(behind, upright).convert("RGB")
    return np.asarray(ImageOps.fit(opaque, (width, height), Image.Resampling.LANCZOS))


def picture_identity(path: str | None) -> str | None:
    """A picture's file and what tells its content from another's, for the film's record."""
    if path is None:
        return None
    try:
        return f"{path} sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
    except OSError:
        return path
