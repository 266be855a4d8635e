"""`memflow models make-tiny`: the tiny twin of each known model goes the whole way, from its folder to what it remembered."""

import json

import pytest

from memflow_cli.cli.app import run
from memflow_cli.models.catalog import find_model, known_models

NAMES = [entry.name for entry in known_models()[0]]
STORY = "seed: 1\nsegments:\n- {prompt: a red fox, duration: 1s}\n- {prompt: the snow, duration: 1s, transition: cut}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_twin_is_made_of_every_known_model(name, tmp_path, capfd):
    """Sampling, memory, positions, chunk and cells are the model's; every tensor is where it is looked for."""
    folder = tmp_path / "tiny"
    assert run(["models", "make-tiny", name, str(folder)]) == 0, capfd.readouterr().err
    assert capfd.readouterr().out.strip() == str(folder)
    tiny, whole = find_model(folder), find_model(name)
    for what in ("sampling", "policy", "published", "positions", "fps", "family", "cut_prefix"):
        assert getattr(tiny, what) == getattr(whole, what), what
    cells = ("spatial_stride", "temporal_stride", "first_frames", "patch_size", "chunk", "sink", "bank", "window")
    assert [getattr(tiny.geometry, what) for what in cells] == [getattr(whole.geometry, what) for what in cells]
    assert run(["models", "verify", str(folder)]) == 0, capfd.readouterr().err
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4e6


@pytest.mark.parametrize(
    "name", ["theatre", "memflow-1.3b", "longlive-2.0-5b", "krea-realtime-14b", "causal-forcing-1.3b"]
)
def test_a_tiny_twin_makes_a_film_and_remembers(name, tmp_path, capfd):
    folder, film = tmp_path / "tiny", tmp_path / "film.mp4"
    (tmp_path / "story.yaml").write_text(STORY)
    assert run(["models", "make-tiny", name, str(folder)]) == 0
    capfd.readouterr()
    code = run(["generate", str(tmp_path / "story.yaml"), "--model", str(folder), "-o", str(film), "--json"])
    captured = capfd.readouterr()
    assert code == 0, captured.err
    made = json.loads(captured.out)
    assert made["status"] == "made" and made["frames"] > 24 and film.is_file()
    assert run(["inspect-memory", str(film)]) == 0, capfd.readouterr().err
    assert capfd.readouterr().out


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capfd):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["models", "make-tiny", "theatre", str(tmp_path)]) == 2
    assert "not an empty folder" in capfd.readouterr().err and [path.name for path in tmp_path.iterdir()] == [
        "mine.txt"
    ]
