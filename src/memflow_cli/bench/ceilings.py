"""What the machine can do at most, and how much memory was taken of it."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from memflow_cli.backbone import Backbone


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do, measured in the same run: a matrix product and a copy."""

    flops: float
    bytes_per_second: float


def measure_ceilings(backbone: Backbone) -> Ceilings:
    """The fastest of a few large matrix products and copies, in the model's own precision."""
    side = 2048 if backbone.device.type == "cpu" else 8192
    a = torch.randn(side, side, device=backbone.device).to(backbone.dtype)
    b = torch.randn(side, side, device=backbone.device).to(backbone.dtype)
    source = torch.empty(2**26 if backbone.device.type == "cpu" else 2**30, dtype=torch.uint8, device=backbone.device)
    target = torch.empty_like(source)
    product = _fastest(lambda: torch.matmul(a, b), backbone.device)
    copy = _fastest(lambda: target.copy_(source), backbone.device)
    return Ceilings(2 * side**3 / product, 2 * source.numel() / copy)


def _fastest(work: Callable[[], object], device: torch.device, repeats: int = 8) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_bytes(backbone: Backbone) -> int:
    """The most memory this process has held: on the GPU if there is one, else resident."""
    if backbone.device.type == "cuda":
        return torch.cuda.max_memory_allocated(backbone.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
