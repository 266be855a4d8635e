"""Which device and which precision a film is made with, as the command line says it."""

from memflow_cli.errors import UsageError
from memflow_cli.machine.device import check_names as check_names
from memflow_cli.machine.device import choose_device as choose_device
from memflow_cli.machine.device import choose_dtype as choose_dtype


def parse_vram(text: str) -> int | None:
    """ "8GiB" -> bytes, "auto" -> None. Raises UsageError for an amount that is none."""
    from memflow_cli.story.quantities import parse_bytes

    try:
        return None if text == "auto" else parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--vram: {error}", hint="for example --vram 8GiB, or --vram auto") from None
