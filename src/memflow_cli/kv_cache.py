"""The key-value cache: what a streaming backbone sees of its past. Storage and positions, no policy.

Slots hold latent frames: the sink, a ring for the local window (the chunk at hand overwrites what leaves it), and the
bank of recalled frames. Attention does not care about the order of its keys, so a slot is written in place and nothing
ever moves. Keys are stored before rotation, and rotated when a frame's position changes: at most once a chunk.

Shapes: B batch, F latent frames, N tokens a latent frame, H heads, D head size, T prompt tokens, L layers.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memflow_cli.attention_context import Activation, FrameState, PositionMode, Rotate, StoredFrame
from memflow_cli.geometry import query_places
from memflow_cli.head_views import HeadViews, slot_runs
from memflow_cli.kv_store import Stored


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a cache; `sink`, `window` (the chunk at hand included) and `bank` count latent frames.

    `memory_places`: how many places sink and bank take in relative positions, whether a policy fills them or not.
    """

    num_layers: int
    num_heads: int
    head_dim: int
    num_tokens: int
    sink: int
    window: int
    bank: int
    memory_places: int

    @cached_property
    def num_query_places(self) -> int:
        """Of a frame's tokens, whose prompt queries are kept as their mean."""
        return query_places(self.num_tokens)


class KVCache:
    """Sink + local window + bank of every layer, preallocated. Implements `AttentionContext`.

    A pass is `begin(frames)`, then the backbone's forward (as often as wanted: each pass stages anew), then `commit()`
    to make the last pass's keys and values permanent. Without `commit()` nothing is remembered; passes that will not be
    committed (`begin(frames, keep=False)`) stage no more than they read.
    """

    def __init__(
        self,
        shape: CacheShape,
        rotate: Rotate,
        positions: PositionMode = "absolute",
        activation: Activation | None = None,
        attend_bank: bool = True,
        keep_prompt_queries: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        batch: int = 1,
        int8: bool = False,
    ) -> None:
        self.shape = shape
        self.heads = HeadViews(activation, shape.num_layers, shape.num_tokens, keeps_views=not int8)
        self.bank_frames: list[list[int]] = [[] for _ in range(shape.num_layers)]
        """For each layer, the latent frames in its bank, in slot order."""
        self._rotate = rotate
        self._position_mode = positions
        self._attend_bank = attend_bank
        self._first_bank_slot = shape.sink + shape.window
        num_slots = self._first_bank_slot + shape.bank
        size = (shape.num_layers, batch, num_slots, shape.num_tokens, shape.num_heads, shape.head_dim)
        self._keys = Stored.zeros(size, int8, dtype, device)  # before rotation
        self._rotated = Stored.zeros(size, int8, dtype, device)
        self._values = Stored.zeros(size, int8, dtype, device)
        query_size = (*size[:3], shape.num_query_places, *size[4:])
        self._prompt_queries = torch.zeros(query_size, dtype=dtype, device=device) if keep_prompt_queries else None
        self._window = shape.window  # less what is kept elsewhere in its place
        self._skipped: list[tuple[int, int]] = []  # (from this frame on, so many positions more)
        self._frames: list[int | None] = [None] * self._first_bank_slot
        self._rotated_at: list[int | None] = [None] * self._first_bank_slot
        self._at_hand = range(0)
        self._keeps = True
        self._staged: list[tuple[slice, slice]] = []

    @property
    def num_bytes(self) -> int:
        """What keys, values, prompt queries and all that heads chose take on the device."""
        queries = 0 if self._prompt_queries is None else self._prompt_queries.nbytes
        return (
            queries
            + self.heads.num_bytes
            + sum(stored.num_bytes for stored in (self._keys, self._rotated, self._values))
        )

    # What is in view

    @property
    def positions(self) -> list[int]:
        return [self.position(frame) for frame in self._at_hand]

    @property
    def observes(self) -> bool:
        return self._keeps and self._prompt_queries is not None

    @property
    def sink_frames(self) -> tuple[int, ...]:
        """Latent frames committed to the sink."""
        return tuple(frame for frame in self._frames[: self.shape.sink] if frame is not None)

    @property
    def window_frames(self) -> tuple[int, ...]:
        """Latent frames committed to the local window, oldest first; sink frames are not among them."""
        return tuple(sorted(frame for frame in self._frames[self.shape.sink :] if frame is not None))

    @property
    def banks_in_view(self) -> list[list[int]]:
        """For each layer, the latent frames of its bank that passes read."""
        return self.bank_frames if self._attend_bank else [[] for _ in self.bank_frames]

    def window_before(self, frames: range) -> tuple[int, ...]:
        """The window's frames that `frames` may attend to: committed, earlier, and not pushed out by `frames`."""
        oldest = frames.stop - self._window
        return tuple(frame for frame in self.window_frames if oldest <= frame < frames.start)

    def leaving(self, frames: range) -> tuple[int, ...]:
        """The window's frames that leave it when `frames` come."""
        return tuple(frame for frame in self.window_frames if frame < frames.stop - self._window)

    # A pass

    @property
    def layout(self) -> Hashable | None:
        """Where the passes since `begin` read and write: two passes of one layout touch the same memory in the same way,
        so that one can be recorded and replayed for the other. None while heads have yet to choose what they read.
        """
        read = self.heads.layout
        return None if read is None else (repr((self._keeps, *self._staged)), read)

    def begin(self, frames: range, keep: bool = True, hidden: Collection[int] = ()) -> None:
        """Get ready for passes over `frames`: fix what is in view and bring its rotation up to date. `hidden`: frames of the
        bank that they do not read.
        """
        self._at_hand = frames
        self._keeps = keep
        slots = self._slots_to_stage(frames)
        self._staged = [
            (slice(run[0] - frames.start, run[-1] + 1 - frames.start), slice(slots[run[0]], slots[run[-1]] + 1))
            for run in slot_runs(slots)
        ]
        for slot in slots.values():
            self._frames[slot] = None
        kept = {self._slot(frame): frame for frame in self.window_before(frames)}
        sink = {slot: frame for slot, frame in enumerate(self._frames[: self.shape.sink]) if frame is not None}
        self._rotate_to_positions(sink | kept)
        at_hand = set(slots.values())
        competing = {*sink, *at_hand} if self.heads.chooses_anew else {*sink}
        candidates = sorted(slot for slot in competing if slot < self.shape.sink)
        bank = enumerate(self.banks_in_view[0], start=self._first_bank_slot)
        candidates += [slot for slot, frame in bank if frame not in hidden]
        self.heads.begin(candidates, fixed=sorted({*kept, *at_hand} - set(candidates)))

    def choose_again(self) -> None:
        """In the next pass heads choose anew what they read, as in the first after `begin`."""
        self.heads.choose_again()

    def gather(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        rotated = self._rotate(key, self.positions)
        chosen_before = layer in self.heads.views
        for frames, slots in () if chosen_before and not self._keeps else self._staged:
            if self._keeps:
                self._keys[layer, :, slots] = key[:, frames]
            self._rotated[layer, :, slots] = rotated[:, frames]
            self._values[layer, :, slots] = value[:, frames]
        if chosen_before:
            return self.heads.refresh(layer, rotated, value, self._staged)
        keys, values = (stored.map(lambda part: part[layer]) for stored in (self._rotated, self._values))
        return self.heads.read(layer, query, keys, values)

    def observe(self, layer: int, prompt_query: Tensor) -> None:
        if self._prompt_queries is None or not self._keeps:
            return
        if self.shape.num_query_places < self.shape.num_tokens:
            prompt_query = prompt_query.unflatten(2, (self.shape.num_query_places, -1)).mean(dim=3)
        for frames, slots in self._staged:
            self._prompt_queries[layer, :, slots] = prompt_query[:, frames]

    def commit(self) -> None:
        """Make the last pass over the frames at hand permanent."""
        assert self._keeps, "begin() was told that nothing will be kept"
        for frames, slots in self._staged:
            for frame, slot in zip(self._at_hand[frames], _expand(slots), strict=True):
                self._frames[slot] = frame
                self._rotated_at[slot] = self.position(frame)

    def clear_window(self) -> None:
        """Forget the local window; sink and bank stay."""
        self._frames[self.shape.sink :] = [None] * self.shape.window

    def clear(self) -> None:
        """Forget sink and window; the bank stays."""
        self._frames = [None] * self._first_bank_slot

    def narrow_window(self, num_frames: int) -> None:
        """From the next pass on the window is so many latent frames shorter: the bank holds as many in their place."""
        self._window = self.shape.window - num_frames

    def skip_positions(self, first_frame: int, count: int) -> None:
        """Number `first_frame` and all that follow `count` positions further on. Frames before it keep theirs."""
        self._skipped.append((first_frame, count))

    def sink_and_bank_use(self) -> dict[int, float]:
        """For each candidate frame, the share of layers and heads that read it in the last pass; empty if all read all."""
        if not self.heads.chosen:
            return {}
        choices = torch.stack(list(self.heads.chosen.values()))  # [L, B, H, K], all of them brought to the host at once
        sink = [slot for slot in self.heads.candidates if slot < self.shape.sink]  # a sink slot is its frame
        counts: dict[int, int] = {}
        for layer, chosen in zip(self.heads.chosen, choices.flatten(1).tolist(), strict=True):
            candidates = [*sink, *self.bank_frames[layer]]
            counts = dict.fromkeys(candidates, 0) | counts
            for index in chosen:
                counts[candidates[index]] += 1
        return {frame: count / choices[..., 0].numel() for frame, count in counts.items()}

    # The bank

    def read(self, frame: int) -> FrameState:
        """A copy of a committed frame's state. Raises KeyError if neither sink nor window holds it."""
        if frame not in self._frames:
            raise KeyError(f"latent frame {frame} is neither in the sink nor in the window")
        slot = self._frames.index(frame)
        queries = None if self._prompt_queries is None else self._prompt_queries[:, :, slot].clone()
        return FrameState(frame, self._keys[:, :, slot].clone(), self._values[:, :, slot].clone(), queries)

    def write_sink(self, states: Sequence[FrameState]) -> None:
        """Put other keys and values in the place of the sink's frames, in their order."""
        for slot, state in enumerate(states):
            self._keys[:, :, slot] = state.keys
            self._values[:, :, slot] = state.values
            self._rotated_at[slot] = None

    def write_bank(self, layer: int, index: int, state: FrameState) -> None:
        """Put one layer of a recalled frame into the bank's slot `index`."""
        self._write_bank(slice(layer, layer + 1), index, state)

    def load_bank(self, states: Sequence[StoredFrame]) -> None:
        """Fill every layer's bank with `states`, in this order; slots that hold the right frame already are left alone."""
        for index, stored in enumerate(states):
            if any(held[index : index + 1] != [stored.frame] for held in self.bank_frames):
                self._write_bank(slice(None), index, stored.load())
        for held in self.bank_frames:
            del held[len(states) :]

    def _write_bank(self, layers: slice, index: int, state: FrameState) -> None:
        slot = self._first_bank_slot + index
        self._keys[layers, :, slot] = state.keys[layers]
        self._values[layers, :, slot] = state.values[layers]
        keys = self._keys[layers, :, slot : slot + 1]
        position = self._bank_position(index, state.frame)
        self._rotated[layers, :, slot] = self._rotate(keys.flatten(0, 1), [position]).view(keys.shape)[:, :, 0]
        for held in self.bank_frames[layers]:
            held[index : index + 1] = [state.frame]

    def keep_in_bank(self, layer: int, indices: Sequence[int]) -> None:
        """Keep the bank's slots `indices` of one layer, in this order; the others are dropped."""
        order = [self._first_bank_slot + index for index in indices]
        kept = slice(self._first_bank_slot, self._first_bank_slot + len(indices))
        for stored in (self._keys, self._values):
            stored[layer : layer + 1, :, kept] = stored[layer : layer + 1, :, order]
        frames = self.bank_frames[layer] = [self.bank_frames[layer][index] for index in indices]
        positions = [self._bank_position(index, frame) for index, frame in enumerate(frames)]
        if positions:
            self._rotated[layer, :, kept] = self._rotate(self._keys[layer, :, kept], positions)

    def bank_keys(self, layer: int) -> Tensor:
        """One layer's bank, rotated: [B, frames, N, H, D]."""
        first = self._first_bank_slot
        return self._rotated[layer, :, first : first + len(self.bank_frames[layer])]

    # Inside

    def _slot(self, frame: int) -> int:
        sink = self.shape.sink
        return frame if frame < sink else sink + (frame - sink) % self.shape.window

    def _slots_to_stage(self, frames: range) -> dict[int, int]:
        """Where each frame at hand goes. A filled sink is protected, unless the pass begins with the film itself."""
        oldest = frames.stop - self.shape.window
        slots = {}
        for frame in frames:
            if frame < self.shape.sink:
                if frames.start == 0 or self._frames[frame] is None:
                    slots[frame] = frame
            elif frame >= oldest:
                slots[frame] = self._slot(frame)
        return slots

    def position(self, frame: int) -> int:
        """`absolute`: the film's latent frame, and what cuts have skipped. `relative`: sink, bank, window and chunk have
        fixed places in a row. `packed`: the places of what is held, with no gap while the film is short.
        """
        if self._position_mode == "absolute":
            return frame + sum(count for start, count in self._skipped if frame >= start)
        if frame < self.shape.sink and frame not in self._at_hand:
            return frame
        if self._position_mode == "packed":
            end = min(self._at_hand.stop, self.shape.sink + self.shape.window)
            return end + len(self.bank_frames[0]) - (self._at_hand.stop - frame)
        return self.shape.memory_places + self.shape.window - (self._at_hand.stop - frame)

    def _bank_position(self, index: int, frame: int) -> int:
        """A given picture, below 0, lies before the sink where frames are numbered as the film's (`absolute`), and where the
        bank's places would be those of a short film's own frames (`packed`); else it has a place like any of the bank.
        """
        if self._position_mode == "absolute" or (self._position_mode == "packed" and frame < 0):
            return self.position(frame)
        return self.shape.sink + index

    def _rotate_to_positions(self, frames: dict[int, int]) -> None:
        """Rotate the slots (slot -> frame) whose position is not the one they were rotated for."""
        moved = {slot: self.position(frame) for slot, frame in frames.items()}
        moved = {slot: position for slot, position in moved.items() if self._rotated_at[slot] != position}
        for run in slot_runs({slot: slot for slot in moved}):
            slots = slice(run[0], run[-1] + 1)
            keys = self._keys[:, :, slots]
            rotated = self._rotate(keys.flatten(0, 1), [moved[slot] for slot in run])
            self._rotated[:, :, slots] = rotated.view(keys.shape)
            for slot in run:
                self._rotated_at[slot] = moved[slot]


def _expand(slots: slice) -> range:
    return range(slots.start, slots.stop)
