"""Every fault, end to end through the command line: a sentence, the right exit code, and nothing finished is lost."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memflow_cli.cli.app import run
from memflow_cli.film.video import Encoder
from memflow_cli.models.theatre.autoencoder import PatchStreamingDecoder
from tiny_model import fail_at_frame

STORY = """\
title: Fox
seed: 7
segments:
- {prompt: a red fox, duration: 3s}
- {prompt: an empty wood, duration: 3s}
- {prompt: the fox again, duration: 3s}
"""


@pytest.fixture(autouse=True, params=[False, True], ids=["in turn", "overlapped"])
def overlap(request, monkeypatch):
    """Every fault twice: decode and encode in their turn, and beside the denoising."""
    monkeypatch.setattr("memflow_cli.film.film_under_way.overlap_pays", lambda *_: request.param)


def command_line(story: Path, model: Path, folder: Path) -> list[str]:
    """The command line that makes the film."""
    return ["generate", str(story), "--model", str(model), "-o", str(folder / "film.mp4"), "--progress", "none"]


@pytest.fixture
def command(tiny_model_folder, tmp_path):
    """The command line that makes the film, for an output folder."""
    (tmp_path / "story.yaml").write_text(STORY)
    return lambda folder: command_line(tmp_path / "story.yaml", tiny_model_folder, folder)


@pytest.fixture(scope="module")
def whole(tiny_model_folder, tmp_path_factory) -> bytes:
    """The film that nothing happened to, made in turn."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "story.yaml").write_text(STORY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memflow_cli.film.film_under_way.overlap_pays", lambda *_: False)
        assert run(command_line(folder / "story.yaml", tiny_model_folder, folder)) == 0
    return (folder / "film.mp4").read_bytes()


def in_child(arguments: list[str], errors: Path, prepare=lambda: None) -> int:
    """Starts the command in a process of its own, its stderr in a file. The process' number."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        sys.stderr = errors.open("w", buffering=1)
        prepare()
        code = run(arguments)
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_for_chunks(run_folder: Path, child: int) -> None:
    """Until the first chunk is on disk, or the child has ended."""
    deadline = time.monotonic() + 60
    while not ((run_folder / "latents.bin").exists() and (run_folder / "latents.bin").stat().st_size):
        assert time.monotonic() < deadline, "no chunk in a minute"
        if (run_folder.parent / "film.mp4").exists():
            break
        time.sleep(0.005)


@pytest.mark.parametrize("number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "SIGTERM")])
def test_an_interrupted_command_goes_on_where_it_stopped(command, whole, tmp_path, number, code, word):
    child = in_child(command(tmp_path), tmp_path / "errors")
    wait_for_chunks(tmp_path / "film.mp4.run", child)
    os.kill(child, number)
    assert exit_code(child) == code
    errors = (tmp_path / "errors").read_text()
    assert word in errors and "chunks are kept in" in errors and "The same command goes on from there" in errors
    assert not (tmp_path / "film.mp4").exists()
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole
    assert (tmp_path / "film.mp4.run").is_dir(), "kept, to be edited and gone on from"


def test_two_commands_on_one_output(command, tmp_path, capsys):
    child = in_child(command(tmp_path), tmp_path / "errors")
    wait_for_chunks(tmp_path / "film.mp4.run", child)
    os.kill(child, signal.SIGSTOP)
    try:
        assert run(command(tmp_path)) == 2
        assert f"is being rendered by another process (process {child} on" in capsys.readouterr().err
    finally:
        os.kill(child, signal.SIGCONT)
    assert exit_code(child) == 0


@pytest.mark.parametrize("num_bytes", [3_000, 20_000, 40_000])
def test_a_file_that_may_not_grow_further(command, whole, tmp_path, num_bytes):
    """A quota: no file may exceed so many bytes. Afterwards, with room again, the film is the same film."""
    child = in_child(
        command(tmp_path),
        tmp_path / "errors",
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes)),
    )
    assert exit_code(child) == 1
    errors = (tmp_path / "errors").read_text()
    assert errors.startswith("error: ") and "unexpected" not in errors and not (tmp_path / "film.mp4").exists()
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


@pytest.fixture
def small_disk(tmp_path):
    """A real file system with little room on it."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=92k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(command, whole, small_disk, capfd):
    """92 KiB are enough for the latents, not for trace and parts as well; with more room the same command goes on."""
    assert run(command(small_disk)) == 1
    error = capfd.readouterr().err
    assert "No space left on device" in error or "no space left on the disk" in error
    assert "unexpected" not in error and not (small_disk / "film.mp4").exists()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert run(command(small_disk)) == 0
    assert (small_disk / "film.mp4").read_bytes() == whole


