"""What is remembered, kept in a file that has no name: the process stays as small as it was."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memflow_cli.attention_context import FrameState
from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.kv_store import Stored


@dataclass(frozen=True)
class KeptState:
    """A latent frame's state in host memory: what `FrameState.parts` are, as they are kept."""

    frame: int
    parts: tuple[Stored, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of its memory."""
        return tuple(tensor for part in self.parts for tensor in part.parts)

    def part(self, index: int) -> Tensor:
        return self.parts[index].tensor()

    def load(self) -> FrameState:
        return FrameState(self.frame, *(part.tensor() for part in self.parts))


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

    def store(self, state: KeptState) -> "StateInFile":
        """The state as it lies in the file."""
        place = self._free.pop() if self._free else self._end
        try:
            self._file.seek(place)
            for tensor in state.tensors:
                self._write(tensor.flatten().view(torch.uint8).numpy().data)
        except OSError as error:
            raise self._failed(error) from error
        self._end = max(self._end, self._file.tell())
        return StateInFile(state.frame, self, place, tuple(part.map(_without_numbers) for part in state.parts))

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
    """A `KeptState` that lies in a file, its tensors one after the other. `parts`: on the meta device, without numbers."""

    frame: int
    file: StateFile
    place: int
    parts: tuple[Stored, ...]

    def load(self) -> FrameState:
        return FrameState(self.frame, *map(self.part, range(len(self.parts))))

    def part(self, index: int) -> Tensor:
        """One of its tensors."""
        place = self.place + sum(part.num_bytes for part in self.parts[:index])
        read = []
        for tensor in self.parts[index].parts:
            content = self.file.read(place, tensor.nbytes)
            place += tensor.nbytes
            # A copy, in memory as torch aligns it.
            read.append(torch.frombuffer(content, dtype=tensor.dtype).clone().view(tensor.shape))
        return Stored(tuple(read), self.parts[index].dtype).tensor()

    def forget(self) -> None:
        self.file.release(self.place)


@dataclass(frozen=True)
class PartOfState:
    """Features that are one part of a kept state, seen in another shape."""

    state: KeptState | StateInFile
    part: int
    shape: torch.Size
    dtype: torch.dtype

    def load(self) -> Tensor:
        return self.state.part(self.part).view(self.shape)


def part_index(features: Tensor, state: FrameState) -> int | None:
    """Which of the state's tensors features are, seen in whatever shape; None: a tensor of their own."""
    for index, part in enumerate(state.parts):
        if features.data_ptr() == part.data_ptr() and features.numel() == part.numel():
            return index
    return None


def _without_numbers(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")
