"""Which device and which precision a film is made with, as the command line says it."""

from typing import TYPE_CHECKING

from memflow_cli.errors import UsageError
from memflow_cli.machine.device import check_names as check_names
from memflow_cli.machine.device import choose_device as choose_device
from memflow_cli.machine.device import choose_dtype as choose_dtype

if TYPE_CHECKING:
    import torch

    from memflow_cli.cli.stories import Story
    from memflow_cli.models.footprint import Placement


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
