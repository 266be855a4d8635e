"""Frames -> MP4: the encoder, and the part file of a segment. No torch.

H.264 in BT.709 and limited range, said in the stream and in the container. No B-frames: decoding order is showing order,
every frame lasts the same number of ticks, so parts can be joined packet by packet and a frame has an exact number. One
encoder thread, conversions that do not depend on the CPU, and no macroblock tree, whose vector code gives other numbers on
other CPUs and, for small pictures, from one call to the next: the same frames are the same bytes, on any number of cores.
Everything runs in this process, on the libraries that PyAV brings along; no ffmpeg command is needed.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.film.durable import rename_through

CODEC = "h264"  # of the films
KEYFRAME_SECONDS = 2  # a player seeks to any time by decoding at most this much
QUEUED_WRITES = 2  # calls of PartWriter.write that may wait for the encoder; the next one blocks
STALLED_SECONDS = 60  # without one frame encoded: longer than any frame takes, so the disk does not answer
PATIENCE_SECONDS = 5  # with an encoder that is to end
MIN_TICKS_A_SECOND = 10_000

ENCODING = 3  # what a part was encoded with; another number wherever parts of both kinds cannot be joined
BT709 = 1  # the number of its primaries, transfer and matrix in ITU-T H.273
LIMITED_RANGE = 1  # black is 16, white 235: what AVColorRange calls MPEG
_H264 = {"preset": "fast", "crf": "18", "bf": "0", "threads": "1", "mbtree": "0", "flags": "+bitexact"}
_AT_ONCE = {  # for a page: a frame comes out as it goes in, at a third of the work; films look two seconds ahead
    "preset": "veryfast",
    "x264-params": "rc-lookahead=0:force-cfr=1",
}
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


def exact_fps(fps: float) -> Fraction:
    """Frames a second as MP4 holds them. 23.976, 29.97, 59.94 are the broadcast rates n * 1000/1001."""
    nearest = round(fps * 1.001)
    if fps != round(fps) and abs(fps - nearest / 1.001) < 0.005:
        return Fraction(nearest * 1000, 1001)
    return Fraction(fps).limit_denominator(1000)


def ticks(rate: Fraction) -> tuple[int, int]:
    """Ticks a second and ticks a frame of a film's MP4 clock: whole numbers, fine enough for players."""
    fold = -(-MIN_TICKS_A_SECOND // rate.numerator)
    return rate.numerator * fold, rate.denominator * fold


def file_url(path: Path) -> str:
    """A path that the MP4 library takes as a plain file, whatever characters are in it.

    A relative one stays so: the folders above the current one may be closed to this user.
    """
    return f"file:{path}"


def said(error: BaseException) -> str:
    """What an error of the disk or of the video libraries says."""
    return str(getattr(error, "strerror", None) or error)


class Encoder:
    """Frames -> packets of one H.264 stream of `container`, an MP4 that is being written.

    `at_once`: every frame comes out as it goes in, for a live view; else the encoder looks ahead, which spends bits better.
    """

    def __init__(self, container: Any, width: int, height: int, rate: Fraction, at_once: bool = False) -> None:
        options = _H264 | {"g": str(max(1, round(KEYFRAME_SECONDS * rate)))} | (_AT_ONCE if at_once else {})
        self.stream = container.add_stream("libx264", rate, options=options, width=width, height=height)
        context = self.stream.codec_context
        context.pix_fmt = "yuv420p"
        context.thread_count = 1
        context.time_base = 1 / rate
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED_RANGE
        self._to_yuv = VideoReformatter()
        self._num_frames = 0

    def encode(self, pixels: np.ndarray) -> list[Any]:
        """`pixels`: one frame [height, width, 3] uint8."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        yuv = self._to_yuv.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=BT709,
            dst_color_range=LIMITED_RANGE,
            interpolation=_EXACT,
            threads=1,
        )
        yuv.pts = self._num_frames
        yuv.time_base = self.stream.codec_context.time_base
        self._num_frames += 1
        return list(self.stream.encode(yuv))

    def flush(self) -> list[Any]:
        """The packets still to come, after the last frame."""
        return list(self.stream.encode(None))


class PartWriter:
    """Encodes frames to one MP4 file while they are made; the file appears under its name when it is closed and complete.

    Encoding runs beside the caller: `write` returns as soon as the frames are queued, and blocks when the encoder is two
    calls behind. Whatever goes wrong in the encoder is raised by the next `write` or by `close`.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self.path = path
        self.num_frames = 0
        self._num_encoded = 0
        self._shape = (height, width, 3)
        self._rate = exact_fps(fps)
        self._unfinished = path.with_name(path.name + ".unfinished")
        self._failure: str | None = "it ended early"  # until the encoder's thread knows better
        self._is_failing = threading.Event()  # set: what is still queued is not encoded any more
        self._is_killed = threading.Event()  # set: nobody waits for the encoder any more
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(QUEUED_WRITES)
        self._thread = threading.Thread(target=self._run, name=f"encoder of {path.name}", daemon=True)
        self._thread.start()

    def write(self, frames: np.ndarray) -> None:
        """`frames`: [F, height, width, 3] uint8; not to be changed afterwards."""
        assert frames.dtype == np.uint8 and frames.shape[1:] == self._shape, (
            f"{frames.dtype} {frames.shape} are not frames"
        )
        if self._is_failing.is_set():
            self._raise_failure()
        self._while_it_gets_on(lambda seconds: _put(self._queue, frames, seconds))
        self.num_frames += len(frames)

    def close(self) -> None:
        """Waits for the encoder, writes the file through to the disk and gives it its name."""
        if self._thread.is_alive():
            self._while_it_gets_on(lambda seconds: _put(self._queue, None, seconds))
        self._while_it_gets_on(lambda seconds: _join(self._thread, seconds))
        if self._failure is not None:
            self._unfinished.unlink(missing_ok=True)
            self._raise_failure()
        if not self.num_frames:
            self._unfinished.unlink(missing_ok=True)
            raise MemflowError(f"no frame was made for {self.path}")
        rename_through(self._unfinished, self.path)

    def kill(self) -> None:
        """Ends the encoder: a `write` or `close` that waits for it fails. From any thread; `abort` is still to come."""
        self._is_failing.set()
        self._is_killed.set()

    def abort(self) -> None:
        """Stops at once and leaves nothing behind, unless the disk hangs."""
        self.kill()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        _put(self._queue, None, PATIENCE_SECONDS)
        self._thread.join(PATIENCE_SECONDS)
        self._unfinished.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _while_it_gets_on(self, done: Callable[[float], bool]) -> None:
        """Waits until `done`, asked for a second at a time. Raises MemflowError if the encoder stands still: the disk hangs."""
        idle, reached = 0, self._num_encoded
        while not done(1.0):
            if self._is_killed.is_set():
                self._raise_failure()
            idle = idle + 1 if self._num_encoded == reached else 0
            reached = self._num_encoded
            if idle >= STALLED_SECONDS:
                self._failure = f"nothing could be written for {idle} seconds"
                self._raise_failure()

    def _run(self) -> None:
        """The encoder's thread. After a failure it keeps emptying the queue, so that the caller never blocks for good."""
        queued = self._queued()
        try:
            self._encode(queued)
        except (OSError, av.FFmpegError) as error:
            self._failure = said(error)
        finally:
            self._is_failing.set()
            for _ in queued:
                pass

    def _queued(self) -> Iterator[np.ndarray]:
        while (frames := self._queue.get()) is not None:
            yield frames

    def _encode(self, queued: Iterator[np.ndarray]) -> None:
        self._unfinished.unlink(missing_ok=True)
        with contextlib.ExitStack() as stack:
            container = open_mp4(self._unfinished, ticks(self._rate)[0])
            stack.push(lambda kind, error, trace: _close(container, quietly=kind is not None))
            encoder = Encoder(container, self._shape[1], self._shape[0], self._rate)
            for frames in queued:
                for pixels in frames:
                    if self._is_failing.is_set():
                        return
                    container.mux(encoder.encode(pixels))
                    self._num_encoded += 1
            container.mux(encoder.flush())
        self._failure = None

    def _raise_failure(self) -> None:
        raise MemflowError(f"the encoder failed on {self.path}: {self._failure}", KEPT)


def open_mp4(path: Path, ticks_a_second: int, **options: str) -> Any:
    """An MP4 to write; nothing in it depends on when, or by which version of the libraries, it was written."""
    timescale = {"video_track_timescale": str(ticks_a_second)}
    return av.open(file_url(path), "w", format="mp4", container_options={"fflags": "+bitexact"} | timescale | options)


def _close(container: Any, quietly: bool) -> None:
    """Closing writes what is still missing; `quietly` after an error, which is the one to be told."""
    with contextlib.suppress(*((OSError, av.FFmpegError) if quietly else ())):
        container.close()


def _put(target: queue.Queue[np.ndarray | None], item: np.ndarray | None, seconds: float) -> bool:
    try:
        target.put(item, timeout=seconds)
    except queue.Full:
        return False
    return True


def _join(thread: threading.Thread, seconds: float) -> bool:
    thread.join(seconds)
    return not thread.is_alive()
