"""What lies in a model's folder beside its weights, or in their place: ignored, chosen by a rule, or named."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from memflow_cli.errors import ModelError
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from tiny_files import save_tiny_model

NAME = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("beside") / "tiny")


@pytest.fixture
def copy_of(model, tmp_path):
    return shutil.copytree(model, tmp_path / "model")


def test_hidden_files_and_what_lies_beside_a_canonical_name_do_not_count(copy_of):
    """`._X` of macOS was read as a checkpoint; of `X` and `X_old` the later name won in silence, here with NaN."""
    folder = copy_of / "transformer"
    good = load_file(folder / NAME)
    (folder / f"._{NAME}").write_bytes(b"\x00\x05\x16\x07" + bytes(4092))
    save_file(
        {name: tensor * float("nan") for name, tensor in good.items()},
        folder / "diffusion_pytorch_model_old.safetensors",
    )
    save_file({"blocks.0.self_attn.q.lora_A.weight": torch.ones(2, 24)}, folder / "my_style_lora.safetensors")
    (folder / "x.safetensors.index.json").write_text("not an index")
    loaded = load_model(find_model(copy_of)).transformer.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in good.items())


@pytest.mark.parametrize("other", ["b.safetensors", "z-00001-of-00002.safetensors"])
def test_several_checkpoints_and_nothing_to_choose_by_are_refused(other, copy_of):
    folder = copy_of / "transformer"
    (folder / NAME).rename(folder / "a.safetensors")
    load_model(find_model(copy_of))  # one file, whatever its name
    (folder / other).write_bytes((folder / "a.safetensors").read_bytes())
    with pytest.raises(ModelError, match="several checkpoints|lacks 1 of 2"):
        load_model(find_model(copy_of))


def test_shards_without_an_index_are_taken_whole(copy_of):
    folder = copy_of / "transformer"
    tensors = list(load_file(folder / NAME).items())
    (folder / NAME).unlink()
    save_file(dict(tensors[::2]), folder / "m-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"lacks 1 of 2 files .*m-00002-of-00002"):
        load_model(find_model(copy_of))
    save_file(dict(tensors[1::2]), folder / "m-00002-of-00002.safetensors")
    assert load_model(find_model(copy_of))
    save_file(dict(tensors), folder / "m-00002-of-00002.safetensors")
    with pytest.raises(ModelError, match="in two files"):
        load_model(find_model(copy_of))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>You must be logged in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64, "the pointer that git-lfs leaves"),
        (b'{"error":"Repository not found"}', "an error message of a server"),
        (b"\x1f\x8b\x08" + bytes(100), "a compressed archive"),
    ],
)
def test_what_a_download_left_in_place_of_weights_is_named(content, what, copy_of):
    (copy_of / "transformer" / NAME).write_bytes(content)
    with pytest.raises(ModelError, match=what):
        load_model(find_model(copy_of))


@pytest.mark.parametrize("given", [".", "./", "../model"])
def test_a_model_that_is_the_current_folder_has_a_name(given, copy_of, monkeypatch):
    """`-m .` gave a film whose model was called nothing."""
    monkeypatch.chdir(copy_of)
    assert find_model(given).name == "model"
