"""From a name or a path to a model that makes films."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from memflow_cli.errors import ModelError
from memflow_cli.film.shooting import make_film
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from tiny_files import save_json, save_model, save_transformer
from tiny_model import story


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny-wan")


def test_a_folder_in_diffusers_layout_makes_a_film(folder, tmp_path):
    entry = find_model(folder)
    assert (entry.name, entry.policy, entry.width, entry.height) == ("tiny-wan", "sink", 64, 32)
    assert (entry.geometry.num_layers, entry.geometry.num_heads, entry.geometry.head_dim) == (2, 2, 12)
    result = make_film(story("a red fox", "the snow"), entry, load_model(entry), tmp_path / "film.mp4")
    assert result.plan.num_frames == 45 and (tmp_path / "film.mp4").is_file()


def test_embeddings_of_a_large_encoder_are_kept_on_disk(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("memflow_cli.models.text.encoder.SMALL_ENCODER", 0)
    copy = shutil.copytree(folder, tmp_path / "model")
    entry = find_model(str(copy))
    first = load_model(entry, embeddings=tmp_path / "embeddings").encode_prompts(["a red fox"])
    assert first.dtype == torch.bfloat16 and len(list((tmp_path / "embeddings").iterdir())) == 1
    again = load_model(entry, embeddings=tmp_path / "embeddings")
    shutil.rmtree(copy / "text_encoder")
    assert torch.equal(again.encode_prompts(["a red fox"]), first)


def test_a_large_encoder_is_transformers_and_a_small_one_its_twin(folder, monkeypatch):
    """The slow twin of each other: the same embeddings, by other code, from the same file; strict in the same words."""
    from memflow_cli.models.text import encoder
    from memflow_cli.models.text.large import LargeEncoder
    from memflow_cli.models.text.umt5 import UMT5Encoder

    prompts, made = ["a red fox walks in the snow", "fox", "a red blue fox " * 40], {}
    for size in (1 << 30, 0):
        monkeypatch.setattr(encoder, "SMALL_ENCODER", size)
        model, weights = encoder.fit_encoder(folder / "text_encoder")
        assert sorted(model.state_dict()) == sorted(weights), "no key is missing, none too many"
        assert isinstance(model, UMT5Encoder if size else LargeEncoder)
        loaded = encoder.TextEncoder(
            folder / "text_encoder", folder / "tokenizer", 512, torch.device("cpu"), torch.float32, stays=True
        )
        made[size] = loaded.encode(prompts)
    torch.testing.assert_close(made[0], made[1 << 30], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [1 << 30, 0], ids=["small", "large"])
def test_an_encoder_that_lacks_a_tensor_is_refused(size, folder, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    from memflow_cli.models.text import encoder

    monkeypatch.setattr(encoder, "SMALL_ENCODER", size)
    copy = shutil.copytree(folder / "text_encoder", tmp_path / "text_encoder")
    tensors = load_file(copy / "model.safetensors")
    del tensors["encoder.final_layer_norm.weight"]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 missing \(encoder.final_layer_norm.weight\)"):
        encoder.fit_encoder(copy)


@pytest.mark.parametrize(("scheduler", "shift"), [({"steps": [1000, 500], "shift": 3.0}, 3.0), ({"shift": 3.0}, 5.0)])
def test_a_shift_counts_where_its_schedule_names_its_steps(scheduler, shift, folder, tmp_path):
    """diffusers writes a shift for models of any kind; few-step models are not sampled so."""
    copy = shutil.copytree(folder, tmp_path / "model")
    save_json(copy / "scheduler" / "scheduler_config.json", scheduler)
    assert find_model(str(copy)).sampling.shift == shift


def test_bf16_model_makes_finite_latents(folder):
    model = load_model(find_model(folder), dtype=torch.bfloat16)
    prompt = model.project_prompt(model.encode_prompts(["a red fox"]))
    assert model.dtype == torch.bfloat16 and prompt.keys[0].dtype == torch.bfloat16
    decoder = model.decoder()
    frames = decoder.decode(torch.randn(3, 16, 4, 8))
    assert frames.shape == (9, 32, 64, 3) and frames.dtype == torch.float32 and frames.isfinite().all()


def test_a_transformer_that_does_not_fit_its_config_is_a_sentence(tmp_path):
    folder = save_model(tmp_path / "m")
    config = json.loads((folder / "transformer" / "config.json").read_text())
    (folder / "transformer" / "config.json").write_text(json.dumps(config | {"num_layers": 5}))
    with pytest.raises(ModelError, match="missing"):
        load_model(find_model(folder))


def test_an_incomplete_autoencoder_is_a_sentence(folder, tmp_path):
    other = save_model(tmp_path / "m")
    save_transformer(other / "vae")
    (other / "vae" / "config.json").write_text((folder / "vae" / "config.json").read_text())
    with pytest.raises(ModelError, match="vae does not fit this model"):
        load_model(find_model(other))


@pytest.mark.parametrize("component", ["text_encoder", "tokenizer"])
def test_a_missing_component_is_named(component, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "m")
    shutil.rmtree(other / component)
    with pytest.raises(ModelError, match=f"no {component}") as caught:
        load_model(find_model(other))
    assert caught.value.exit_code == 3


def test_folder_without_a_model_and_unknown_names_are_sentences(tmp_path):
    with pytest.raises(ModelError, match="is not a model"):
        find_model(tmp_path)
    with pytest.raises(ModelError, match="did you mean 'memflow-1.3b'"):
        find_model("memflow-13b")
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        find_model(tmp_path)


def test_theatre_loads_without_the_slow_libraries():
    """Drawing random numbers on the meta device once imported torch's compiler: a second before every film."""
    code = (
        "import sys, torch; from memflow_cli.models.catalog import find_model; from memflow_cli.models.load import load_model\n"
        "model = load_model(find_model('theatre')); model.encode_prompts(['a red fox'])\n"
        "print(*[name for name in ('torch._dynamo', 'sympy', 'transformers', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_small_text_encoder_needs_no_transformers(folder, tmp_path):
    """It takes seconds to import: theatre's encoder is our own, and diffusers must do without it, too."""
    (tmp_path / "story.yaml").write_text(f"model: {folder}\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")
    code = "import sys; sys.modules['transformers'] = None; from memflow_cli.cli.app import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "generate", str(tmp_path / "story.yaml"), "-o", str(tmp_path / "film.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "film.mp4").is_file()
