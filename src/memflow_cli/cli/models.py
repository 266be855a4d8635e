"""`memflow models`: what is known, what is here, fetching it, checking it."""

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memflow_cli.cli import options
from memflow_cli.cli.completion import model_names
from memflow_cli.cli.talk import note, result, result_json, result_path, warn
from memflow_cli.cli.words import beside
from memflow_cli.errors import ModelError, UsageError
from memflow_cli.machine.amounts import size_text

if TYPE_CHECKING:
    from memflow_cli.models.entry import ModelEntry
    from memflow_cli.models.hub import HubFile

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PATH", help="A model's name, its folder or its checkpoint.", autocompletion=model_names
    ),
]


_UNFINISHED = ".unfinished"  # in a folder that make-tiny has begun


def register(app: typer.Typer) -> None:
    models = typer.Typer(help="List, download, show and verify models.", rich_markup_mode=None)
    models.callback(invoke_without_command=True)(options.show_help)
    models.command("list")(list_models)
    models.command("pull")(pull)
    models.command("show")(show)
    models.command("verify")(verify)
    models.command("make-tiny")(make_tiny)
    app.add_typer(models, name="models")


def list_models(as_json: options.Json = False) -> None:
    """List the models that are known, what is downloaded, and the disk it takes."""
    from memflow_cli.models.catalog import known_models

    entries, problems = known_models()
    for problem in problems:
        warn(problem.text)
    rows = [_summary(entry) for entry in entries]
    if as_json:
        result_json(rows)
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        result(beside(f"{row['name']:{width}}  {_state_text(row):34}  ", row["summary"]))
    shared = _disk_used(entries)
    result("\n" + beside("", f"{size_text(shared)} on disk; files that models share are counted once"))


def pull(name: Name) -> None:
    """Download a model, or what is missing of it; an interrupted download goes on where it stopped.

    Obeys HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE. Prints the path of each file.
    """
    from memflow_cli.models.catalog import find_model
    from memflow_cli.models.download import pull as pull_files
    from memflow_cli.models.hub import cache_folder, missing_bytes

    entry = find_model(name)
    size = missing_bytes(entry)
    if size and not cache_folder().is_absolute():  # "~", which nobody could expand
        raise UsageError("there is no home folder to keep models in", "set HF_HOME to a folder that can be written")
    if size:
        for repository in entry.repositories:
            note(f"{repository.repo_id}: licence {repository.licence}")
        about = "" if all(file.sha256 for repository in entry.repositories for file in repository.files) else "about "
        note(f"The terms of these weights are their authors', not memflow's. Downloading {about}{size_text(size)}.")
    elif not entry.repositories:
        note(f"{entry.name} is on this machine already; there is nothing to download")
    with _Download() as progress:
        for file in pull_files(entry, progress):
            progress.done(file)
            result_path(str(file.path))


def show(name: Name, as_json: options.Json = False) -> None:
    """Show all that is known about a model: sizes, steps, licence, files, and what theatre understands."""
    from memflow_cli.models.catalog import find_model

    entry = find_model(name)
    about = _summary(entry) | _details(entry)
    if as_json:
        result_json(about)
        return
    geometry, sampling = entry.geometry, entry.sampling
    others = f"any multiple of {'x'.join(map(str, geometry.size_multiple))}"
    if geometry.sizes:
        others = "or " + ", ".join(f"{w}x{h}" for w, h in geometry.sizes if (w, h) != (entry.width, entry.height))
    guided = "" if sampling.guidance_scale == 1 else f"; guidance {sampling.guidance_scale:g}"
    predicts = sampling.prediction + guided
    about_it = {
        "state": _state_text(about),
        "licence": entry.licence,
        "picture": f"{entry.width}x{entry.height} unless asked otherwise; {others}",
        "chunk": f"{geometry.chunk} latent frames of {geometry.temporal_stride} frames",
        "memory": f"{entry.policy}; sink {geometry.sink}, window {geometry.window} latent frames; {entry.positions} positions",
        "steps": f"{', '.join(map(str, sampling.steps))}; shift {sampling.shift:g}; predicts the {predicts}",
        "layers": f"{geometry.num_layers}, {geometry.num_heads} heads of {geometry.head_dim}",
    }
    lines = [beside("", f"{entry.name}: {entry.summary}")]
    lines += [beside(f"  {key:9}  ", text) for key, text in about_it.items()]
    if entry.folder:
        lines.append(f"  folder     {entry.folder}")
    for file in about["files"]:
        state = "here" if file["path"] else "missing"
        lines.append(f"  {state:9}  {size_text(file['num_bytes']):>9}  {file['repository']}/{file['file']}")
    result("\n".join(lines))
    if about.get("vocabulary"):
        result("\nIt draws what these words say:")
        for kind, words in about["vocabulary"].items():
            result(beside(f"  {kind:9}  ", ", ".join(words), most=100))


