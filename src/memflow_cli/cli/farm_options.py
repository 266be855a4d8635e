"""The options of `memflow generate` for many machines."""

import re
from dataclasses import dataclass, fields
from typing import Annotated

import typer

from memflow_cli.errors import UsageError

INSTALL = "pip install 'memflow-cli[ray]'"


@dataclass(frozen=True)
class FarmOptions:
    """Where films are made, if not in this process."""

    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="ray|ray://HOST:PORT",
            help="Make films on a Ray cluster: the one that RAY_ADDRESS names, else this machine's cores and GPUs. "
            f"[needs: {INSTALL}]",
        ),
    ] = None
    films_at_once: Annotated[
        int | None,
        typer.Option(
            "--films-at-once", metavar="N", min=1, help="With --on: films at once. [as many as there is room]"
        ),
    ] = None
    gpus_per_film: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-film", metavar="N", min=0, help="With --on: GPUs, or a part of one. [1 if there are any]"
        ),
    ] = None
    cpus_per_film: Annotated[
        float | None, typer.Option("--cpus-per-film", metavar="N", min=0, help="With --on: cores. [an equal share]")
    ] = None
    retries: Annotated[
        int,
        typer.Option(
            "--retries", metavar="N", min=0, help="With --on: workers that a film may lose without getting on."
        ),
    ] = 3
    fetch: Annotated[
        bool, typer.Option("--fetch", help="With --on: no shared disk; films and their runs are brought back here.")
    ] = False

    def check(self, is_watched: bool) -> None:
        """Raises UsageError for what cannot be."""
        if self.on is None:
            given = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
            if given:
                raise UsageError(
                    f"--{given[0].replace('_', '-')} says how films are made on a cluster", "give --on ray"
                )
        elif not re.fullmatch(r"ray|ray://[\w.\[\]:-]+:\d{1,5}", self.on):
            raise UsageError(f"--on {self.on[:60]}: no such place", "--on ray, or --on ray://HOST:10001")
        elif is_watched:
            raise UsageError("--watch plays a film that this machine makes", "leave out --watch, or --on")
