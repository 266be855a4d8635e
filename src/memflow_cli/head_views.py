"""What each head reads of a cache: all that is in view, or the window and those frames of sink and bank that it chose.

What heads chose is kept, in the same place, until they choose again: a pass that comes after only writes the frames at
hand into it. Of a cache in eight bits only the choice is kept, and what was chosen is read again by each pass.
Shapes: B batch, F latent frames, N tokens a latent frame, H heads, D head size, S slots.
"""

from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor

from memflow_cli.attention_context import Activation
from memflow_cli.kv_store import Stored

Staged = Sequence[tuple[slice, slice]]
"""Where the frames at hand lie: (which of them, in which slots)."""


class HeadViews:
    """Of every layer, for the passes over the frames at hand."""

    def __init__(
        self, activation: Activation | None, num_layers: int, num_tokens: int, keeps_views: bool = True
    ) -> None:
        self.activation = activation
        self.chooses_anew = activation is not None and activation.as_published
        self.candidates: list[int] = []
        """Slots of sink and bank: what each head chooses from."""
        self.chosen: dict[int, Tensor] = {}
        """Layer -> what its heads chose last, [B, H, K] places among the candidates; empty if all read all."""
        self.views: dict[int, tuple[Tensor, Tensor]] = {}
        """Layer -> keys and values [B, S * N, H, D] that its heads chose to read, until they choose again."""
        self._num_layers = num_layers
        self._num_tokens = num_tokens
        self._keeps_views = keeps_views
        self._settled: set[int] = set()  # layers whose heads have chosen, until they choose again
        self._fixed: list[int] = []  # slots of window and chunk at hand: what every head reads
        self._slices = self._slices_of([], [])
        self._is_sparse = False
        self._storage: dict[int, tuple[Tensor, Tensor]] = {}  # for the views, which stay in place
        self._renewals = 0

    def begin(self, candidates: Sequence[int], fixed: Sequence[int]) -> None:
        """Passes are to come: of these slots heads choose, or read all; those are read by all."""
        self.candidates, self._fixed = [*candidates], [*fixed]
        self._slices = self._slices_of(self.candidates, self._fixed)
        self._is_sparse = self.activation is not None and len(self.candidates) > self.activation.count
        self.chosen.clear()
        self.choose_again()

    def choose_again(self) -> None:
        self.views.clear()
        self._settled.clear()

    @property
    def num_bytes(self) -> int:
        """What the views take; their room stays when heads choose again."""
        return sum(tensor.nbytes for views in self._storage.values() for tensor in views)

    @property
    def layout(self) -> Hashable | None:
        """Where passes read; None while heads have yet to choose."""
        if self._is_sparse and (self.chooses_anew or len(self.views) < self._num_layers):
            return None
        return repr(self._slices), self._renewals if self._is_sparse else None

    def read(self, layer: int, query: Tensor, keys: Stored, values: Stored) -> tuple[Tensor, Tensor]:
        """One layer's slots, rotated keys and values [B, S, N, H, D] -> what its queries [B, F, N, H, D] attend to."""
        choosable, fixed, in_view = self._slices
        if not self._is_sparse:
            return _taken(keys, in_view).tensor().flatten(1, 2), _taken(values, in_view).tensor().flatten(1, 2)
        candidates = _taken(keys, choosable), _taken(values, choosable)
        if self.chooses_anew or layer not in self._settled:
            self._choose(layer, query, candidates[0].tensor())
        chosen = self.chosen[layer]
        parts = tuple(
            (_taken(all_of, fixed).tensor().flatten(1, 2), _selected(some, chosen).tensor())
            for all_of, some in zip((keys, values), candidates, strict=True)
        )
        if self.chooses_anew or not self._keeps_views:
            return torch.cat(parts[0], dim=1), torch.cat(parts[1], dim=1)
        self.views[layer] = self._store(layer, parts)
        return self.views[layer]

    def refresh(self, layer: int, rotated: Tensor, value: Tensor, staged: Staged) -> tuple[Tensor, Tensor]:
        """What the layer's heads chose before, with the frames at hand as they are now."""
        keys, values = self.views[layer]
        for frames, slots in staged:
            first = self._fixed.index(slots.start) * self._num_tokens
            tokens = slice(first, first + (slots.stop - slots.start) * self._num_tokens)
            keys[:, tokens] = rotated[:, frames].flatten(1, 2)
            values[:, tokens] = value[:, frames].flatten(1, 2)
        return keys, values

    def _choose(self, layer: int, query: Tensor, candidate_keys: Tensor) -> None:
        assert self.activation is not None, "activation is asked for only where there is one"
        self.chosen[layer] = self.activation.choose(query.flatten(1, 2).mean(dim=1), candidate_keys.mean(dim=2))
        self._settled.add(layer)

    def _store(self, layer: int, parts: tuple[tuple[Tensor, Tensor], ...]) -> tuple[Tensor, Tensor]:
        """Fixed and chosen keys, fixed and chosen values -> keys and values; in the same place as long as sizes last."""
        length = sum(part.shape[1] for part in parts[0])
        held = self._storage.get(layer)
        if held is None or held[0].shape[1] != length:
            held = torch.cat(parts[0], dim=1), torch.cat(parts[1], dim=1)
            self._storage[layer] = held
            self._renewals += 1
        else:
            for target, pair in zip(held, parts, strict=True):
                torch.cat(pair, dim=1, out=target)
        return held

    @staticmethod
    def _slices_of(candidates: list[int], fixed: list[int]) -> tuple[list[slice], list[slice], list[slice]]:
        return _slices(candidates), _slices(fixed), _slices(fixed + candidates)


def slot_runs(slots: dict[int, int]) -> list[list[int]]:
    """Split the keys of `slots` into runs in which key and slot both rise by one."""
    runs: list[list[int]] = []
    for item, slot in sorted(slots.items()):
        if runs and item == runs[-1][-1] + 1 and slot == slots[runs[-1][-1]] + 1:
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs


def _slices(slots: Iterable[int]) -> list[slice]:
    """Slots as the fewest slices, in ascending order; one empty slice if there are none."""
    return [slice(run[0], run[-1] + 1) for run in slot_runs({slot: slot for slot in slots})] or [slice(0, 0)]


def _taken(layer: Stored, slots: list[slice]) -> Stored:
    """Slots of one layer [B, slots, N, H, D]; a view where they lie side by side."""

    def take(part: Tensor) -> Tensor:
        parts = [part[:, run] for run in slots]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    return layer.map(take)


def _selected(candidates: Stored, chosen: Tensor) -> Stored:
    """Each head's own frames: candidates [B, S, N, H, D], chosen [B, H, K] -> [B, K * N, H, D]."""

    batch = torch.arange(chosen.shape[0], device=chosen.device)[:, None, None]
    heads = torch.arange(chosen.shape[1], device=chosen.device)[:, None]

    def select(part: Tensor) -> Tensor:
        taken = part[batch, chosen, :, heads]  # [B, H, K, N, D]: whole rows are moved
        return taken.permute(0, 2, 3, 1, 4).flatten(1, 2)

    return candidates.map(select)
