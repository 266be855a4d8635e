"""The archive: the prototypes of the whole film so far, within a byte budget, in memory or in a file."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.attention_context import FrameState, StoredFrame
from memflow_cli.errors import KEPT, MemflowError
from memflow_cli.machine.out_of_memory import doing

ROWS_A_BLOCK = 1024


@dataclass(frozen=True)
class Prototype:
    """A remembered latent frame, what the retrieval score keeps of it, the words [T', C] of the prompt that it was made
    under (one tensor for all frames of a segment), and its sketch's row, if it has one.
    """

    state: StoredFrame
    kept: "Tensor | FeaturesInFile"
    words: Tensor
    row: int | None

    @property
    def features(self) -> Tensor:
        """What the score keeps, read back where it lies in a file."""
        return self.kept if isinstance(self.kept, Tensor) else self.kept.load()

    @property
    def feature_bytes(self) -> int:
        dtype = self.kept.dtype if isinstance(self.kept, Tensor) else self.kept.state.dtype
        return self.kept.shape.numel() * dtype.itemsize


class Archive:
    """Prototypes in film order. When full, the one most like its neighbour in time goes first: what is rare stays.

    `folder`: keep the states in a nameless file there, so that the process stays as small as it was.
    """

    def __init__(self, num_bytes: int, folder: Path | None = None) -> None:
        self.prototypes: list[Prototype] = []
        self.sketches = Rows()
        self._file = None if folder is None else StateFile(folder)
        self._budget = num_bytes
        self._used = 0
        self._sizes: list[int] = []
        self._pooled: list[Tensor] = []
        self._likeness: list[float] = []  # of each prototype to the one before it

    @doing("remembering a frame")
    def add(self, state: FrameState, features: Tensor, words: Tensor, sketch: Tensor | None = None) -> tuple[int, ...]:
        """Archive a frame later than all others. Returns the latent frames that had to go for it.

        `features`: what its score compares; a view of the state takes no room of its own. `words`, shared by a segment's
        frames, and `sketch`, of the same shape for every frame: small beside a state; they stay in memory and are not counted.
        """
        pooled = state.keys.float().mean(dim=2).flatten().bfloat16()  # [L * B * H * D]
        self._likeness.append(_cosine(self._pooled[-1], pooled) if self._pooled else -1.0)
        self._pooled.append(pooled)
        self._sizes.append(_num_bytes(state, features))
        self._used += self._sizes[-1]
        row = None if sketch is None else self.sketches.put(sketch)
        stored, kept = self._file.store(state, features) if self._file else (state, features)
        self.prototypes.append(Prototype(stored, kept, words, row))
        evicted = []
        while self._used > self._budget and len(self.prototypes) > 1:
            evicted.append(self._evict(max(range(1, len(self._likeness)), key=self._likeness.__getitem__)))
        return tuple(evicted)

    def _evict(self, index: int) -> int:
        gone = self.prototypes.pop(index)
        self._pooled.pop(index)
        self._likeness.pop(index)
        self._used -= self._sizes.pop(index)
        if gone.row is not None:
            self.sketches.free(gone.row)
        if isinstance(gone.state, StateInFile):
            gone.state.forget()
        if index < len(self.prototypes):
            self._likeness[index] = _cosine(self._pooled[index - 1], self._pooled[index])
        return gone.state.frame


class Rows:
    """Tensors of equal shape, side by side in blocks: compared in bulk without being stacked. A freed row is used again."""

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []
        """Each [ROWS_A_BLOCK, ...]; row r is the (r % ROWS_A_BLOCK)-th of block r // ROWS_A_BLOCK."""
        self._free: list[int] = []
        self._end = 0

    def put(self, item: Tensor) -> int:
        """Copy `item` into a row; returns the row."""
        row = self._free.pop() if self._free else self._end
        self._end = max(self._end, row + 1)
        if row == len(self.blocks) * ROWS_A_BLOCK:
            self.blocks.append(item.new_zeros(ROWS_A_BLOCK, *item.shape))
        self.blocks[row // ROWS_A_BLOCK][row % ROWS_A_BLOCK] = item
        return row

    def free(self, row: int) -> None:
        self._free.append(row)


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
        return torch.frombuffer(self.file.read(self.place + first * size, count * size), dtype=self.dtype)

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


def _num_bytes(state: FrameState, features: Tensor) -> int:
    """Of state and features; features that are a part of the state cost nothing more."""
    return sum(map(_room, state.parts if is_part(features, state) else (*state.parts, features)))


def _room(tensor: Tensor) -> int:
    """Bytes that a tensor takes; torch gives pinned memory out in powers of two."""
    num_bytes = tensor.numel() * tensor.element_size()
    return 1 << (num_bytes - 1).bit_length() if num_bytes and tensor.is_pinned() else num_bytes


def _cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a.float(), b.float(), dim=0).item()
