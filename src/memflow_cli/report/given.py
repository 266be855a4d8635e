"""Given pictures as a trace keeps them: read as a stranger's."""

import base64
import binascii
import io

import numpy as np
from PIL import Image

from memflow_cli.film.given_picture import GivenPicture

MAX_BYTES, MAX_SIDE = 1 << 20, 2048


def read_given(picture: GivenPicture) -> np.ndarray | None:
    """[height, width, 3] uint8; None for what is not a small JPEG."""
    try:
        content = base64.b64decode(picture.jpeg[: 2 * MAX_BYTES], validate=True)
        if len(content) > MAX_BYTES:
            return None
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if not 0 < max(image.size) <= MAX_SIDE:
                return None
            return np.asarray(image.convert("RGB"))
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
