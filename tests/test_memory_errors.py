"""Out of memory is exit 4: what was being done, how much was asked for, what lowers it, and nothing is lost."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memflow_cli.cli.app import run
from memflow_cli.errors import OutOfMemoryError
from memflow_cli.film.shooting import make_film
from memflow_cli.kv_cache import KVCache
from memflow_cli.machine.out_of_memory import HINT, HOST_HINT, doing, is_memory_error, memory_errors
from tiny_model import story, tiny_backbone, tiny_entry

CUDA = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7.79 GiB"
CPU = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes."


@pytest.mark.parametrize(
    ("error", "amount"),
    [(torch.OutOfMemoryError(CUDA), "2.50 GiB"), (RuntimeError(CPU), "3.00 GiB"), (MemoryError(), "")],
    ids=["GPU", "host", "Python"],
)
def test_a_film_that_runs_out_of_memory(error, amount, monkeypatch, tmp_path):
    entry = tiny_entry()
    commit = KVCache.commit

    def third_commit_fails(cache, calls=[]):  # noqa: B006 - it counts its own calls
        calls.append(1)
        if len(calls) == 3:
            raise error
        commit(cache)

    monkeypatch.setattr(KVCache, "commit", third_commit_fails)
    with pytest.raises(OutOfMemoryError) as caught:
        make_film(story(), entry, tiny_backbone(entry), tmp_path / "film.mp4")
    assert caught.value.exit_code == 4
    assert "out of memory at 64x32" in caught.value.message and amount in caught.value.message
    on_card = isinstance(error, torch.OutOfMemoryError)
    assert (HINT if on_card else HOST_HINT) in str(caught.value.hint), "the card's memory, or the machine's"
    monkeypatch.undo()
    make_film(story(), entry, tiny_backbone(entry), tmp_path / "film.mp4")  # goes on with what was kept


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("memflow_cli.kv_cache.KVCache.__init__", "keeping keys and values"),
        ("memflow_cli.kv_cache.KVCache.commit", "running the transformer"),
        ("memflow_cli.models.wan.vae.WanDecoder.decode", "decoding frames"),
        ("memflow_cli.memory.archive.Prototype.__init__", "remembering a frame"),
    ],
)
def test_what_was_being_done_is_told(where, what, monkeypatch, tmp_path):
    """It was told from the names of the files in a traceback, so that a file of another name said nothing."""

    def full(*_, **__):
        raise torch.OutOfMemoryError(CUDA)

    monkeypatch.setattr(where, full)
    entry = tiny_entry("wan")
    with pytest.raises(OutOfMemoryError, match=f"at 64x32, while {what}, which asked for 2.50 GiB"):
        make_film(story(seconds=9), entry, tiny_backbone(entry), tmp_path / "film.mp4")


def test_the_innermost_part_counts():
    with pytest.raises(OutOfMemoryError, match="here, while boiling water, which"), memory_errors("here"):  # noqa: SIM117
        with doing("making tea"), doing("boiling water"):
            raise torch.OutOfMemoryError(CUDA)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), memory_errors("here"):
        raise RuntimeError("something else")


@pytest.mark.parametrize(
    "text",
    [
        CPU,
        "MPS backend out of memory (MPS allocated: 8.05 GB, max allowed: 9.07 GB). Tried to allocate 1.03 GB on private pool.",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    ],
)
def test_every_device_says_it_in_its_own_words(text):
    assert is_memory_error(RuntimeError(text))
    with pytest.raises(OutOfMemoryError) as caught, memory_errors("here"):
        raise RuntimeError(text)
    assert ("--vram" in str(caught.value.hint)) == ("CUDA" in text or "MPS" in text)


@pytest.fixture
def story_file(tmp_path, tiny_model_folder) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(f"model: {tiny_model_folder}\nseed: 1\nsegments: [{{prompt: a red fox, duration: 3s}}]\n")
    return path


@pytest.mark.parametrize(
    "where", ["memflow_cli.kv_cache.KVCache.commit", "memflow_cli.models.wan.loading.load_transformer"]
)
def test_a_card_that_is_full_is_exit_4_on_the_command_line(where, story_file, tmp_path, monkeypatch, capfd):
    def full(*_, **__):
        raise torch.OutOfMemoryError(CUDA)

    monkeypatch.setattr(where, full)
    assert run(["generate", str(story_file), "-o", str(tmp_path / "film.mp4"), "--progress", "none"]) == 4
    captured = capfd.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert "error: out of memory" in captured.err and "2.50 GiB" in captured.err
    assert "--vram" in captured.err and "--size" in captured.err
    assert not (tmp_path / "film.mp4").exists()


# Runs a command in a process that may take so many more bytes than it has after its imports.
LIMITED = """
import resource, sys
import memflow_cli.film.shooting, memflow_cli.models.load, memflow_cli.models.theatre.autoencoder
from memflow_cli.cli.app import run
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(run(sys.argv[2:]))
"""


def limited(num_bytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIMITED, str(num_bytes), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_machine_that_is_really_full_is_exit_4(story_file, tmp_path):
    """The largest picture there is: its keys and values alone are more than the process may have."""
    film = tmp_path / "film.mp4"
    options = ["--size", "8192x8192", "--dtype", "fp32", "--progress", "none"]
    done = limited(384 << 20, "generate", str(story_file), "-o", str(film), *options)
    assert done.returncode == 4, done.stderr
    assert "error: out of memory at 8192x8192, while keeping keys and values, which asked for" in done.stderr
    assert HOST_HINT in done.stderr and "Traceback" not in done.stderr
    assert not film.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_weights_that_do_not_fit_into_memory_are_not_called_damaged(tmp_path, tiny_model_folder):
    """A file that cannot be mapped was once told as one that is cut off."""
    from shutil import copytree

    folder = copytree(tiny_model_folder, tmp_path / "large")
    with open(folder / "transformer" / "diffusion_pytorch_model.safetensors", "r+b") as file:
        file.truncate(2 << 30)  # a hole, which takes no disk
    story = tmp_path / "story.yaml"
    story.write_text(f"model: {folder}\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")
    done = limited(512 << 20, "generate", str(story), "-o", str(tmp_path / "film.mp4"))
    assert done.returncode == 4, done.stderr
    assert "while loading the weights" in done.stderr and "cut off" not in done.stderr