def verify(name: Name) -> None:
    """Check a model's files: sizes and checksums as far as they are known, and every tensor's name and shape.

    What there is nothing to compare with is listed as "not checked".
    """
    from memflow_cli.models.catalog import find_model
    from memflow_cli.models.download import verify as verify_files
    from memflow_cli.models.family import family_of

    entry = find_model(name)
    num_wrong = 0
    unchecked = []
    for verdict in verify_files(entry):
        path = f"{verdict.file.repository.repo_id}/{verdict.file.file.path}"
        result(f"{'wrong' if verdict.problem else 'ok':5}  {path} {verdict.problem or ''}".rstrip())
        num_wrong += verdict.problem is not None
        if verdict.unchecked and not verdict.problem:
            unchecked.append(f"{path}: {verdict.unchecked}")
    if num_wrong:
        raise ModelError(
            f"{entry.name}: {num_wrong} files are not as they should be", f"memflow models pull {entry.address}"
        )
    family = family_of(entry)
    for line in family.check(entry):
        result(f"ok     {line}")
    unchecked += family.not_checked(entry)
    if entry.given_as:
        unchecked.append(f"the content of local files in {entry.given_as}: there is nothing to compare it with")
    for line in unchecked:
        result(f"not checked  {line}")


class _Download:
    """Progress on stderr: a bar on a terminal, else a line a file."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._last = 0.0

    def __enter__(self) -> "_Download":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Progress("{task.description}", *columns, console=Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, file: "HubFile", num_bytes: int) -> None:
        name = file.file.path
        if self._bar is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bar.add_task(Path(name).name, total=file.file.num_bytes)
            self._bar.update(self._tasks[name], completed=num_bytes)
        elif name not in self._tasks or time.monotonic() - self._last > 30:
            self._tasks[name] = True
            self._last = time.monotonic()
            note(f"{name}: {size_text(num_bytes)} of {size_text(file.file.num_bytes)}")

    def done(self, file: "HubFile") -> None:
        if self._bar is not None and file.file.path in self._tasks:
            self._bar.remove_task(self._tasks[file.file.path])


def make_tiny(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model whose tiny twin is made.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where; made, or empty.")],
) -> None:
    """Write a tiny model of random numbers, to try the whole path of a large one: its films show noise, in seconds.

    It has the sampling, memory, positions and layout of NAME. Prints the folder, which --model takes.
    """
    from memflow_cli.models.catalog import find_model
    from memflow_cli.models.family import family_of

    entry = find_model(name)
    unfinished = folder / _UNFINISHED
    is_begun = unfinished.is_dir() and not unfinished.is_symlink()
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not is_begun)):
        raise UsageError(f"{folder} is there already, and is not an empty folder", "name another one")
    try:
        for path in unfinished.iterdir() if is_begun else ():
            _remove(path)
        family_of(entry).make_tiny(entry, unfinished)
        for path in sorted(unfinished.iterdir(), key=Path.is_file):  # last the file that makes the folder a model's
            _remove(folder / path.name)
            path.rename(folder / path.name)
        unfinished.rmdir()
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror or error}") from error
    result_path(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _summary(entry: "ModelEntry") -> dict[str, Any]:
    from memflow_cli.models.hub import hub_files

    files = hub_files(entry)
    here = [file for file in files if file.path is not None]
    return {
        "name": entry.name,
        "summary": entry.summary,
        "licence": entry.licence,
        "ready": len(here) == len(files),
        "files_here": len(here),
        "files_needed": len(files),
        "missing_bytes": sum(file.file.num_bytes for file in files if file.path is None),
        "disk_bytes": _disk_used([entry]),
    }


def _state_text(row: dict[str, Any]) -> str:
    if row["ready"]:
        return f"ready, {size_text(row['disk_bytes'])}"
    if row["files_here"]:
        return f"{row['files_here']} of {row['files_needed']} files, {size_text(row['missing_bytes'])} missing"
    return f"not downloaded, {size_text(row['missing_bytes'])}"


def _disk_used(entries: "list[ModelEntry]") -> int:
    from memflow_cli.models.hub import hub_files
    from memflow_cli.models.identity import files_below

    paths: set[Path] = set()
    for entry in entries:
        paths |= {file.path.resolve() for file in hub_files(entry) if file.path is not None}
        if entry.folder is not None:
            paths |= set(files_below(entry.folder))
        paths |= {Path(name) for name in (entry.transformer_file, entry.lora_file) if name and Path(name).is_absolute()}
    return sum(path.stat().st_size for path in paths)


def _details(entry: "ModelEntry") -> dict[str, Any]:
    import dataclasses

    from memflow_cli.models.family import family_of
    from memflow_cli.models.hub import hub_files

    about: dict[str, Any] = {
        "width": entry.width,
        "height": entry.height,
        "policy": entry.policy,
        "positions": entry.positions,
        "geometry": dataclasses.asdict(entry.geometry),
        "sampling": entry.sampling.to_json(),
        "folder": str(entry.folder) if entry.folder else None,
        "files": [
            {
                "repository": file.repository.repo_id,
                "revision": file.repository.revision,
                "file": file.file.path,
                "num_bytes": file.file.num_bytes,
                "sha256": file.file.sha256,
                "path": str(file.path) if file.path else None,
            }
            for file in hub_files(entry)
        ],
    }
    if vocabulary := family_of(entry).vocabulary():
        about["vocabulary"] = vocabulary
    return about
