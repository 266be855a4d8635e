"""Which device and which precision a film is made with."""

import re
from typing import TYPE_CHECKING

from memflow_cli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

    from memflow_cli.cli.stories import Story
    from memflow_cli.models.footprint import Placement

DTYPES = ("auto", "fp32", "bf16", "fp16")


def check_names(device: str, dtype: str) -> None:
    """Raises UsageError for a name that is none, before anything slow happens."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
        raise UsageError(f"--device {device[:40]}: no such device", hint="allowed: auto, cpu, cuda, cuda:N, mps")
    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype[:40]}: no such precision", hint=f"allowed: {', '.join(DTYPES)}")


def choose_device(name: str) -> "torch.device":
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


def parse_vram(text: str) -> int | None:
    """ "8GiB" -> bytes, "auto" -> None. Raises UsageError for an amount that is none."""
    from memflow_cli.story.quantities import parse_bytes

    try:
        return None if text == "auto" else parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--vram: {error}", hint="for example --vram 8GiB, or --vram auto") from None


def choose_placement(
    budget: int | None, story: "Story", device: "torch.device", dtype: "torch.dtype"
) -> "Placement | None":
    """What of a model stays on the card; None: all of it, unasked.

    `budget`: bytes of the card that may be used; None: those that are free now. Raises OutOfMemoryError if the film does
    not fit whatever gives way.
    """
    import torch

    from memflow_cli.models.family import family_of
    from memflow_cli.models.footprint import place

    if budget is None:
        if device.type != "cuda" or not family_of(story.entry).takes_placement:
            return None
        torch.cuda.empty_cache()  # what torch keeps of a model before is free too
        budget = torch.cuda.mem_get_info(device)[0]
    memory, plan = story.storyboard.memory, story.plan
    return place(story.entry, plan.width, plan.height, memory.num_recalled, budget, dtype.itemsize, memory.num_chosen)


def choose_dtype(name: str, device: "torch.device") -> "torch.dtype":
    """`auto`: bfloat16 where the device multiplies it fast, else float16 on a GPU and float32 on a CPU."""
    import torch

    from memflow_cli.machine.device import fast_dtype

    if name == "auto":
        return fast_dtype(device)
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
