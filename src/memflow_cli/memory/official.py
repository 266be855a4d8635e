"""The published MemFlow memory, quirks included, for parity and for users who want the published behaviour.

A bank a layer, and one pending prototype. At every chunk (not only when something new was recorded) the pending
prototype is written into the bank again, so that a prototype competes with copies of itself; at a prompt switch the
prompt's keys are zero, twice, so that the new prompt chooses nothing; an evicted frame is gone for good. `nam` does none
of this.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.activation import TopFrames
from memflow_cli.memory.policy import CacheNeeds, Nameless, Recache, Recall, Remembered


class OfficialMemory(Nameless):
    """Source: the published inference code's behaviour, as recorded in the parity files."""

    recache: Recache = "jointly"

    def __init__(self, sink: int, bank: int, record_interval: int = 3, activate: int | None = None) -> None:
        activation = TopFrames(activate, as_published=True) if activate else None
        self.needs = CacheNeeds(sink=sink, bank=bank, activation=activation, attend_bank=sink > 0)
        self._record_interval = record_interval
        self._num_recorded = 0
        self._pending: FrameState | None = None
        self._blind_retrievals = 0

    def switch_prompt(self, prompt: PromptProjection) -> None:
        self._blind_retrievals = 2  # the recache's, and the next chunk's

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        left = self.leave(cache, cache.window_frames)
        cache.clear_window()
        return left

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        blind = self._blind_retrievals > 0
        self._blind_retrievals = max(0, self._blind_retrievals - 1)
        if self._pending is None or not self.needs.bank:
            return Recall()
        if self._num_recorded <= self.needs.bank:
            for layer in range(cache.shape.num_layers):
                cache.write_bank(layer, self._num_recorded - 1, self._pending)
            return Recall()
        totals: dict[int, float] = {}
        for layer, prompt_keys in enumerate(prompt.keys):
            scores = published_score(torch.zeros_like(prompt_keys) if blind else prompt_keys, cache.bank_keys(layer))
            for frame, score in zip(cache.bank_frames[layer], scores.tolist(), strict=True):
                totals[frame] = max(totals.get(frame, score), score)
            cache.keep_in_bank(layer, scores.topk(self.needs.bank - 1).indices.tolist())
            cache.write_bank(layer, self.needs.bank - 1, self._pending)
        return Recall(totals)

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        return Remembered()

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        if chunk % self._record_interval:
            return Remembered()
        evicted = () if self._pending is None else (self._pending.frame,)
        self._pending = cache.read(first_frame)
        self._num_recorded += 1
        return Remembered(archived=(first_frame,), evicted=evicted)


def published_score(prompt_keys: Tensor, bank_keys: Tensor) -> Tensor:
    """Mean over all prompt positions (padding too), heads and tokens of prompt key . bank key / sqrt(D).

    `prompt_keys`: [1, T, H, D]. `bank_keys`: [1, S, N, H, D], rotated. Returns [S] in fp32.
    """
    prompt = prompt_keys.float().mean(dim=1)  # [1, H, D]
    frames = bank_keys.float().mean(dim=2)  # [1, S, H, D]
    scores = (prompt.unsqueeze(1) * frames).sum(dim=-1) / bank_keys.shape[-1] ** 0.5
    return scores.mean(dim=-1)[0]