def test_a_disk_without_any_room(command, small_disk, capfd):
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    assert run(command(small_disk)) in (1, 2)
    error = capfd.readouterr().err
    assert "no space left on" in error.lower() and "unexpected" not in error
    assert not (small_disk / "film.mp4").exists()


def test_running_out_of_memory_keeps_what_was_finished(command, whole, tmp_path, capsys, monkeypatch):
    from memflow_cli.models.wan.model import WanModel

    calls: list[int] = []
    predict = WanModel.predict

    def exhausted(self, *arguments, **options):
        calls.append(0)
        if len(calls) == 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return predict(self, *arguments, **options)

    monkeypatch.setattr(WanModel, "predict", exhausted)
    assert run(command(tmp_path)) == 4
    error = capsys.readouterr().err
    assert "out of memory at 64x32" in error and "the same command goes on" in error
    monkeypatch.undo()
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


@contextlib.contextmanager
def weight(folder, part, name, value):
    """A model whose file holds this value at the start of one tensor."""
    path = folder / part / "diffusion_pytorch_model.safetensors"
    original = path.read_bytes()
    tensors = load_file(path)
    tensors[name].view(-1)[0] = value
    try:
        save_file(tensors, path)
        yield
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("part, name", [("transformer", "head.head.bias"), ("vae", "mean")])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_found_before_the_first_chunk(
    command, tiny_model_folder, tmp_path, capsys, part, name, value
):
    with weight(tiny_model_folder, part, name, value):
        assert run(command(tmp_path)) == 3
    assert "holds NaN or infinite numbers" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["story.yaml"]


def test_an_autoencoder_that_makes_nan_is_not_a_black_film(command, whole, tmp_path, capsys, monkeypatch):
    """One NaN in an autoencoder gave an all-black film and code 0: latents were looked at, frames were not."""
    decode = PatchStreamingDecoder.decode
    monkeypatch.setattr(PatchStreamingDecoder, "decode", lambda self, latents: decode(self, latents) * float("nan"))
    assert run(command(tmp_path)) == 1
    assert "the frames from 0.00 s on cannot be shown" in capsys.readouterr().err
    assert not (tmp_path / "film.mp4").exists()
    monkeypatch.undo()
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_nan_in_the_middle_keeps_what_came_before(command, whole, tmp_path, capsys, monkeypatch):
    from memflow_cli.models.wan.model import WanModel

    calls: list[int] = []
    predict = WanModel.predict

    def spoilt(self, *arguments, **options):
        calls.append(0)
        output = predict(self, *arguments, **options)
        return output * float("nan") if len(calls) >= 20 else output

    monkeypatch.setattr(WanModel, "predict", spoilt)
    assert run(command(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "came out as no picture: NaN or Inf" in error and "the chunks before it are kept" in error
    monkeypatch.undo()
    assert run([*command(tmp_path)[:-1], "plain"]) == 0
    assert "chunks of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_an_encoder_that_fails(command, whole, tmp_path, capsys, monkeypatch):
    fail_at_frame(monkeypatch, 60)
    assert run(command(tmp_path)) == 1
    errors = capsys.readouterr().err
    assert "error: the encoder failed" in errors and "the same command goes on from there" in errors
    monkeypatch.undo()
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_an_encoder_slower_than_the_generator(command, whole, tmp_path, monkeypatch):
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, pixels: (time.sleep(0.02), encode(self, pixels))[1])
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_the_output_folder_removed_while_rendering(command, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    child = in_child(command(folder), tmp_path / "errors")
    wait_for_chunks(folder / "film.mp4.run", child)
    os.kill(child, signal.SIGSTOP)
    shutil.rmtree(folder)
    os.kill(child, signal.SIGCONT)
    assert exit_code(child) == 1
    errors = (tmp_path / "errors").read_text()
    assert errors.startswith("error: ") and "unexpected" not in errors


def test_a_killed_command_leaves_no_lock_that_holds(command, whole, tmp_path):
    child = in_child(command(tmp_path), tmp_path / "errors")
    wait_for_chunks(tmp_path / "film.mp4.run", child)
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    assert f"process {child} on" in (tmp_path / "film.mp4.run" / "lock").read_text()
    assert run(command(tmp_path)) == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_a_loop_can_simply_be_run_again(command, tmp_path, capsys):
    assert run(command(tmp_path)) == 0
    before = (tmp_path / "film.mp4").stat().st_mtime_ns
    assert run([*command(tmp_path), "--progress", "plain"]) == 0
    assert (tmp_path / "film.mp4").stat().st_mtime_ns == before
    assert "is there already and stays" in capsys.readouterr().err
