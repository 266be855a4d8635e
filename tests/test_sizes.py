"""Any multiple of a token's pixels is a size: portrait, square, wide, through the command line and back from the film."""

import json

import av
import pytest

from memflow_cli.cli.app import run
from tiny_files import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("sizes") / "tiny")


@pytest.mark.parametrize("policy", ["nam", "window"])
@pytest.mark.parametrize("size", ["32x64", "48x48", "16x16", "112x16", "48x80"])
def test_a_film_has_the_size_that_was_asked_for(size, policy, folder, tmp_path, capfd):
    path, film = tmp_path / "story.yaml", tmp_path / "film.mp4"
    path.write_text(f"model: {folder}\nseed: 1\nsegments: [{{prompt: a red fox, duration: 4s}}]\n")
    code = run(["generate", str(path), "-o", str(film), "--size", size, "--memory", policy, "--json"])
    captured = capfd.readouterr()
    assert code == 0, captured.err
    made = json.loads(captured.out)
    assert f"{made['width']}x{made['height']}" == size
    with av.open(str(film)) as container:
        frames = list(container.decode(video=0))
    assert {f"{frame.width}x{frame.height}" for frame in frames} == {size} and len(frames) == made["frames"]


@pytest.mark.parametrize(("size", "nearest"), [("40x32", "32 or 48"), ("32x8", "16"), ("831x480", "816 or 832")])
def test_another_size_names_the_nearest(size, nearest, folder, tmp_path, capfd):
    path = tmp_path / "story.yaml"
    path.write_text(f"model: {folder}\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")
    assert run(["plan", str(path), "--size", size]) == 2
    assert f"that fits is {nearest}" in capfd.readouterr().err
