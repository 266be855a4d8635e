"""Training's products are in bf16 where the device multiplies it itself; elsewhere bf16 is a hundred times slower than fp32."""

import torch

from memflow_cli.machine.device import fast_dtype


def product_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if fast_dtype(device) is torch.bfloat16 else torch.float32


def fast_products(device: torch.device) -> torch.autocast:
    """A context in which matrices are multiplied in `product_dtype`."""
    dtype = product_dtype(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16)
