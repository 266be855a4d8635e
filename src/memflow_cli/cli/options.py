"""Options that several commands share, and what they mean for a storyboard."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memflow_cli.cli.completion import model_names, one_of
from memflow_cli.cli.talk import result
from memflow_cli.memory.options import KV_KINDS, POLICIES, PUBLISHED
from memflow_cli.version import __version__

if TYPE_CHECKING:
    from memflow_cli.story.overrides import Override


HELP_SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 110},
}


def _print_version(asked: bool) -> None:
    if asked:
        result(f"memflow {__version__}")
        raise typer.Exit


def program_options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    show_help(context)


def show_help(context: typer.Context) -> None:
    """The callback of a group of commands: its name alone shows its help, which is a result, not an error."""
    if context.invoked_subcommand is None:
        result(context.get_help())
        raise typer.Exit


Policy = StrEnum("Policy", {name: name for name in (*POLICIES, PUBLISHED)})  # type: ignore[misc]
KvKind = StrEnum("KvKind", {name: name for name in KV_KINDS})  # type: ignore[misc]


Storyboards = Annotated[
    list[Path],
    typer.Argument(
        metavar="STORYBOARD", help="Storyboards (.yaml, .json), prompt files (.jsonl, .txt), a film's record."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|PATH",
        help="The model; overrides the storyboard's.",
        autocompletion=model_names,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|mps",
        help="Where to compute; cuda:N is one of several GPUs.",
        autocompletion=one_of("auto", "cpu", "cuda", "mps"),
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="auto|fp32|bf16|fp16",
        help="Precision.",
        autocompletion=one_of("auto", "fp32", "bf16", "fp16"),
    ),
]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Width x height in pixels.")]
Kv = Annotated[
    KvKind | None,
    typer.Option("--kv", help="How keys and values are kept: int8 halves the memory of cache and archive."),
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


@dataclass(frozen=True)
class StoryOptions:
    """What a command line changes about its storyboards. Each field is an option of every command that reads them."""

    model: Model = None
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The film's seed.")] = None
    memory: Annotated[
        Policy | None, typer.Option("--memory", help="How the film remembers; overrides the storyboard's policy.")
    ] = None
    bank: Annotated[
        int | None, typer.Option("--bank", metavar="N", help="How many remembered frames are recalled.")
    ] = None
    activate: Annotated[
        int | None,
        typer.Option("--activate", metavar="N", help="How many of the sink's and the bank's frames a head reads."),
    ] = None
    kv: Kv = None
    size: Size = None
    fps: Annotated[int | None, typer.Option("--fps", metavar="N", help="Frames a second of playback.")] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any storyboard field, dotted: memory.bank=5, segments.2.duration=8s (segments count from 1).",
        ),
    ] = None
    segment_seconds: Annotated[
        float,
        typer.Option(
            "--segment-seconds", metavar="S", min=0.01, help="Length of a segment of a .jsonl or .txt prompt file."
        ),
    ] = 10.0

    def overrides(self) -> "list[Override]":
        """As overrides of storyboard fields, `--set` first: an option of its own name wins."""
        from memflow_cli.story.overrides import Override, parse_override

        named = {
            "--model": ("model", self.model),
            "--seed": ("seed", self.seed),
            "--memory": ("memory.policy", self.memory.value if self.memory else None),
            "--bank": ("memory.bank", self.bank),
            "--activate": ("memory.activate", self.activate),
            "--kv": ("memory.kv", self.kv.value if self.kv else None),
            "--size": ("size", self.size),
            "--fps": ("fps", self.fps),
        }
        overrides = [parse_override(setting) for setting in self.settings or []]
        return overrides + [Override(key, value, name) for name, (key, value) in named.items() if value is not None]


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command some of whose parameters are dataclasses of options -> the command with their fields as its options."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += [
                parameter.replace(name=field.name, annotation=field.type, default=field.default)
                for field in fields(parameter.annotation)
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def command_of_options(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command_of_options.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined] # which typer reads
    return command_of_options
