"""Weights stored in eight bits: half the file of bf16. Loading makes numbers of them again, tensor by tensor.

Names are those of compressed-tensors (`X.weight` holds int8 or fp8, `X.weight_scale` one number for each row, or for all)
or of ComfyUI (a tensor `scaled_fp8` marks the file, `X.scale_weight` holds one number). `X.scale_input`, `X.input_scale`
are for products in fp8, and are left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from memflow_cli.errors import ModelError
from memflow_cli.models.weights.packed import Packed, Weight

SCALE = "_scale"
COMFY_SCALE = "scale_weight"
MARKER = "scaled_fp8"
EIGHT_BITS = (torch.int8, torch.float8_e4m3fn, torch.float8_e5m2)
_FOR_PRODUCTS = (".scale_input", ".input_scale", ".comfy_quant")
_NVFP4 = (".weight_scale_2", ".weight_global_scale", ".weight_packed")


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
    """The tensors of `path` with those of eight bits as fp32, all at once: for a small model. See `with_scales`."""
    plain = with_scales(path, tensors)
    return {name: each.to("cpu", torch.float32) if isinstance(each, Packed) else each for name, each in plain.items()}


def with_scales(path: Path, tensors: Mapping[str, Weight]) -> dict[str, Weight]:
    """The tensors of `path` with those of eight bits and their scales as one, ready to become numbers.

    Raises ModelError for eight bits without a scale or with one of a wrong size, and for NVFP4.
    """
    if four_bits := next((name for name in tensors if name.endswith(_NVFP4)), None):
        raise ModelError(
            f"{path} is in NVFP4: {four_bits} belongs to weights of four bits",
            "products in NVFP4 need a GPU of the Blackwell generation and kernels that are not here; "
            "use the model's checkpoint in bf16, fp8 or GGUF",
        )
    is_small = any(_is_small(tensor) for tensor in tensors.values())
    plain: dict[str, Weight] = {}
    for name, tensor in tensors.items():
        if name == MARKER or (is_small and name.endswith(_FOR_PRODUCTS)):
            continue
        of = _scaled_by(name)
        if (
            of is not None
            and of in tensors
            and (_is_small(tensors[of]) or (MARKER in tensors and tensor.shape.numel() == 1))
        ):
            continue
        scale = tensors.get(name + SCALE, tensors.get(_comfy_scale(name)))
        plain[name] = _times_scale(path, name, tensor, scale) if _is_small(tensor) else tensor
    return plain


def _scaled_by(name: str) -> str | None:
    """The weight that a scale belongs to."""
    if name.endswith(f".{COMFY_SCALE}"):
        return name.removesuffix(COMFY_SCALE) + "weight"
    return name.removesuffix(SCALE) if name.endswith(SCALE) else None


def _comfy_scale(name: str) -> str:
    return name.removesuffix("weight") + COMFY_SCALE


def _is_small(tensor: Weight | None) -> TypeGuard[Tensor]:
    return isinstance(tensor, Tensor) and tensor.dtype in EIGHT_BITS


def _times_scale(path: Path, name: str, small: Tensor, scale: Weight | None) -> Packed:
    if not isinstance(scale, Tensor):
        raise ModelError(
            f"{path} holds {name} in eight bits, without {name + SCALE}", "use a checkpoint in bf16 or fp32"
        )
    rows = small.shape[0] if small.ndim else 1
    if scale.numel() not in (1, rows) or not scale.is_floating_point():
        raise ModelError(f"{path} holds {scale.numel()} numbers as {name + SCALE}, not 1 or {rows}")
    numbers = small.reshape(rows, -1)
    factors = scale.float().reshape(-1, 1).expand(rows, 1)
    return Packed(small.shape, rows, lambda first, end: numbers[first:end].float() * factors[first:end])
