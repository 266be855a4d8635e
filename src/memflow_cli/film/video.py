"""Frames <-> MP4: segment parts, stitching without re-encoding, reading single frames back.

All of it runs the ffmpeg that comes with imageio-ffmpeg. H.264 without B-frames: decoding order is showing order, every
frame lasts the same number of ticks, so parts can be joined packet by packet and a frame has an exact number.
One encoder thread: the bytes of a film do not depend on the machine's number of cores.
"""

import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.film.durable import rename_through
from memflow_cli.story.texts import without_controls

KEYFRAME_SECONDS = 2  # a player seeks to any time by decoding at most this much
QUEUED_WRITES = 2  # calls of PartWriter.write that may wait for the encoder; the next one blocks
MIN_TICKS_A_SECOND = 10_000
READ_GROUP = 96  # frames that one decoder process picks out, fewer if they are large
READ_GROUP_BYTES = 48 * 2**20
PROCESS_START_PIXELS = 4_000_000  # decoding this many pixels takes as long as starting another decoder


def exact_fps(fps: float) -> Fraction:
    """Frames a second as MP4 holds them. 23.976, 29.97, 59.94 are the broadcast rates n * 1000/1001."""
    nearest = round(fps * 1.001)
    if fps != round(fps) and abs(fps - nearest / 1.001) < 0.005:
        return Fraction(nearest * 1000, 1001)
    return Fraction(fps).limit_denominator(1000)


