"""The archive: the prototypes of the whole film so far, within a byte budget, in memory or in a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from memflow_cli.attention_context import FrameState
from memflow_cli.kv_store import Stored
from memflow_cli.machine.out_of_memory import doing
from memflow_cli.memory.state_file import KeptState, PartOfState, StateFile, StateInFile, part_index

ROWS_A_BLOCK = 1024
NUM_KV_PARTS = 2  # of a state's parts, the first ones: keys and values


@dataclass(frozen=True)
class Prototype:
    """A remembered latent frame, what the retrieval score keeps of it, the words [T', C] of the prompt that it was made
    under (one tensor for all frames of a segment), and its sketch's row, if it has one.
    """

    state: KeptState | StateInFile
    kept: Tensor | PartOfState
    words: Tensor
    row: int | None

    @property
    def features(self) -> Tensor:
        """What the score keeps, read back where it is a part of the state."""
        return self.kept if isinstance(self.kept, Tensor) else self.kept.load()

    @property
    def feature_bytes(self) -> int:
        return self.kept.shape.numel() * self.kept.dtype.itemsize


class Archive:
    """Prototypes in film order, given pictures first. When full, the one most like its neighbour in time goes first: what is
    rare stays, and so does what is pinned.

    `folder`: keep the states in a nameless file there, so that the process stays as small as it was. `int8`: keep their
    keys and values in eight bits.
    """

    def __init__(self, num_bytes: int, folder: Path | None = None, int8: bool = False) -> None:
        self.prototypes: list[Prototype] = []
        self.sketches = Rows()
        self._file = None if folder is None else StateFile(folder)
        self._int8 = int8
        self._budget = num_bytes
        self._used = 0
        self._pinned: set[int] = set()
        self._sizes: list[int] = []
        self._pooled: list[Tensor] = []
        self._likeness: list[float] = []  # of each prototype to the one before it

    @property
    def num_bytes(self) -> int:
        """What the prototypes' states and features take of the budget."""
        return self._used

    def pin(self, frame: int) -> None:
        """This latent frame stays, whatever the budget; also if it is yet to come."""
        self._pinned.add(frame)

    def unpin(self, frame: int) -> None:
        self._pinned.discard(frame)

    @doing("remembering a frame")
    def add(
        self,
        state: FrameState,
        features: Tensor,
        words: Tensor,
        sketch: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[int, ...]:
        """Archive a frame later than all others. Returns the latent frames that had to go for it.

        `features`: what its score compares; a view of the state takes no room of its own. `words`, shared by a segment's
        frames, and what `sketch` makes of the features, of the same shape for every frame: small beside a state; they stay
        in memory and are not counted.
        """
        part = part_index(features, state)
        kept = KeptState(state.frame, tuple(self._to_keep(index, each) for index, each in enumerate(state.parts)))
        held = features.to("cpu") if part is None else kept.part(part).view(features.shape)
        pooled = state.keys.float().mean(dim=2).flatten().bfloat16().cpu()  # [L * B * H * D]
        self._likeness.append(_cosine(self._pooled[-1], pooled) if self._pooled else -1.0)
        self._pooled.append(pooled)
        self._sizes.append(sum(map(_room, kept.tensors if part is not None else (*kept.tensors, held))))
        self._used += self._sizes[-1]
        row = None if sketch is None else self.sketches.put(sketch(held))
        stored = self._file.store(kept) if self._file else kept
        remembered = held if part is None else PartOfState(stored, part, features.shape, features.dtype)
        self.prototypes.append(Prototype(stored, remembered, words, row))
        evicted = []
        while self._used > self._budget and (loose := self._loose()):
            evicted.append(self._evict(max(loose, key=self._likeness.__getitem__)))
        return tuple(evicted)

    def _to_keep(self, index: int, part: Tensor) -> Stored:
        return Stored.of(part, self._int8 and index < NUM_KV_PARTS).on_host()

    def _loose(self) -> Sequence[int]:
        """What may go: all but the first of the film's own, and what is pinned."""
        if not self._pinned:
            return range(1, len(self.prototypes))
        first = next((index for index, item in enumerate(self.prototypes) if item.state.frame >= 0), None)
        return [
            index
            for index, item in enumerate(self.prototypes)
            if index != first and item.state.frame not in self._pinned
        ]

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


def _room(tensor: Tensor) -> int:
    """Bytes that a tensor takes; torch gives pinned memory out in powers of two."""
    num_bytes = tensor.numel() * tensor.element_size()
    return 1 << (num_bytes - 1).bit_length() if num_bytes and tensor.is_pinned() else num_bytes


def _cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a.float(), b.float(), dim=0).item()
