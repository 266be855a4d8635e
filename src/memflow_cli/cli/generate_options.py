"""The options of `memflow generate`, and what they say together."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli import options
from memflow_cli.cli.acceleration import Accelerate, parse_accelerations
from memflow_cli.cli.completion import one_of
from memflow_cli.cli.device import check_names, parse_vram
from memflow_cli.cli.words import PROGRESS_KINDS
from memflow_cli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from memflow_cli.models.entry import Lora
    from memflow_cli.studio.needs import Wishes


@dataclass(frozen=True)
class GenerateOptions:
    """As they stand on the command line; the methods say what they mean. Each raises UsageError for what cannot be."""

    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILM|FOLDER/", help="film.mp4, or a folder for several films. [here]"),
    ] = None
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora", metavar="FILE[:STRENGTH]", help="A LoRA of your own, merged into the model; several work."
        ),
    ] = None
    vram: Annotated[
        str,
        typer.Option(
            "--vram",
            metavar="auto|SIZE",
            help="Memory of the card that may be used, such as 8GiB; what does not fit is streamed or left on the host.",
        ),
    ] = "auto"
    preview_decoder: options.PreviewDecoder = None
    accelerate: Accelerate = ""
    offline: Annotated[
        bool, typer.Option("--offline", help="Never touch the network. (generate downloads nothing in any case.)")
    ] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", "-y", help="Replace a film that is there already.")] = False
    no_overwrite: Annotated[
        bool, typer.Option("--no-overwrite", "-n", help="Leave a film that is there already, whatever it is.")
    ] = False
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Start over instead of going on with an interrupted run.")
    ] = False
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="auto|no|SIZE",
            help="Keep what a film can be edited and gone on from, up to this size (film.mp4.run). [auto: theatre's]",
        ),
    ] = "auto"
    keep_run: Annotated[bool, typer.Option("--keep-run", help="Keep that of whatever size.")] = False
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time", metavar="TIME", help="Stop after this long (90s, 2h); the same command goes on later."
        ),
    ] = None
    watch: Annotated[
        bool, typer.Option("--watch", help="Play the film on a page of this machine while it is made.")
    ] = False
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="With --watch: print the page's address instead of opening it.")
    ] = False
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Write what the film remembered beside it (see inspect-memory).")
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check storyboards, pictures, model files, outputs; print the plan; make nothing."
        ),
    ] = False
    progress: Annotated[
        str,
        typer.Option(
            metavar="|".join(PROGRESS_KINDS),
            help="What is told on stderr while films are made.",
            autocompletion=one_of(*PROGRESS_KINDS),
        ),
    ] = "auto"
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a film on stdout.")] = False

    def check(self, num_storyboards: int) -> None:
        """Whatever is wrong with the options is told before any storyboard is read."""
        if self.overwrite and self.no_overwrite:
            raise UsageError("--overwrite and --no-overwrite contradict each other")
        if self.watch and num_storyboards > 1:
            raise UsageError("--watch shows one film", "give one storyboard")
        check_names(self.device, self.dtype)

    def accelerations(self) -> tuple[str, ...]:
        return parse_accelerations(self.accelerate)

    def vram_bytes(self) -> int | None:
        return parse_vram(self.vram)

    def max_seconds(self) -> float | None:
        from memflow_cli.story.quantities import parse_seconds

        try:
            return None if self.max_time is None else parse_seconds(self.max_time)
        except ValueError as error:
            raise UsageError(f"--max-time: {error}") from None

    def loras(self) -> "tuple[Lora, ...]":
        return tuple(_parse_lora(text) for text in self.lora or [])

    def wishes(self) -> "Wishes":
        from memflow_cli.studio.needs import Wishes

        return Wishes(
            self.overwrite,
            self.no_overwrite,
            not self.no_resume,
            self._kept_bytes(),
            self.preview_decoder,
            self.inspect,
        )

    def _kept_bytes(self) -> float | None:
        """How large a film's run folder may be for it to be kept; None: as the model has it."""
        from memflow_cli.story.quantities import parse_bytes

        if self.keep_run or self.keep == "auto":
            return float("inf") if self.keep_run else None
        try:
            return 0 if self.keep == "no" else parse_bytes(self.keep)
        except ValueError as error:
            raise UsageError(f"--keep: {error}", hint="for example --keep 2GiB, --keep no, or --keep auto") from None


def _parse_lora(text: str) -> "Lora":
    """FILE or FILE:STRENGTH. Raises UsageError for a strength that is none, ModelError for a file that is not there."""
    from memflow_cli.models.entry import Lora
    from memflow_cli.models.files import check_checkpoint

    name, _, strength = text.rpartition(":")
    lora = Lora(Path(text))
    if name and not Path(text).exists():
        try:
            lora = Lora(Path(name), float(strength))
            if not math.isfinite(lora.strength):
                raise ValueError
        except ValueError:
            raise UsageError(f"--lora {text}: {strength!r} is not a number", hint="--lora my.safetensors:0.8") from None
    if not lora.path.is_file():
        raise ModelError(f"--lora {text}: there is no file {lora.path}")
    check_checkpoint(lora.path)
    return lora