class PartWriter:
    """Encodes frames to one MP4 file while they are made; the file appears under its name when it is closed and complete.

    Encoding runs beside the caller: `write` returns as soon as the frames are queued, and blocks when the encoder is two
    calls behind. Whatever goes wrong in the encoder is raised by the next `write` or by `close`.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self.path = path
        self.num_frames = 0
        self._shape = (height, width, 3)
        self._unfinished = path.with_name(path.name + ".unfinished")
        self._unfinished.unlink(missing_ok=True)  # an encoder whose film was killed may still be writing to the old one
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the encoder
        self._failure: str | None = None
        rate = exact_fps(fps)
        command = [
            *_FFMPEG_QUIET, "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "pipe:0",
            "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bitexact,format=yuv420p",
            "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
            "-c:v", "libx264", "-preset", "fast", "-crf", "17", "-bf", "0", "-threads", "1",
            "-g", str(max(1, round(KEYFRAME_SECONDS * rate))),
            "-flags:v", "+bitexact", "-fflags", "+bitexact", "-map_metadata", "-1",
            "-video_track_timescale", str(_ticks(rate)[0]), "-f", "mp4", "-y", _url(self._unfinished),
        ]  # fmt: skip
        self._process = _start(command, self._stderr, stdin=subprocess.PIPE)
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(QUEUED_WRITES)
        self._thread = threading.Thread(target=self._feed, name=f"encoder of {path.name}", daemon=True)
        self._thread.start()

    def write(self, frames: np.ndarray) -> None:
        """`frames`: [F, height, width, 3] uint8; not to be changed afterwards."""
        assert frames.dtype == np.uint8 and frames.shape[1:] == self._shape, (
            f"{frames.dtype} {frames.shape} are no frames"
        )
        self._raise_failure()
        self._queue.put(frames)
        self.num_frames += len(frames)

    def close(self) -> None:
        """Waits for the encoder, writes the file through to the disk and gives it its name."""
        self._finish_process()
        if self._failure is not None or self._process.returncode != 0:
            self._failure = self._failure or _last_words(self._stderr)
            self._remove_unfinished()
        self._raise_failure()
        if not self.num_frames:
            self._remove_unfinished()
            raise MemflowError(f"no frame was made for {self.path}")
        rename_through(self._unfinished, self.path)

    def kill(self) -> None:
        """Ends the encoder: a `write` or `close` that waits for it fails. From any thread; `abort` is still to come."""
        self._process.kill()

    def abort(self) -> None:
        """Stops at once and leaves nothing behind."""
        self.kill()
        self._finish_process()
        self._remove_unfinished()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _feed(self) -> None:
        """The encoder's thread. After a failure it keeps emptying the queue, so that the caller never blocks for good."""
        pipe = self._process.stdin
        assert pipe is not None
        while (frames := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    pipe.write(np.ascontiguousarray(frames).data)
                except OSError:
                    self._process.wait()
                    self._failure = _last_words(self._stderr)
        try:
            pipe.close()
        except OSError:
            self._failure = self._failure or "it ended early"

    def _finish_process(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._process.wait()

    def _remove_unfinished(self) -> None:
        self._unfinished.unlink(missing_ok=True)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise MemflowError(f"the encoder (ffmpeg) failed on {self.path}: {self._failure}", KEPT)


def stitch(parts: Sequence[Path], out: Path, fps: float, num_frames: int, metadata: Mapping[str, str]) -> None:
    """Joins `parts` (of one folder, in order) packet by packet into `out`, which appears complete or not at all.

    The index comes first in the file (faststart). Raises MemflowError if the parts do not hold exactly `num_frames`.
    """
    folder = parts[0].parent
    assert all(part.parent == folder for part in parts), "parts of one film lie in one folder"
    ticks_a_second, ticks_a_frame = _ticks(exact_fps(fps))
    unfinished = out.with_name(out.name + ".unfinished")
    listing, tags = folder / "parts.ffconcat", folder / "metadata.txt"
    names = "".join(f"file {part.name}\n" for part in parts)
    about = "".join(f"{key}={_escape(text)}\n" for key, text in metadata.items())
    command = [
        *_FFMPEG_QUIET, "-f", "concat", "-safe", "1", "-i", listing.name, "-f", "ffmetadata", "-i", _url(tags),
        "-map", "0:v:0", "-map_metadata", "1", "-c", "copy", "-fflags", "+bitexact",
        # The concat demuxer counts in microseconds; this puts every frame back on its exact tick.
        "-bsf:v", f"setts=ts=N*{ticks_a_frame}:duration={ticks_a_frame}:time_base=1/{ticks_a_second}",
        "-video_track_timescale", str(ticks_a_second), "-movflags", "+faststart", "-f", "mp4", "-y", _url(unfinished),
    ]  # fmt: skip
    try:
        listing.write_text(f"ffconcat version 1.0\n{names}", "utf-8")
        tags.write_text(f";FFMETADATA1\n{about}", "utf-8")
        unfinished.unlink(missing_ok=True)  # as in PartWriter
        with tempfile.TemporaryFile() as stderr:
            # From within the folder: the demuxer takes what surrounds a part's name for an address, # and ? included.
            process = _start(command, stderr, folder=folder)
            if process.wait() != 0:
                raise MemflowError(f"ffmpeg could not join the parts of {out}: {_last_words(stderr)}")
        joined = probe(unfinished)
        if joined.num_frames != num_frames:
            raise MemflowError(f"the parts of {out} hold {joined.num_frames} frames, but the film has {num_frames}")
        rename_through(unfinished, out)
    except OSError as error:
        raise MemflowError(f"cannot write {out}: {error.strerror}", KEPT) from error
    finally:
        for path in (unfinished, listing, tags):
            path.unlink(missing_ok=True)


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
    """Counts a video's frames exactly, without decoding them. Raises MemflowError if it holds no picture."""
    command = [*_FFMPEG_QUIET, "-i", _url(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"]
    about: dict[str, str] = {}
    num_frames, end = 0, 0
    with tempfile.TemporaryFile() as stderr:
        process = _start(command, stderr, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                text = line.decode("ascii", "replace")
                if text.startswith("#"):
                    key, _, value = text[1:].partition(" 0: ")
                    about[key] = value.strip()
                elif len(columns := text.split(",")) > 3:
                    num_frames += 1
                    end = max(end, int(columns[2]) + int(columns[3]))
        if process.wait() != 0 or not num_frames or "dimensions" not in about:
            raise MemflowError(f"{path} cannot be read as a video: {_last_words(stderr)}")
    width, height = map(int, about["dimensions"].split("x"))
    return VideoInfo(about.get("codec_id", "?"), width, height, num_frames, float(end * Fraction(about["tb"])))


def read_frame(path: Path, index: int) -> np.ndarray:
    """Frame `index` (from 0) of a video as [height, width, 3] uint8."""
    return next(frame for _, frame in read_frames(path, [index]))


def read_frames(path: Path, indices: Sequence[int], info: VideoInfo | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, frame) for the wanted frame numbers, in film order, each once; frame: [height, width, 3] uint8.

    Decodes only around the wanted frames, in a few processes; holds a few groups of frames at a time.
    """
    info = info or probe(path)
    wanted = sorted(set(indices))
    if wanted and not 0 <= wanted[0] <= wanted[-1] < info.num_frames:
        missing = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise MemflowError(f"{path} has {info.num_frames} frames; there is no frame {missing}")
    num_pixels = info.width * info.height
    groups = _group(
        wanted,
        max_gap=PROCESS_START_PIXELS // num_pixels,
        max_length=max(1, min(READ_GROUP, READ_GROUP_BYTES // (3 * num_pixels))),
    )
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        pending = []
        for group in [*groups, *[None] * workers]:
            if group is not None:
                pending.append((group, pool.submit(_read_group, path, group, info)))
            if pending and (group is None or len(pending) > workers):
                done, frames = pending.pop(0)
                yield from zip(done, frames.result())


def _group(wanted: Sequence[int], max_gap: int, max_length: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for index in wanted:
        if groups and index - groups[-1][-1] <= max_gap and len(groups[-1]) < max_length:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _read_group(path: Path, group: list[int], info: VideoInfo) -> np.ndarray:
    first = group[0]
    # Half a frame early: accurate seeking then begins exactly with frame `first`, whatever the time base rounds to.
    seek = ["-ss", f"{(first - 0.5) / info.fps:.6f}"] if first else []
    select = "+".join(f"eq(n\\,{index - first})" for index in group)
    command = [
        *_FFMPEG_QUIET, "-threads", "1", *seek, "-i", _url(path), "-map", "0:v:0", "-vf", f"select={select}",
        "-fps_mode", "passthrough", "-frames:v", str(len(group)),
        "-sws_flags", "accurate_rnd+full_chroma_int+bitexact", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as stderr:
        process = _start(command, stderr, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as pipe:
            pixels = pipe.read()
        failed = process.wait() != 0 or len(pixels) != len(group) * info.width * info.height * 3
        if failed:
            raise MemflowError(f"cannot read frame {first} of {path}: {_last_words(stderr)}")
    return np.frombuffer(pixels, np.uint8).reshape(len(group), info.height, info.width, 3)


_FFMPEG_QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error")


@cache
def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        found = shutil.which("ffmpeg")
        if found is None:
            raise MemflowError("no ffmpeg was found", "pip install imageio-ffmpeg brings one along.") from error
        return found


def _start(
    arguments: Sequence[str],
    stderr: IO[bytes],
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches memflow, which finishes the chunk and then ends the encoder properly.
    command = [_ffmpeg(), *arguments]
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=folder, start_new_session=True)
    except OSError as error:
        if error.filename != command[0]:
            raise
        raise MemflowError(
            f"cannot run the ffmpeg {command[0]}: {error.strerror}",
            "Unset IMAGEIO_FFMPEG_EXE, or let it name an ffmpeg that runs; memflow doctor tells whether it does.",
        ) from error


def _last_words(stderr: IO[bytes]) -> str:
    """The line in which ffmpeg says what was wrong: its first, the later ones being consequences."""
    stderr.seek(0)
    lines = [line.strip() for line in stderr.read(8192).decode("utf-8", "replace").splitlines() if line.strip()]
    for line in lines:
        if "No space left" in line:
            return "no space left on the disk"
    return lines[0][:300] if lines else "it ended without a word"


def _ticks(rate: Fraction) -> tuple[int, int]:
    """Ticks a second and ticks a frame of a film's MP4 clock: whole numbers, fine enough for players."""
    fold = -(-MIN_TICKS_A_SECOND // rate.numerator)
    return rate.numerator * fold, rate.denominator * fold


def _url(path: Path) -> str:
    """A path ffmpeg takes as a plain file, whatever characters are in it."""
    return f"file:{path.absolute()}"


def _escape(text: str) -> str:
    """Text for an ffmetadata file: its special characters escaped, control characters but line breaks left out."""
    return re.sub(r"[=;#\\\n]", r"\\\g<0>", without_controls(text))
