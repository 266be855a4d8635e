"""A machine that has less than usual: no home, no known user, nothing to write on but the film's folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from memflow_cli.cli.caches import cache_folder
from memflow_cli.cli.talk import in_words

MEMFLOW = [sys.executable, "-m", "memflow_cli"]
SOURCE = Path(__file__).parent.parent / "src"
is_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may become somebody else"
)


@pytest.fixture
def film_folder():
    """A folder that anybody may write. Not one of pytest's, which belong to one user and are closed to others."""
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "tiny.yaml").write_text("seed: 7\nsegments: [{prompt: a red fox, duration: 0.75}]\n")
        yield folder


@is_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_user_without_home_and_name_makes_a_film(film_folder):
    """theatre needs no home, but it was asked for, and its absence called a bug."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    environment |= {"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}

    def memflow(*arguments):
        command = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", *MEMFLOW, *arguments]
        return subprocess.run(command, cwd=film_folder, env=environment, capture_output=True, text=True, timeout=300)

    if memflow("--version").returncode:
        pytest.skip("the code lies where another user may not read it")
    done = memflow("generate", "tiny.yaml", "-o", "u.mp4")
    assert (done.returncode, done.stdout) == (0, "u.mp4\n"), done.stderr
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"  # else it depends on who runs the tests
    done = memflow("--install-completion", "bash")
    assert done.returncode == 1 and "no home folder" in done.stderr and "bug" not in done.stderr
    done = memflow("models", "pull", "memflow-1.3b")
    assert done.returncode == 2 and "HF_HOME" in done.stderr
    assert not (film_folder / "~").exists()


def leave_run(path: Path, owner: int, mode: int = 0o755) -> None:
    """A run folder, as a killed command left it."""
    path.mkdir(parents=True)
    (path / "lock").write_text("memflow run folder: process 1 on somewhere")
    (path / "latents.bin").write_bytes(bytes(1000))
    for each in (path, *path.iterdir()):
        os.chown(each, owner, owner)
    path.chmod(mode)


@is_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_tidy_passes_over_what_it_may_not_touch_and_says_so(film_folder):
    """Others' folders were passed over without a word, and one that could not be removed was said to be freed."""
    mine, theirs = 54321, 54322
    leave_run(film_folder / "mine.mp4.run", mine)
    leave_run(film_folder / "theirs.mp4.run", theirs)
    leave_run(film_folder / "closed.mp4.run", theirs, 0o700)
    leave_run(film_folder / "stuck.mp4.run", mine, 0o555)
    leave_run(film_folder / "secret" / "a.mp4.run", mine)
    (film_folder / "secret").chmod(0o700)
    command = ["setpriv", "--reuid", str(mine), "--regid", str(mine), "--clear-groups", *MEMFLOW]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    options = {"cwd": film_folder, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    if subprocess.run([*command, "--version"], **options).returncode:
        pytest.skip("the code lies where another user may not read it")
    done = subprocess.run([*command, "tidy", "--free", "--json"], **options)
    assert done.returncode == 0
    assert {row["film"]: row["freed"] for row in json.loads(done.stdout)} == {"mine.mp4": True, "stuck.mp4": False}
    assert sorted(line for line in done.stderr.splitlines() if line.startswith("warning: ")) == [
        "warning: closed.mp4.run cannot be read: Permission denied",
        "warning: secret cannot be read: Permission denied",
        "warning: stuck.mp4.run cannot be removed, or not all that is in it",
        "warning: theirs.mp4.run belongs to another user: it is not memflow's, and is left as it is",
    ]
    left = {path.name: len(list(path.iterdir())) for path in film_folder.rglob("*.run")}
    assert left == dict.fromkeys(["theirs.mp4.run", "closed.mp4.run", "stuck.mp4.run", "a.mp4.run"], 2)


@is_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_only_the_film_s_folder_can_be_written(film_folder):
    """As in `docker --read-only -v out:/out`: the film was rendered, and then there was no temporary folder."""
    out = film_folder / "out"
    out.mkdir()
    lock = f"mount --make-rprivate / && mount --bind {out} {out} && mount -o remount,ro,bind /"
    lock += "; for place in /tmp /var/tmp /dev/shm /run; do mount -o remount,ro,bind $place 2>/dev/null; done"
    check = f"touch {film_folder}/x /tmp/x 2>/dev/null && exit 77"
    script = f'{lock}; {check}; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", *MEMFLOW]

    def memflow(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("TMPDIR", None)
        done = [*command, *arguments]
        return subprocess.run(done, cwd=film_folder, env=environment, capture_output=True, text=True, timeout=300)

    done = memflow("generate", "tiny.yaml", "-o", "out/a.mp4")
    if done.returncode in (1, 77) and not done.stderr.startswith("loading"):
        pytest.skip("mounts cannot be changed here")
    assert (done.returncode, done.stdout) == (0, "out/a.mp4\n"), done.stderr
    done = memflow("doctor", "--offline")
    assert done.returncode == 1 and "no folder for temporary files" in done.stdout and "TMPDIR" in done.stdout
    done = memflow("bench", "--chunks", "20", "--policies", "sink")
    assert done.returncode == 1 and "TMPDIR" in done.stderr and "bug" not in done.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'diffusers'", name="diffusers"), "diffusers cannot be imported"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (PermissionError(13, "Permission denied", "/root/.bashrc"), "/root/.bashrc: Permission denied"),
        (OSError(30, "Read-only file system", "/home/x"), "/home/x: Read-only file system"),
        (OSError(28, "No space left on device"), "No space left"),
        (RuntimeError("Could not determine home directory."), "no home folder"),
    ],
    ids=["library", "descriptors", "permission", "read-only", "disk", "home"],
)
def test_what_a_machine_refuses_is_not_a_bug_of_memflow(error, words):
    told = in_words(error)
    assert words in told.message and "bug" not in str(told.hint) and told.__cause__ is error
    assert "bug" in str(in_words(KeyError("x")).hint), "ours are called so"


def test_the_cache_is_below_the_user_s_own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("embeddings") == tmp_path / "memflow" / "embeddings"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/counts/as/unset")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("embeddings") == tmp_path / ".cache" / "memflow" / "embeddings"
