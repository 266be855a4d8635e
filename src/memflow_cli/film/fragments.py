"""Frames -> fragmented MP4 in memory: what a browser plays while the film is made. No torch.

An init segment (ftyp, moov), then one fragment (moof, mdat) per call of `write`. Fragments follow one another in time, and
init segment and fragments, joined as bytes, are an MP4 that plays. The film is encoded beside it, with more care.
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from memflow_cli.film.video import Encoder, exact_fps, ticks

_FRAGMENTED = {
    "fflags": "+bitexact",
    "avoid_negative_ts": "disabled",
    "movflags": "+empty_moov+default_base_moof+frag_discont+frag_custom",
}


class FragmentWriter:
    """Encodes each frame as it comes: nothing is held back for the next call."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        self._rate = exact_fps(fps)
        self._shape = (height, width, 3)
        self._num_fragments = 0
        self._num_frames = 0
        self._options = _FRAGMENTED | {"video_track_timescale": str(ticks(self._rate)[0])}
        head = io.BytesIO()
        self._container: Any = av.open(head, "w", format="mp4", container_options=self._options)
        self._encoder = Encoder(self._container, width, height, self._rate, at_once=True)
        self._container.start_encoding()
        self._init_segment = head.getvalue()

    def init_segment(self) -> bytes:
        """What comes before the first fragment, and before every fragment that a player begins with."""
        return self._init_segment

    def write(self, frames: np.ndarray) -> bytes:
        """One fragment. `frames`: [F, height, width, 3] uint8, at least one."""
        assert len(frames) and frames.shape[1:] == self._shape, f"{frames.shape} are not frames of this film"
        packets = [packet for pixels in frames for packet in self._encoder.encode(pixels)]
        assert len(packets) == len(frames), "the encoder holds frames back"
        return self._fragment(packets)

    def close(self) -> None:
        """Lets go of the encoder; every frame has been handed out before."""
        self._container.close()

    def _fragment(self, packets: list[Any]) -> bytes:
        """The packets as moof and mdat: the boxes of a film of their own, without its head and its end."""
        ticks_a_second, ticks_a_frame = ticks(self._rate)
        self._num_fragments += 1
        film = io.BytesIO()
        options = self._options | {"fragment_index": str(self._num_fragments)}
        with av.open(film, "w", format="mp4", container_options=options) as container:
            stream = container.add_stream_from_template(self._encoder.stream)
            for packet in packets:
                packet.stream = stream
                packet.time_base = Fraction(1, ticks_a_second)
                packet.pts = packet.dts = self._num_frames * ticks_a_frame
                packet.duration = ticks_a_frame
                self._num_frames += 1
                container.mux(packet)
        return b"".join(content for name, content in top_boxes(film.getvalue()) if name in (b"moof", b"mdat"))


def top_boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, the whole box) of each box of an MP4 at its outermost level."""
    start = 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 4], "big")
        if size == 1:  # its length is longer than four bytes
            size = int.from_bytes(content[start + 8 : start + 16], "big")
        assert size >= 8, "a box has a head"
        yield content[start + 4 : start + 8], content[start : start + size]
        start += size
