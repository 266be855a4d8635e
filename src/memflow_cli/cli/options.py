"""Options that several commands share, and what they mean for a storyboard."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from memflow_cli.storyboard import Override


class Policy(StrEnum):
    nam = "nam"
    official = "official"
    sink = "sink"
    window = "window"


Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME|PATH", help="The model; overrides the storyboard's.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The film's seed.")]
Memory = Annotated[
    Policy | None, typer.Option("--memory", help="How the film remembers; overrides the storyboard's policy.")
]
Bank = Annotated[int | None, typer.Option("--bank", metavar="N", help="How many remembered frames are recalled.")]
Activate = Annotated[
    int | None,
    typer.Option("--activate", metavar="N", help="How many of the sink's and the bank's frames a head reads."),
]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Width x height in pixels.")]
Fps = Annotated[int | None, typer.Option("--fps", metavar="N", help="Frames a second of playback.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any storyboard field, dotted: memory.bank=5, segments.2.duration=8s (segments count from 1).",
    ),
]
SegmentSeconds = Annotated[
    float,
    typer.Option(
        "--segment-seconds", metavar="S", min=0.01, help="Length of a segment of a .jsonl or .txt prompt file."
    ),
]
PreviewDecoder = Annotated[
    Path | None,
    typer.Option(
        "--preview-decoder",
        metavar="FILE",
        help="Decode with these weights of a tiny decoder (TAEHV's taew2_1): faster, coarser frames.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def make_overrides(
    settings: list[str] | None,
    model: str | None = None,
    seed: int | None = None,
    memory: Policy | None = None,
    bank: int | None = None,
    activate: int | None = None,
    size: str | None = None,
    fps: int | None = None,
) -> "list[Override]":
    """Options as overrides of storyboard fields, `--set` first: an option of its own name wins."""
    from memflow_cli.storyboard import Override, parse_override  # brings pydantic, which `--help` can do without

    named = {
        "--model": ("model", model),
        "--seed": ("seed", seed),
        "--memory": ("memory.policy", memory.value if memory else None),
        "--bank": ("memory.bank", bank),
        "--activate": ("memory.activate", activate),
        "--size": ("size", size),
        "--fps": ("fps", fps),
    }
    overrides = [parse_override(setting) for setting in settings or []]
    return overrides + [Override(key, value, name) for name, (key, value) in named.items() if value is not None]
