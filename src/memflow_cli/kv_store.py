"""How keys and values are kept: as they are, or in eight bits, which halves the room of sixteen (`--kv int8`).

In eight bits, each group of 64 numbers of a head shares a power of two: the least that brings all of them into -127..127.
What was kept so once is exact in 16 bits, and keeping it again changes nothing: a frame goes from the cache to the archive
and back as it is. Source: the shared scales of the OCP microscaling formats (their groups have 32 numbers).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memflow_cli.geometry import kv_group

LARGEST = 127
LEAST_POWER, MOST_POWER = -24, 120  # fp16 has nothing below; eight bits hold nothing above


@dataclass(frozen=True)
class Stored:
    """A tensor [..., D] as it is kept. `parts`: itself, or eight bits of it and their powers of two [..., D / 64].

    An index counts in all dimensions but D, so that it holds for both parts; what is read is of `dtype`.
    """

    parts: tuple[Tensor, ...]
    dtype: torch.dtype

    @staticmethod
    def zeros(size: tuple[int, ...], int8: bool, dtype: torch.dtype, device: torch.device | str) -> "Stored":
        sizes = [(size, torch.int8), (_powers_size(size), torch.int8)] if int8 else [(size, dtype)]
        return Stored(tuple(torch.zeros(shape, dtype=kind, device=device) for shape, kind in sizes), dtype)

    @staticmethod
    def of(tensor: Tensor, int8: bool) -> "Stored":
        return Stored(pack(tensor) if int8 else (tensor,), tensor.dtype)

    @property
    def num_bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in self.parts)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Stored":
        """The same change of each part; it leaves the last dimension alone."""
        return Stored(tuple(map(change, self.parts)), self.dtype)

    def tensor(self) -> Tensor:
        return self.parts[0] if len(self.parts) == 1 else unpack(self.parts[0], self.parts[1], self.dtype)

    def on_host(self) -> "Stored":
        """The same in host memory, pinned where it comes from a GPU, so that it returns without waiting."""
        return self.map(_on_host)

    def __getitem__(self, place: Any) -> Tensor:
        return self.map(lambda part: part[place]).tensor()

    def __setitem__(self, place: Any, values: Tensor) -> None:
        kept = (values,) if len(self.parts) == 1 else pack(values)
        for part, new in zip(self.parts, kept, strict=True):
            part[place].copy_(new, non_blocking=True)  # nobody waits for pinned memory


def pack(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """[..., D] -> eight bits of it, and each group's power of two, int8 both."""
    groups = tensor.float().unflatten(-1, (-1, kv_group(tensor.shape[-1])))
    largest = groups.abs().amax(dim=-1) / LARGEST
    # The exponent of fp32, rounded up: exact on every device, which a logarithm is not.
    powers = ((largest.view(torch.int32) + 0x7FFFFF >> 23) - 127).clamp(LEAST_POWER, MOST_POWER)
    numbers = (groups * _two_to_the(-powers).unsqueeze(-1)).round().clamp(-LARGEST, LARGEST)
    return numbers.flatten(-2).to(torch.int8), powers.to(torch.int8)


def unpack(numbers: Tensor, powers: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of `pack`, but for what eight bits do not hold."""
    groups = numbers.to(dtype).unflatten(-1, (powers.shape[-1], -1))
    return (groups * _two_to_the(powers.int()).to(dtype).unsqueeze(-1)).flatten(-2)


def _two_to_the(powers: Tensor) -> Tensor:
    """Whole powers in int32 -> fp32, exactly."""
    return (powers + 127 << 23).view(torch.float32)


def _powers_size(size: tuple[int, ...]) -> tuple[int, ...]:
    return (*size[:-1], size[-1] // kv_group(size[-1]))


def _on_host(tensor: Tensor) -> Tensor:
    if tensor.device.type == "cpu":
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.device.type == "cuda")
    return host.copy_(tensor)
