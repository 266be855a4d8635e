"""`memflow doctor`: is everything here that films need, and which command repairs what is not?"""

import importlib
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import typer

from memflow_cli.cli import options
from memflow_cli.cli.talk import result, result_json, use_colour
from memflow_cli.cli.words import beside, count
from memflow_cli.errors import MemflowError, ModelError
from memflow_cli.machine.amounts import size_text
from memflow_cli.story.texts import printable

MIN_PYTHON = (3, 11)
MIN_DISK = 1 << 30  # bytes; parts, latents and the film of some minutes of theatre
MIN_MEMORY = 2 << 30  # bytes; theatre with its libraries takes about one
HUB_TIMEOUT = 4.0  # seconds
PACKAGE = "memflow-cli"
LIBRARIES = {  # by the name that is imported, that of the distribution
    "diffusers": "diffusers",
    "safetensors": "safetensors",
    "tokenizers": "tokenizers",
    "pydantic": "pydantic",
    "yaml": "PyYAML",
    "PIL": "pillow",
    "av": "av",
    "imageio": "imageio",
}

_MARKS = {"ok": "ok    ", "note": "note  ", "failed": "FAILED"}
_COLOURS = {"ok": "\x1b[32m", "note": "\x1b[33m", "failed": "\x1b[1;31m"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `note`: films can be made, but not every one. `repair`: the command that helps."""

    check: str
    status: Literal["ok", "note", "failed"]
    text: str
    repair: str | None = None


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to reach the hub.")] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda|mps",
            help="Check what holds on a device instead: every recording of published code through every engine option, then "
            "the speed and memory of each known model, without a download.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check that all is here that films need; each failed check names the command that repairs it.

    Exit code 0 if films can be made, 1 if not. With --device, 3 if an option does not hold.
    """
    if device is not None:
        from memflow_cli.cli.doctor_device import check_device

        return check_device(device, as_json)
    findings = []
    for finding in examine(offline):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        result_json([asdict(finding) for finding in findings])
    failed = [finding for finding in findings if finding.status == "failed"]
    if failed:
        raise MemflowError(
            f"{len(failed)} of {len(findings)} checks failed: {', '.join(item.check for item in failed)}"
        )


def examine(offline: bool = False) -> Iterator[Finding]:
    """All checks, one after the other; none of them raises."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("torch", _torch),
        ("libraries", _libraries),
        ("memory", _memory),
        ("disk", _disk),
        ("video", _video),
        ("models", _models),
    ]
    if not offline:
        checks.append(("hub", _hub))
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:
            yield Finding(name, "failed", f"the check itself failed: {type(error).__name__}: {error}", _reinstall())


def _python() -> Iterator[Finding]:
    text = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        needed = ".".join(map(str, MIN_PYTHON))
        yield Finding(
            "python",
            "failed",
            f"{text}; {needed} or newer is needed",
            f"python{needed} -m pip install {_source() or PACKAGE}",
        )
    else:
        yield Finding("python", "ok", text)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "failed", f"PyTorch cannot be imported: {error}", _pip("torch"))
        return
    from memflow_cli.machine.device import fast_dtype

    yield Finding("torch", "ok", f"PyTorch {torch.__version__}, {count(torch.get_num_threads(), 'thread')}")
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        precision = str(fast_dtype(torch.device("cuda", index))).removeprefix("torch.")
        text = f"cuda:{index} {about.name}, {size_text(free)} of {size_text(total)} free, {precision}"
        yield Finding("device", "ok", text)
    if torch.backends.mps.is_available():
        yield Finding("device", "ok", "mps (Apple GPU)")
    elif not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi") is not None
        if driver and torch.version.cuda is None:
            yield Finding(
                "device", "note", "there is an NVIDIA driver, but PyTorch was built without CUDA", _pip("torch")
            )
        else:
            yield Finding("device", "ok", "no GPU: theatre runs on the CPU, the 1.3B models want a GPU")


def _libraries() -> Iterator[Finding]:
    missing: dict[str, str] = {}
    for name, distribution in LIBRARIES.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            if "temporary directory" not in str(error):  # which is told with the disks
                missing[distribution] = f"{name} ({error})"
    if missing:
        text = f"cannot be imported: {'; '.join(missing.values())}"
        yield Finding("libraries", "failed", text, _reinstall(*missing))
    else:
        yield Finding("libraries", "ok", f"{len(LIBRARIES)} libraries can be imported")


def _memory() -> Iterator[Finding]:
    total = _physical_memory()
    if total is None:
        yield Finding("memory", "note", "this system does not say how much memory it has")
    elif total < MIN_MEMORY:
        yield Finding("memory", "note", f"{size_text(total)}; theatre wants about {size_text(MIN_MEMORY)}")
    else:
        yield Finding("memory", "ok", size_text(total))


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _disk() -> Iterator[Finding]:
    from memflow_cli.models.hub import cache_folder

    home = _writable_home()
    here = _look_at_folder("the current folder", Path.cwd())
    yield replace(here, repair=f"cd {home}") if here.status == "failed" else here
    # Without the others films can be made, of theatre and of what is downloaded already.
    models = _look_at_folder("the models' folder", cache_folder())
    yield replace(models, status="note", repair=f"export HF_HOME={home}/memflow-models") if models.repair else models
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        text = "there is no folder for temporary files: theatre does without, the larger models and bench want one"
        yield Finding("disk", "note", text, f"export TMPDIR={home}")


def _writable_home() -> str:
    """The home folder as a shell takes it, if there is one in which files can be made; else a word for the user's own."""
    home = os.environ.get("HOME", "")
    return '"$HOME"' if home and os.access(home, os.W_OK | os.X_OK) and _can_write(Path(home)) else "/a/folder/of/yours"


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _look_at_folder(name: str, folder: Path) -> Finding:
    """Whether files can be made in a folder, or where it would be made, and how many."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("disk", "failed", f"no file can be made in {name}, {folder}: {error.strerror}", "cd")
    free = shutil.disk_usage(existing).free
    text = f"{size_text(free)} free in {name}, {folder}"
    return Finding("disk", "ok", text) if free >= MIN_DISK else Finding("disk", "note", text, "cd /a/larger/disk")


def _video() -> Iterator[Finding]:
    try:
        import av

        for name in ("libx264", "aac", "mov_text"):
            av.Codec(name, "w")
    except (ImportError, OSError, ValueError) as error:
        yield Finding("video", "failed", f"films cannot be encoded: {error}", _pip("av"))
        return
    yield Finding("video", "ok", f"PyAV {av.__version__}, with H.264")


def _models() -> Iterator[Finding]:
    from memflow_cli.models.catalog import known_models, theatre
    from memflow_cli.models.hub import hub_files, locate

    try:
        locate(theatre())
        yield Finding("models", "ok", "theatre is here")
    except ModelError as error:
        yield Finding("models", "failed", error.message, _reinstall())
    entries, problems = known_models()
    for text, package in problems:
        if package != PACKAGE:  # theatre was looked at above
            repair = f"{sys.executable} -m pip install --upgrade {package}" if package else None
            yield Finding("models", "note", text, repair)
    for entry in entries:
        files = hub_files(entry)
        missing = sum(file.file.num_bytes for file in files if file.path is None)
        if files and missing:
            text = f"{entry.name} is not here ({size_text(missing)} to download)"
            yield Finding("models", "note", text, f"memflow models pull {entry.name}")
        elif files:
            yield Finding("models", "ok", f"{entry.name} is here")


def _hub() -> Iterator[Finding]:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield Finding(
            "hub", "note", "offline mode is on; only models that are here can be used", "unset HF_HUB_OFFLINE"
        )
        return
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=HUB_TIMEOUT):
            pass
        yield Finding("hub", "ok", f"{constants.ENDPOINT} answers")
    except (URLError, OSError, ValueError) as error:
        if getattr(error, "code", None):  # it answered, if only with an error
            yield Finding("hub", "ok", f"{constants.ENDPOINT} answers")
            return
        reason = getattr(error, "reason", error)
        text = f"{constants.ENDPOINT} cannot be reached ({reason}); models cannot be downloaded"
        repair = (
            "unset HF_ENDPOINT" if "HF_ENDPOINT" in os.environ else "export HF_ENDPOINT=https://a.mirror.of.the.hub"
        )
        yield Finding("hub", "note", text, repair)


def _pip(what: str) -> str:
    return f"{sys.executable} -m pip install --force-reinstall {what}"


def _reinstall(*missing: str) -> str:
    """Memflow itself from where it was installed, which brings what it needs; else the distributions that are missing."""
    return _pip(_source() or " ".join(missing or [PACKAGE]))


def _source() -> str | None:
    """Where memflow was installed from, as pip takes it. None: from an index, or nobody knows (PEP 610)."""
    try:
        about = json.loads(metadata.distribution(PACKAGE).read_text("direct_url.json") or "")
        url = str(about["url"])
        if "vcs_info" in about:
            return shlex.quote(f"{about['vcs_info']['vcs']}+{url}@{about['vcs_info']['commit_id']}")
        if not url.startswith("file://"):
            return shlex.quote(url)
        path = shlex.quote(url2pathname(urlsplit(url).path))
        return f"--editable {path}" if about.get("dir_info", {}).get("editable") else path
    except (metadata.PackageNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _print(finding: Finding) -> None:
    mark = _MARKS[finding.status]
    told = beside(f"{mark}  {finding.check:9}  ", printable(finding.text))
    if use_colour(sys.stdout):
        told = f"{_COLOURS[finding.status]}{mark}\x1b[0m{told.removeprefix(mark)}"
    print(told, flush=True)
    if finding.repair and finding.status != "ok":
        result(f"{'':19}repair: {finding.repair}")
