"""MP4 -> frames: what a film holds, and single frames by their number. No torch."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import av
import imageio.v3 as imageio
import numpy as np

from memflow_cli.errors import MemflowError
from memflow_cli.film.video import said

# Frames decoded on the way to the next wanted one, rather than looking for a keyframe behind the frames in between.
MAX_SKIPPED = 32
_AS_MP4: dict[str, Any] = {
    "format": "mp4",
    "metadata_errors": "replace",
}  # never a list or a page that names other files


@dataclass(frozen=True)
class VideoInfo:
    codec: str
    width: int
    height: int
    num_frames: int
    seconds: float

    @property
    def fps(self) -> float:
        return self.num_frames / self.seconds if self.seconds else 0.0


def probe(path: Path) -> VideoInfo:
    """Counts a video's frames exactly, without decoding them. Raises MemflowError if there is no picture in it."""
    num_frames, end = 0, 0
    with _sentences(path), _opened(path) as file, av.open(file, **_AS_MP4) as container:
        if not container.streams.video:
            raise MemflowError(f"{path} cannot be read as a video: there is no picture in it")
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.size:
                num_frames += 1
                end = max(end, (packet.pts or 0) + (packet.duration or 0))
        context = stream.codec_context
        if not num_frames or not context.width:
            raise MemflowError(f"{path} cannot be read as a video: there is no picture in it")
        seconds = float(end * stream.time_base)
        return VideoInfo(context.name, context.width, context.height, num_frames, seconds)


def read_metadata(path: Path) -> dict[str, str]:
    """What the film says of itself: title, description, comment. Raises MemflowError."""
    with _sentences(path), _opened(path) as file, av.open(file, **_AS_MP4) as container:
        return {str(key).lower(): str(value) for key, value in container.metadata.items()}


def read_frames(path: Path, indices: Sequence[int], info: VideoInfo | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, frame) for the wanted frame numbers, in film order, each once; frame: [height, width, 3] uint8.

    Decodes only around the wanted frames, and holds one frame at a time.
    """
    info = info or probe(path)
    wanted = sorted(set(indices))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < info.num_frames:
        missing = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise MemflowError(f"{path} has {info.num_frames} frames; there is no frame {missing}")
    with _sentences(path), _opened(path) as file, imageio.imopen(file, "r", plugin="pyav", **_AS_MP4) as video:
        reached = 0
        for index in wanted:
            if index - reached <= MAX_SKIPPED:
                for skipped in range(reached, index):
                    video.read(index=skipped)
            frame = np.array(video.read(index=index))
            reached = index + 1
            yield index, frame


def _opened(path: Path) -> IO[bytes]:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise MemflowError(f"{path} cannot be read as a video: it is not a file")
    return path.open("rb")


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError, StopIteration, RuntimeError) as error:
        raise MemflowError(f"{path} cannot be read as a video: {said(error) or 'it ends early'}") from error
