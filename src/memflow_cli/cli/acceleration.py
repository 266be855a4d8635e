"""`--accelerate`: ways to make a model faster that must be asked for."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli.caches import writable_cache_folder
from memflow_cli.cli.talk import warn
from memflow_cli.errors import UsageError
from memflow_cli.models.family import ACCELERATIONS

if TYPE_CHECKING:
    from memflow_cli.backbone import Backbone
    from memflow_cli.models.entry import ModelEntry

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
    if unknown := [name[:40] for name in names if name not in ACCELERATIONS]:
        raise UsageError(f"--accelerate {', '.join(unknown)}: no such way", hint=f"allowed: {', '.join(ACCELERATIONS)}")
    return names


def speed_up(entry: "ModelEntry", backbone: "Backbone", names: tuple[str, ...]) -> None:
    """Switch on what was asked for; compiled code is kept in the user's cache for the next film."""
    if not names:
        return
    choose_compiler_cache()
    from memflow_cli.studio.studio import speed_up as speed_up_model

    speed_up_model(entry, backbone, names, warn)


def choose_compiler_cache() -> None:
    """Where compiled code is kept for the next command, unless the user has said so."""
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(writable_cache_folder("compiled"))
