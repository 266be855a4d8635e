"""What is remembered, kept in a file that has no name: the process stays as small as it was."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memflow_cli.attention_context import FrameState
from memflow_cli.errors import KEPT, MemflowError


class StateFile:
    """States of equal shapes in a file that has no name and goes with the process. A forgotten state's place is used again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as the archive
        except OSError as error:
            raise self._failed(error) from error
        self._free: list[int] = []
        self._end = 0

    def store(self, state: FrameState, features: Tensor) -> "tuple[StateInFile, Tensor | FeaturesInFile]":
        """The state and its features as they lie in the file. Features that are a view of the state need no room there."""
        parts = state.parts
        place = self._free.pop() if self._free else self._end
        try:
            self._file.seek(place)
            for part in parts:
                self._write(part.flatten().view(torch.uint8).numpy().data)
        except OSError as error:
            raise self._failed(error) from error
        self._end = max(self._end, self._file.tell())
        stored = StateInFile(state.frame, self, place, tuple(part.shape for part in parts), state.keys.dtype)
        index = _part_index(features, state)
        return stored, features if index is None else FeaturesInFile(stored, index, features.shape)

    def _write(self, content: memoryview) -> None:
        while content:
            content = content[self._file.write(content) :]

    def _failed(self, error: OSError) -> MemflowError:
        return MemflowError(f"cannot keep remembered frames in {self._folder}: {error.strerror}", KEPT)

    def read(self, place: int, num_bytes: int) -> bytearray:
        content = bytearray(num_bytes)
        self._file.seek(place)
        count = self._file.readinto(content)
        assert count == num_bytes, f"{count} of {num_bytes} bytes of a remembered frame came back"
        return content

    def release(self, place: int) -> None:
        self._free.append(place)


@dataclass(frozen=True)
class StateInFile:
    """A `FrameState` that lies in a file: its tensors of one dtype, one after the other."""

    frame: int
    file: StateFile
    place: int
    shapes: tuple[torch.Size, ...]
    dtype: torch.dtype

    def load(self) -> FrameState:
        sizes = [shape.numel() for shape in self.shapes]
        parts = self._read(0, sum(sizes)).split(sizes)
        return FrameState(self.frame, *(part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)))

    def part(self, index: int) -> Tensor:
        """One of its tensors."""
        first = sum(shape.numel() for shape in self.shapes[:index])
        return self._read(first, self.shapes[index].numel()).view(self.shapes[index])

    def _read(self, first: int, count: int) -> Tensor:
        """`count` numbers from the `first` on."""
        size = self.dtype.itemsize
        content = self.file.read(self.place + first * size, count * size)
        return torch.frombuffer(content, dtype=self.dtype).clone()  # in memory as torch aligns it: sums depend on that

    def forget(self) -> None:
        self.file.release(self.place)


@dataclass(frozen=True)
class FeaturesInFile:
    """Features that are one part of a stored state, seen in another shape."""

    state: StateInFile
    part: int
    shape: torch.Size

    def load(self) -> Tensor:
        return self.state.part(self.part).view(self.shape)


def is_part(features: Tensor, state: FrameState) -> bool:
    """Whether features are one of the state's tensors, seen in whatever shape."""
    return _part_index(features, state) is not None


def _part_index(features: Tensor, state: FrameState) -> int | None:
    """Which of the state's tensors features are, seen in whatever shape; None: a tensor of their own."""
    for index, part in enumerate(state.parts):
        if features.data_ptr() == part.data_ptr() and features.numel() == part.numel():
            return index
    return None
