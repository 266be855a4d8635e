"""A sound file of the user's own -> the film's sound track: AAC, cut or padded to the film's length. No torch."""

import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from memflow_cli.errors import UsageError
from memflow_cli.film.video import said

SAMPLE_RATE = 48_000
NUM_CHANNELS = 2
BIT_RATE = 192_000
SAMPLES_AT_ONCE = 4096
# Files that hold sound themselves. Playlists and lists of files, which name others, are not among them.
FORMATS = "aac,ac3,aiff,amr,asf,au,caf,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,wav,w64,wv"


def check_sound(path: Path, seconds: float = 0.0) -> None:
    """Raises UsageError if no sound can be read from `path`, up to so many seconds: to be asked before a film is rendered."""
    missing = round(seconds * SAMPLE_RATE)
    for piece in _decoded(path):
        missing -= piece.shape[1]
        if missing <= 0:
            return


def sound_packets(film: Any, path: Path, seconds: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """Adds a sound track to `film`, an MP4 that is being written. Its packets, each with its time in seconds, in order.

    Raises UsageError, now or on the way, if no sound can be read from `path`.
    """
    check_sound(path)
    stream = film.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", bit_rate=BIT_RATE)
    stream.codec_context.options = {"flags": "+bitexact"}
    return _encoded(stream, path, round(seconds * SAMPLE_RATE))


def copied_sound(film: Any, source: Any, start: Fraction, end: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """Adds the sound of another MP4, from `start` to `end` in seconds, to `film`; not encoded again. As `sound_packets`."""
    track = source.streams.audio[0]
    return _copied(film.add_stream_from_template(track), source.demux(track), start, end)


def _copied(stream: Any, packets: Iterator[Any], start: Fraction, end: Fraction) -> Iterator[tuple[Fraction, Any]]:
    for packet in packets:
        if packet.size and start <= (time := packet.dts * packet.time_base) < end:
            shift = round(start / packet.time_base)
            packet.stream = stream
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            yield time - start, packet


def _encoded(stream: Any, path: Path, num_samples: int) -> Iterator[tuple[Fraction, Any]]:
    position = 0
    for samples in _fitted(_decoded(path), num_samples):
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = position, Fraction(1, SAMPLE_RATE)
        position += samples.shape[1]
        yield from _timed(stream.encode(frame))
    yield from _timed(stream.encode(None))


def _timed(packets: list[Any]) -> Iterator[tuple[Fraction, Any]]:
    for packet in packets:
        yield packet.dts * packet.time_base, packet


def _fitted(pieces: Iterator[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    """Cut after `num_samples`, or followed by silence up to there. Pieces [channels, samples] float32, -1 to 1."""
    missing = num_samples
    for piece in pieces:
        if not missing:
            return
        piece = np.ascontiguousarray(piece[:, :missing])
        missing -= piece.shape[1]
        yield piece
    while missing:
        count = min(missing, SAMPLES_AT_ONCE)
        missing -= count
        yield np.zeros((NUM_CHANNELS, count), np.float32)


def _decoded(path: Path) -> Iterator[np.ndarray]:
    """Pieces [channels, samples] float32 of the file's first sound track, at SAMPLE_RATE."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"the sound {path} is not a file")
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE)
        options = {"format_whitelist": FORMATS}
        with path.open("rb") as file, av.open(file, options=options, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise UsageError(f"there is no sound in {path}")
            for frame in container.decode(container.streams.audio[0]):
                frame.pts = None  # samples follow one another, whatever their times say
                for resampled in resampler.resample(frame):
                    yield resampled.to_ndarray()
            for resampled in resampler.resample(None):
                yield resampled.to_ndarray()
    except (OSError, av.FFmpegError) as error:
        raise UsageError(f"the sound {path} cannot be read: {said(error)}") from error
