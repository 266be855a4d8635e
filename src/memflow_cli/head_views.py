"""What each head reads of a cache: all that is in view, or the window and those frames of sink and bank that it chose.

What heads chose is kept, in the same place, until they choose again: a pass that comes after only writes the frames at
hand into it. Shapes: B batch, F latent frames, N tokens a latent frame, H heads, D head size, S slots.
"""

from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor

from memflow_cli.attention_context import Activation

Staged = Sequence[tuple[slice, slice]]
"""Where the frames at hand lie: (which of them, in which slots)."""


class HeadViews:
    """Of every layer, for the passes over the frames at hand."""

    def __init__(self, activation: Activation | None, num_layers: int, num_tokens: int) -> None:
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
        self.views.clear()

    def choose_again(self) -> None:
        self.views.clear()

    @property
    def layout(self) -> Hashable | None:
        """Where passes read; None while heads have yet to choose."""
        if self._is_sparse and (self.chooses_anew or len(self.views) < self._num_layers):
            return None
        return repr(self._slices), self._renewals if self._is_sparse else None

    def read(self, layer: int, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """One layer's slots, rotated keys and values [B, S, N, H, D] -> what its queries [B, F, N, H, D] attend to."""
        choosable, fixed, in_view = self._slices
        if not self._is_sparse:
            return _take(keys, in_view).flatten(1, 2), _take(values, in_view).flatten(1, 2)
        candidate_keys, candidate_values = _take(keys, choosable), _take(values, choosable)
        chosen = self._choose(layer, query, candidate_keys)
        parts = (
            (_take(keys, fixed).flatten(1, 2), _select(candidate_keys, chosen)),
            (_take(values, fixed).flatten(1, 2), _select(candidate_values, chosen)),
        )
        if self.chooses_anew:
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

    def _choose(self, layer: int, query: Tensor, candidate_keys: Tensor) -> Tensor:
        assert self.activation is not None, "activation is asked for only where there is one"
        chosen = self.activation.choose(query.flatten(1, 2).mean(dim=1), candidate_keys.mean(dim=2))
        self.chosen[layer] = chosen
        return chosen

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


def _take(stored: Tensor, slots: list[slice]) -> Tensor:
    """Slots of one layer [B, slots, N, H, D]; a view where they lie side by side."""
    parts = [stored[:, part] for part in slots]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _select(candidates: Tensor, chosen: Tensor) -> Tensor:
    """Each head's own frames: candidates [B, S, N, H, D], chosen [B, H, K] -> [B, K * N, H, D]."""
    _, _, num_tokens, _, head_dim = candidates.shape
    index = chosen.transpose(1, 2)[:, :, None, :, None].expand(-1, -1, num_tokens, -1, head_dim)
    return candidates.gather(1, index).flatten(1, 2)
