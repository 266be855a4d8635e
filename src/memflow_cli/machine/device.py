"""Which device and which precision a film is made with. No torch at import."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memflow_cli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "fp32", "bf16", "fp16")


def check_names(device: str, dtype: str) -> None:
    """Raises UsageError for a name that is none, before anything slow happens."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
        raise UsageError(f"--device {device[:40]}: no such device", hint="allowed: auto, cpu, cuda, cuda:N, mps")
    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype[:40]}: no such precision", hint=f"allowed: {', '.join(DTYPES)}")


def choose_device(name: str) -> torch.device:
    """`auto`: a GPU if there is one. Raises DeviceError if the device asked for is not there."""
    import torch

    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    missing = (name.startswith("cuda") and not torch.cuda.is_available()) or (name == "mps" and not has_mps)
    if missing:
        raise DeviceError(
            f"--device {name}: this machine's PyTorch sees no such device", "--device cpu works everywhere"
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: there are only {torch.cuda.device_count()} GPUs, counted from 0")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where the device multiplies it fast, else float16 on a GPU and float32 on a CPU."""
    import torch

    if name == "auto":
        return fast_dtype(device)
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it itself, else float16 on a GPU and float32 on a CPU."""
    import torch

    if device.type == "cpu":
        return torch.bfloat16 if _cpu_multiplies_bf16() else torch.float32
    # torch counts cards that only emulate it unless told otherwise
    is_native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if is_native else torch.float16


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has instructions for it: theatre takes 1.5 to 1.8 times less of its time then, without them more."""
    import torch

    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "sve_bf16", "bf16"))
