"""Matrices and convolutions packed once, as oneDNN wants them, which torch else does in every call.

The operators are those that torch's own compiler calls. Where they are not there, or this CPU does not multiply such
numbers, torch's plain operators are taken: the slow twins.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_GELU: Sequence[Any] = ("gelu", [], "tanh")
_NOTHING: Sequence[Any] = ("none", [], "")


class Product:
    """[..., in] -> gelu(x @ weight.T + bias), or without the gelu. `weight` [out, in], `bias` [out]."""

    def __init__(self, weight: Tensor, bias: Tensor, gelu: bool = False) -> None:
        self._bias, self._gelu = bias, gelu
        self._is_packed = weight.device.type == "cpu" and packs(weight.dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None) if self._is_packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        if self._is_packed:
            how = _GELU if self._gelu else _NOTHING
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, *how)
            return product
        product = F.linear(x, self._weight, self._bias)
        return F.gelu(product, approximate="tanh") if self._gelu else product


class Convolution:
    """[F, in, h, w] -> [F, out, h', w'], channels last. `weight` [out, in, k, k], `bias` [out]."""

    def __init__(self, weight: Tensor, bias: Tensor, padding: int = 0, stride: int = 1) -> None:
        self._bias = bias
        self._padding, self._stride = [padding] * 2, [stride] * 2
        self._is_packed = weight.device.type == "cpu" and packs(weight.dtype)
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        if self._is_packed:
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, self._padding, self._stride, [1, 1], 1, None
            )

    def __call__(self, x: Tensor) -> Tensor:
        if self._is_packed:
            made: Tensor = torch.ops.mkldnn._convolution_pointwise(x, *self._told(), *_NOTHING)
            return made
        return F.conv2d(x, self._weight, self._bias, self._stride, self._padding)

    def add_to(self, target: Tensor, x: Tensor) -> Tensor:
        """Adds what it makes of `x` to `target`, in place."""
        if not self._is_packed:
            return target.add_(self(x))
        torch.ops.mkldnn._convolution_pointwise_.binary(target, x, *self._told(), "add", 1.0, None, [], "")
        return target

    def _told(self) -> tuple[Any, ...]:
        return self._weight, self._bias, self._padding, self._stride, [1, 1], 1


@cache
def packs(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies `dtype` and this torch has the operators, which are not promised to stay."""
    if dtype not in (torch.bfloat16, torch.float32) or not torch.backends.mkldnn.is_available():
        return False
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        ones = torch.ones(2, 2, dtype=dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(ones, None)
        made = torch.ops.mkldnn._linear_pointwise(ones, packed, ones[0], *_NOTHING)
        picture, kernel = ones[None, None], ones[None, None, :1, :1]
        packed = torch.ops.mkldnn._reorder_convolution_weight(kernel, [0, 0], [1, 1], [1, 1], 1, None)
        target = picture.clone()
        told = (picture, packed, ones[0, :1], [0, 0], [1, 1], [1, 1], 1)
        torch.ops.mkldnn._convolution_pointwise_.binary(target, *told, "add", 1.0, None, [], "")
        return bool((made == 3).all() and (target == 3).all())
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
