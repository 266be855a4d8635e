"""From the command line's arguments to films that can be made: storyboard, model, plan and output of each."""

import contextlib
import dataclasses
import errno
import os
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from memflow_cli.film.script import PlannedStory
    from memflow_cli.models.entry import ModelEntry
    from memflow_cli.story.load import LoadedStory
    from memflow_cli.story.overrides import Override
    from memflow_cli.story.plan import FilmPlan
    from memflow_cli.story.record import ModelFiles
    from memflow_cli.story.storyboard import Storyboard


_FIELD_BELOW = re.compile(r"(memory\.\w+):? ")


@dataclass(frozen=True)
class Story:
    """One film to be made."""

    path: Path  # the storyboard's file
    name: str  # of the film's file, without a suffix
    planned: "PlannedStory"
    entry: "ModelEntry"
    warnings: tuple[str, ...] = ()  # what the storyboard's reader has to say

    @property
    def storyboard(self) -> "Storyboard":
        """Resolved but for its seed, which may be None: not drawn yet."""
        return self.planned.storyboard

    @property
    def plan(self) -> "FilmPlan":
        return self.planned.plan


def read_stories(path: Path, segment_seconds: float, overrides: Sequence["Override"]) -> list[Story]:
    """The films of one file: one of a .yaml, one per line of a .jsonl or .txt. Raises MemflowError."""
    from memflow_cli.film.recipe import resolve
    from memflow_cli.film.script import PlannedStory
    from memflow_cli.models.catalog import find_model
    from memflow_cli.story.load import load_stories
    from memflow_cli.story.plan import plan_film

    stories = []
    found = load_stories(path, segment_seconds, overrides, _wrong_model)
    stem = path.stem or path.resolve().name
    for number, loaded in enumerate(found, start=1):
        raw = loaded.storyboard
        with _placed(loaded, "model"):
            entry = _with_loras(find_model(raw.model), loaded.files)
        with _placed(loaded, "memory"):
            resolved = resolve(raw, entry)
        with _placed(loaded, "size"):
            planned = PlannedStory(resolved, plan_film(resolved, entry.geometry), loaded.places)
        name = stem if len(found) == 1 else f"{stem}-{number:0{len(str(len(found)))}}"
        stories.append(Story(path, name, planned, entry, (*loaded.warnings, *_in_record(path, loaded.files))))
    return stories


def _with_loras(entry: "ModelEntry", files: "ModelFiles | None") -> "ModelEntry":
    """The model with the LoRAs that a film's record names. Raises ModelError if one is gone."""
    from memflow_cli.models.entry import Lora

    loras = tuple(Lora(path, strength) for path, strength in (files.loras if files else ()))
    for lora in loras:
        if not lora.path.is_file():
            raise ModelError(f"the film was made with the LoRA {lora.path}, which is not there", "give it with --lora")
    return dataclasses.replace(entry, loras=loras) if loras else entry


def _in_record(path: Path, files: "ModelFiles | None") -> Iterator[str]:
    """What a record says that only the command line can do."""
    if files is not None and files.preview_decoder is not None:
        yield f"{path}: the film was decoded by --preview-decoder {files.preview_decoder}; without it frames differ"


def _wrong_model(name: str) -> str | None:
    from memflow_cli.models.catalog import find_model

    try:
        find_model(name)
    except ModelError as error:
        return error.message
    return None


@contextlib.contextmanager
def _placed(loaded: "LoadedStory", *field: str) -> Iterator[None]:
    """What a model finds wrong with a field is told with the place of it, or of one below that the sentence begins with."""
    try:
        yield
    except (UsageError, ModelError) as error:
        message = error.message
        if (named := _FIELD_BELOW.match(message)) is not None:
            field = tuple(named[1].split("."))
            if field in loaded.places.origins:  # the option says which it is
                message = message[named.end() :]
        raise type(error)(loaded.places.of(*field) + message, error.hint) from error


def without_traces(paths: Sequence[Path]) -> list[Path]:
    """The storyboards among the files of a command line: `*.jsonl` also finds what films have remembered.

    Raises UsageError if there is nothing else.
    """
    from memflow_cli.film.trace import is_trace

    stories = [path for path in paths if not is_trace(path)]
    if paths and not stories:
        raise UsageError(
            f"{paths[0]} is what a film remembered (its trace), not a storyboard",
            hint="memflow inspect-memory shows it",
        )
    return stories


def choose_outputs(names: Sequence[str], out: str | None, num_films: int, make_folder: bool = False) -> list[Path]:
    """Where each film goes: `-o film.mp4`, `-o folder/`, or the current folder. Raises UsageError.

    `num_films`: how many were asked for, those whose storyboard is wrong included. `make_folder`: whether `folder/` is
    made if there is none.
    """
    if out is None or os.path.isdir(out) or out.endswith(("/", os.sep)):
        folder = Path(out or "")
        if folder.name.endswith(".mp4.run"):
            raise UsageError(
                f"-o {out}: that is where another film keeps what it was made from", "Name another folder."
            )
        outputs = [folder / f"{name}.mp4" for name in names]
        twice = next((path for path, count in Counter(outputs).items() if count > 1), None)
        if twice:
            raise UsageError(f"two of the storyboards would become {twice}", hint="rename one of them")
    elif num_films > 1:
        raise UsageError(f"-o {out}: {num_films} films do not fit into one file", hint="name a folder: -o films/")
    else:
        folder, outputs = Path(out).parent, [Path(out)]
    if outputs and outputs[0].suffix.lower() != ".mp4":
        raise UsageError(f"-o {out}: a film's name ends in .mp4, a folder's in /")
    if out is not None and out.endswith(("/", os.sep)) and not os.path.lexists(folder):
        above = next(parent for parent in (folder, *folder.absolute().parents) if os.path.exists(parent))
        _check_writable(above, out)
        if not make_folder:
            return outputs
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"-o {out}: cannot make the folder {folder}: {error.strerror}") from error
    if not os.path.isdir(folder):
        raise UsageError(
            f"-o {out}: there is no folder {folder}", hint=f"make it first: mkdir -p {shlex.quote(str(folder))}"
        )
    _check_writable(folder, out)
    for path in outputs:
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder, and the film cannot take its place", hint="name another with -o")
    return outputs


def check_output(out: Path) -> None:
    """Raises UsageError for what keeps one film from being written there: its name, its folder."""
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"-o {out}: a film's name ends in .mp4")
    choose_outputs([out.stem], str(out), 1)


def _check_writable(folder: Path, out: str | None) -> None:
    """Raises UsageError for a folder in which no file can be made: rights tell not all of it, as in /proc. Leaves nothing."""
    asked = f"-o {out}: " if out is not None else ""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{asked}the folder {folder.absolute()} is not writable")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):  # which are told of for themselves
            raise UsageError(f"{asked}the folder {folder.absolute()} is not writable: {error.strerror}") from error
