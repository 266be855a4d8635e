"""Frames for a browser: each run of them becomes a fragmented MP4 of its own, which a MediaSource takes in at once."""

import io
from fractions import Fraction

import av
import numpy as np

_QUALITY = {"preset": "veryfast", "tune": "zerolatency", "crf": "20", "profile": "main", "x264-params": "threads=1"}


def encode_fragment(frames: np.ndarray, fps: int) -> bytes:
    """Frames [F, height, width, 3] uint8 -> H.264 in a fragmented MP4: its head, one fragment, from time 0 on."""
    target = io.BytesIO()
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(target, "w", format="mp4", options=flags) as container:
        stream = container.add_stream("libx264", rate=fps, options=dict(_QUALITY))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = len(frames)
        stream.codec_context.time_base = Fraction(1, fps)
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return target.getvalue()


def mime_type(fragment: bytes) -> str:
    """What a MediaSource is told of it: profile and level as the fragment's own head has them."""
    place = fragment.find(b"avcC")
    assert place > 0, "a fragment has a head"
    return f'video/mp4; codecs="avc1.{fragment[place + 5 : place + 8].hex()}"'
