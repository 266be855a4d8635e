"""A weight in fewer bits than a model computes in: numbers are made of it when it goes where it is used.

Made all at once, those of a large model would take several times its room in the host's memory. So a model is loaded tensor
by tensor, and a tensor a few rows at a time: the most held is the model in its own precision, and some rows in fp32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NUMBERS_AT_A_TIME = 1 << 24  # 64 MiB in fp32


@dataclass(frozen=True)
class Packed:
    """`rows`: (first, end) -> these of its `count` rows, as the file has them, in fp32; of any shape."""

    shape: torch.Size
    count: int
    rows: Callable[[int, int], Tensor]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Tensor:
        """Its numbers, in their place and precision."""
        made = torch.empty(self.shape, device=device, dtype=dtype)
        if not made.numel():
            return made
        flat = made.view(self.count, -1)
        step = max(1, NUMBERS_AT_A_TIME // flat.shape[1])
        for first in range(0, self.count, step):
            end = min(first + step, self.count)
            flat[first:end] = self.rows(first, end).reshape(end - first, -1)
        return made


Weight = Tensor | Packed
