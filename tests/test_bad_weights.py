"""Weights that do not fit or are damaged, on the command line: a sentence each, exit 3, nothing loaded, nothing written."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from memflow_cli.cli.app import run
from memflow_cli.models.catalog import find_model
from test_wan_checkpoints import GENERATOR, LORA, Payload, bare


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A machine that has text encoder and autoencoder of the 1.3B family, as far as file names tell."""
    cache = tmp_path / "hub"
    repository = find_model("memflow-1.3b").repositories[1]
    snapshot = cache / f"models--{repository.repo_id.replace('/', '--')}" / "snapshots" / repository.revision
    for file in repository.files:
        (snapshot / file.path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file.path).touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def truncated(folder: Path) -> Path:
    path = folder / "truncated.pt"
    path.write_bytes(GENERATOR.read_bytes()[: GENERATOR.stat().st_size // 2])
    return path


def corrupted(folder: Path) -> Path:
    path = folder / "corrupted.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a header at all" * 99)
    return path


def wrong_model(folder: Path) -> Path:
    path = folder / "tiny.safetensors"
    save_file(bare(), path)
    return path


def lora_as_base(folder: Path) -> Path:
    return LORA


def pickle_with_code(folder: Path) -> Path:
    path = folder / "code.pt"
    torch.save({"generator": bare(), "x": Payload(folder / "it_ran")}, path)
    return path


CASES = {
    truncated: "is cut off or damaged",
    corrupted: "is cut off or not a checkpoint",
    wrong_model: "does not fit this model",
    lora_as_base: "is a LoRA, an update of a model",
    pickle_with_code: "wants to run code",
}


@pytest.mark.parametrize(("make", "says"), CASES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_bad_weights_are_a_sentence(make, says, hub_cache, tmp_path, capfd):
    path, story, films = make(tmp_path), tmp_path / "story.yaml", tmp_path / "films"
    films.mkdir()
    story.write_text(f"model: {path}\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")
    assert run(["generate", str(story), "-o", f"{films}/"]) == 3
    err = capfd.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert says in err and str(path) in err and "Traceback" not in err
    assert len(errors) == 1
    assert not (tmp_path / "it_ran").exists() and list(films.iterdir()) == []


def test_what_a_local_checkpoint_lacks_is_pulled_by_its_path(tmp_path, monkeypatch, capfd):
    """The hint once named the file without its folder, which no command finds again."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    story = tmp_path / "story.yaml"
    story.write_text(f"model: {GENERATOR}\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")
    assert run(["generate", str(story), "-o", str(tmp_path / "film.mp4")]) == 3
    err = capfd.readouterr().err
    assert "12 of 12 files are missing" in err and f"memflow models pull {GENERATOR}" in err
