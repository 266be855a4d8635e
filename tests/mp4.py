"""Reading MP4 files in tests without the code under test: their boxes, and films of numbered frames."""

import wave
from pathlib import Path

import numpy as np

from memflow_cli.film.stitching import stitch
from memflow_cli.film.video import PartWriter
from memflow_cli.film.video_reader import read_frames

WIDTH, HEIGHT = 96, 64
BITS = 12


def numbered_frames(numbers) -> np.ndarray:
    """Frames that show their own number as 12 black or white squares, which survives any encoding. [F, 64, 96, 3] uint8."""
    numbers = np.asarray(list(numbers))
    bits = (numbers[:, None] >> np.arange(BITS)) & 1
    cells = bits.reshape(-1, 2, 6).repeat(32, axis=1).repeat(16, axis=2)
    return np.where(cells[..., None], 235, 20).astype(np.uint8).repeat(3, axis=3)


def number_of(frame: np.ndarray) -> int:
    cells = frame.mean(axis=2).reshape(2, 32, 6, 16).mean(axis=(1, 3)).reshape(-1) > 128
    return int((cells << np.arange(BITS)).sum())


def write_part(path: Path, start: int, length: int, fps: float = 16) -> Path:
    with PartWriter(path, WIDTH, HEIGHT, fps) as part:
        for first in range(start, start + length, 5):
            part.write(numbered_frames(range(first, min(first + 5, start + length))))
    return path


def write_film(folder: Path, lengths=(9, 24, 12), fps: float = 16, name: str = "film.mp4", **metadata: str) -> Path:
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    parts = [
        write_part(folder / f"segment-{index + 1:04d}.mp4", start, length, fps)
        for index, (start, length) in enumerate(zip(starts, lengths))
    ]
    stitch(parts, folder / name, fps, sum(lengths), metadata)
    return folder / name


def boxes(content: bytes, path: str) -> list[bytes]:
    """The contents of all boxes of an MP4 at a path such as moov/trak/mdia."""
    name, _, rest = path.partition("/")
    found, start = [], 0
    while start + 8 <= len(content):
        size = int.from_bytes(content[start : start + 4], "big") or len(content) - start
        if content[start + 4 : start + 8] == name.encode():
            found.append(content[start + 8 : start + size])
        start += size
    return [inner for box in found for inner in boxes(box, rest)] if rest else found


def write_tone(path: Path, seconds: float, rate: int = 44_100, hertz: float = 440) -> Path:
    """A sound file: one tone, as WAV."""
    samples = np.sin(np.arange(int(seconds * rate)) * hertz * 2 * np.pi / rate) * 20_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def read_frame(path: Path, index: int) -> np.ndarray:
    """Frame `index` (from 0) of a video as [height, width, 3] uint8."""
    return next(frame for _, frame in read_frames(path, [index]))
