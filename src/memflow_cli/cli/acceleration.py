"""`--accelerate`: ways to make a model faster that must be asked for."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli.talk import warn
from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    from memflow_cli.backbone import Backbone

KINDS = ("compile", "graphs", "cudnn", "sage", "fp8")  # as wan/acceleration.py has them, without importing torch

Accelerate = Annotated[
    str,
    typer.Option(
        "--accelerate",
        metavar="LIST",
        help="Make the model faster: compile anywhere; graphs, cudnn, sage, fp8 on an NVIDIA GPU (sage, fp8: less exact).",
    ),
]


def parse_accelerations(text: str) -> tuple[str, ...]:
    """ "compile,graphs" -> names. Raises UsageError for one that is none."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name[:40] for name in names if name not in KINDS]:
        raise UsageError(f"--accelerate {', '.join(unknown)}: no such way", hint=f"allowed: {', '.join(KINDS)}")
    return names


def speed_up(backbone: "Backbone", names: tuple[str, ...]) -> None:
    """Switch on what was asked for; compiled code is kept in the user's cache for the next film."""
    if not names:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memflow" / "compiled"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    from memflow_cli.models.wan.acceleration import accelerate

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        accelerate(backbone, names)
    for warning in caught:
        if warning.category is RuntimeWarning:
            warn(str(warning.message))
