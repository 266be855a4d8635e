"""Weights stored in eight bits: half the file of bf16. Loading makes numbers of them again; nothing computes in eight bits.

Names are those of compressed-tensors: `NAME` holds int8 or fp8, `NAME_scale` one fp32 number for each row, or for all.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from memflow_cli.errors import ModelError

SCALE = "_scale"
EIGHT_BITS = (torch.int8, torch.float8_e4m3fn, torch.float8_e5m2)


def quantise_rows(weight: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
    """[rows, ...] -> int8 of the same shape, and scales fp32 of one number a row, [rows, 1, ...].

    A row's largest number becomes the largest of so many `bits` (2 to 8): 127 of eight. Fewer take as much room as eight,
    but compress better.
    """
    rows = weight.float()
    largest = rows.abs().amax(dim=tuple(range(1, rows.ndim)), keepdim=True)
    scale = largest.clamp_min(torch.finfo(torch.float32).tiny) / (2 ** (bits - 1) - 1)
    return (rows / scale).round().to(torch.int8), scale


def dequantise(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `path` with those of eight bits as fp32, and without the scales.

    Raises ModelError for eight bits without a scale, or with one of a wrong size.
    """
    plain = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and _is_small(tensors.get(name.removesuffix(SCALE))):
            continue
        plain[name] = _times_scale(path, name, tensor, tensors.get(name + SCALE)) if _is_small(tensor) else tensor
    return plain


def _is_small(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dtype in EIGHT_BITS


def _times_scale(path: Path, name: str, small: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None:
        raise ModelError(
            f"{path} holds {name} in eight bits, without {name + SCALE}", "use a checkpoint in bf16 or fp32"
        )
    rows = small.shape[0] if small.ndim else 1
    if scale.numel() not in (1, rows):
        raise ModelError(f"{path} holds {scale.numel()} numbers as {name + SCALE}, not 1 or {rows}")
    return small.float() * scale.float().reshape(-1, *[1] * (small.ndim - 1))
