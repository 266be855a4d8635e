"""Published checkpoint formats, real and tiny, all load to the same weights; anything else is a sentence."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import save_file

from memflow_cli.errors import ModelError
from memflow_cli.models.wan.checkpoint import load_transformer, read_config
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.names import from_diffusers
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.weights.lora import Lora
from memflow_cli.models.weights.quantised import quantise_rows
from parity.check import check

PARITY = Path(__file__).parent / "parity"
GENERATOR = PARITY / "tiny_generator.pt"
EMA = PARITY / "tiny_generator_ema.pt"
LORA = PARITY / "tiny_lora.pt"
TINY = WanConfig(dim=48, ffn_dim=96, freq_dim=32, text_dim=20, text_len=12, num_heads=2, num_layers=3)
DIFFUSERS_CONFIG = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 20,
    "freq_dim": 32,
    "ffn_dim": 96,
    "num_layers": 3,
}


def recording(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(PARITY / f"{name}.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def recorded_weights(name: str) -> dict[str, torch.Tensor]:
    prefix = "weights.model."
    return {key.removeprefix(prefix): t for key, t in recording(name)[0].items() if key.startswith(prefix)}


def bare(path: Path = GENERATOR) -> dict[str, torch.Tensor]:
    """The generator's tensors by their original names."""
    return {key.removeprefix("model."): t for key, t in torch.load(path, weights_only=True)["generator"].items()}


def diffusers_names() -> dict[str, str]:
    """Original name -> diffusers' name, from diffusers' own model."""
    model = WanTransformer3DModel(**DIFFUSERS_CONFIG)
    return {from_diffusers(name): name for name in model.state_dict()}


def save_diffusers(folder: Path, shards: bool = False) -> Path:
    model = WanTransformer3DModel(**DIFFUSERS_CONFIG)
    names = diffusers_names()
    model.load_state_dict({names[name]: tensor for name, tensor in bare().items()}, strict=True)
    model.save_pretrained(folder, max_shard_size="100KB" if shards else "10GB")
    return folder


def twins(folder: Path) -> dict[str, Path]:
    """The same weights in every other format that is understood."""
    weights = bare()
    save_file(weights, folder / "original.safetensors")
    save_file({f"model.diffusion_model.{k}": t for k, t in weights.items()}, folder / "prefixed.safetensors")
    torch.save(weights, folder / "bare.pt")
    torch.save({f"module._orig_mod.{key}": tensor for key, tensor in weights.items()}, folder / "compiled.bin")
    torch.save({"generator": weights, "step": 3}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    names = diffusers_names()
    save_file({names[key]: tensor for key, tensor in weights.items()}, folder / "diffusers.safetensors")
    found = {path.name: path for path in folder.iterdir()}
    found["folder"] = save_diffusers(folder / "folder")
    found["shards"] = save_diffusers(folder / "shards", shards=True)
    return found


def refused(path: Path, **options) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_transformer(path, options.pop("config", TINY), **options)
    assert caught.value.exit_code == 3
    return caught.value


def test_every_format_loads_to_the_same_weights(tmp_path):
    expected = recorded_weights("single_prompt")
    files = {"generator": GENERATOR, "ema": EMA, **twins(tmp_path)}
    assert len(files) == 10
    for path in files.values():
        loaded = load_transformer(path, TINY).state_dict()
        assert loaded.keys() == expected.keys(), path
        assert all(torch.equal(loaded[name], expected[name]) for name in expected), path


@pytest.mark.parametrize(("name", "loras"), [("single_prompt", []), ("single_prompt_lora", [Lora(LORA)])])
def test_loaded_checkpoints_reproduce_the_recordings(name, loras, tmp_path):
    tensors, metadata = recording(name)
    loaded = load_transformer(GENERATOR, TINY, loras).state_dict()
    tensors |= {f"weights.model.{key}": tensor for key, tensor in loaded.items()}
    save_file(tensors, tmp_path / "loaded.safetensors", metadata)
    assert check(tmp_path / "loaded.safetensors").passed


def test_transformer_equals_diffusers(tmp_path):
    """One chunk without a past: the renamed weights do what diffusers does with them."""

    class NoPast:
        positions = range(3)

        def gather(self, layer, query, key, value):
            from memflow_cli.models.wan.attention import rotary_table, rotate

            return rotate(key, rotary_table(tuple(self.positions), (4, 6), 24, query.device)).flatten(
                1, 2
            ), value.flatten(1, 2)

        def observe(self, layer, prompt_query): ...

    save_diffusers(tmp_path / "d")
    theirs = WanTransformer3DModel(**DIFFUSERS_CONFIG).eval()
    names = diffusers_names()
    theirs.load_state_dict({names[name]: tensor for name, tensor in bare().items()}, strict=True)
    ours = load_transformer(tmp_path / "d", read_config(tmp_path / "d"))
    torch.manual_seed(0)
    latents, text = torch.randn(1, 3, 16, 8, 12), torch.randn(1, 12, 20)
    with torch.no_grad():
        expected = theirs(latents.transpose(1, 2), torch.tensor([700.0]), text).sample.transpose(1, 2)
        got = ours(latents, torch.full((1, 3), 700.0), ours.project_prompt(text), NoPast())
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)


def test_every_key_and_shape_of_the_published_model():
    keys = json.loads((PARITY / "official_1_3b_keys.json").read_text())
    with torch.device("meta"):
        shapes = {name: list(tensor.shape) for name, tensor in CausalWanTransformer(WanConfig()).state_dict().items()}
    assert shapes == {key.removeprefix("model."): shape for key, shape in keys["generator"].items()}
    for key, shape in keys["generator_lora"].items():
        target, part, _ = key.removeprefix("base_model.model.").rsplit(".", 2)
        rows, columns = shapes[f"{target}.weight"]
        assert shape == ([256, columns] if part == "lora_A" else [rows, 256])


@pytest.mark.parametrize("style", ["peft", "default_adapter", "diffusers", "kohya", "plain"])
def test_lora_formats_merge_to_the_same_weights(style, tmp_path):
    published = torch.load(LORA, weights_only=True)["generator_lora"]
    names = diffusers_names()

    def rename(key: str) -> str:
        target, part, _ = key.removeprefix("base_model.model.").rsplit(".", 2)
        if style == "default_adapter":
            return f"base_model.model.{target}.{part}.default.weight"
        if style == "diffusers":
            return f"transformer.{names[f'{target}.weight'].removesuffix('.weight')}.{part}.weight"
        part = {"lora_A": "lora_down", "lora_B": "lora_up"}[part] if style == "kohya" else part
        return f"lora_unet_{target.replace('.', '_')}.{part}.weight" if style == "kohya" else f"{target}.{part}.weight"

    path = LORA
    if style != "peft":
        path = tmp_path / "lora.safetensors"
        save_file({rename(key): tensor for key, tensor in published.items()}, path)
    merged = load_transformer(GENERATOR, TINY, [Lora(path)]).state_dict()
    for name, tensor in recorded_weights("single_prompt_lora").items():
        torch.testing.assert_close(merged[name], tensor, atol=1e-6, rtol=1e-6)


def save_in_eight_bits(folder: Path, dtype: torch.dtype, whole: bool) -> Path:
    """The generator with its blocks' matrices in eight bits; `whole`: one scale a matrix, else one a row."""
    packed = {}
    for name, tensor in bare().items():
        if name.startswith("blocks.") and tensor.ndim == 2 and dtype == torch.int8:
            packed[name], packed[name + "_scale"] = quantise_rows(tensor)
        elif name.startswith("blocks.") and tensor.ndim == 2:
            scale = tensor.abs().amax() / 448 if whole else tensor.abs().amax(dim=1, keepdim=True) / 448
            packed[name], packed[name + "_scale"] = (tensor / scale).to(dtype), scale
        else:
            packed[name] = tensor
    folder.mkdir()
    save_file(packed, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    "dtype, whole, error",
    [(torch.int8, False, 0.012), (torch.float8_e4m3fn, False, 0.04), (torch.float8_e4m3fn, True, 0.04)],
)
def test_eight_bits_load_as_nearly_the_same_weights(dtype, whole, error, tmp_path):
    true = load_transformer(GENERATOR, TINY).state_dict()
    loaded = load_transformer(save_in_eight_bits(tmp_path / "small", dtype, whole), TINY).state_dict()
    for name, tensor in true.items():
        if name.startswith("blocks.") and name.endswith("weight") and tensor.ndim == 2:
            assert 0 < (loaded[name] - tensor).norm() / tensor.norm() < error
        else:
            assert torch.equal(loaded[name], tensor)


def test_eight_bits_need_fitting_scales(tmp_path):
    folder = save_in_eight_bits(tmp_path / "small", torch.int8, whole=False)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    name = "blocks.1.ffn.0.weight"
    save_file(weights | {name + "_scale": torch.ones(5)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"5 numbers as {name}_scale, not 1 or 96"):
        load_transformer(folder, TINY)
    del weights[name + "_scale"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"{name} in eight bits, without {name}_scale"):
        load_transformer(folder, TINY)


def test_lora_strength_and_alpha_scale_the_update(tmp_path):
    published = torch.load(LORA, weights_only=True)["generator_lora"]
    with_alpha = {key.removeprefix("base_model.model."): tensor for key, tensor in published.items()}
    with_alpha["blocks.0.self_attn.q.alpha"] = torch.tensor(2.0)  # of rank 4
    save_file(with_alpha, tmp_path / "lora.safetensors")
    name = "blocks.0.self_attn.q.weight"
    base = load_transformer(GENERATOR, TINY).state_dict()[name]
    full = load_transformer(GENERATOR, TINY, [Lora(LORA)]).state_dict()[name] - base
    half = load_transformer(GENERATOR, TINY, [Lora(LORA, 0.5)]).state_dict()[name] - base
    alpha = load_transformer(GENERATOR, TINY, [Lora(tmp_path / "lora.safetensors")]).state_dict()[name] - base
    twice = load_transformer(GENERATOR, TINY, [Lora(LORA), Lora(LORA)]).state_dict()[name] - base
    for scaled, factor in ((half, 0.5), (alpha, 0.5), (twice, 2.0)):
        torch.testing.assert_close(scaled, factor * full, atol=1e-6, rtol=1e-5)


def test_small_and_delicate_tensors_stay_in_full_precision():
    loaded = load_transformer(GENERATOR, TINY, dtype=torch.bfloat16).state_dict()
    full = {name for name, tensor in loaded.items() if tensor.dtype == torch.float32}
    assert {
        "time_embedding.0.weight",
        "blocks.1.modulation",
        "head.modulation",
        "blocks.0.self_attn.norm_q.weight",
    } <= full
    assert not any(name.startswith(("blocks.0.ffn", "patch_embedding", "head.head")) for name in full)


def test_truncated_files_are_sentences(tmp_path):
    save_file(bare(), tmp_path / "whole.safetensors")
    for source, name in ((GENERATOR, "a.pt"), (tmp_path / "whole.safetensors", "b.safetensors")):
        content = source.read_bytes()
        for length in (0, 1, 100, len(content) // 2, len(content) - 10):
            path = tmp_path / name
            path.write_bytes(content[:length])
            assert str(path) in refused(path).message


def test_corrupted_files_are_sentences(tmp_path):
    for name, content in (
        ("a.pt", b"\x80\x02garbage"),
        ("b.pt", b"PK\x03\x04" + b"x" * 500),
        ("c.bin", b"hello world" * 99),
    ):
        (tmp_path / name).write_bytes(content)
        assert str(tmp_path / name) in refused(tmp_path / name).message


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_code_is_refused_and_not_run(zipped, tmp_path):
    marker, path = tmp_path / "it_ran", tmp_path / "model.pt"
    torch.save({"generator": bare(), "x": Payload(marker)}, path, _use_new_zipfile_serialization=zipped)
    error = refused(path)
    assert "wants to run code" in error.message and error.hint and not marker.exists()
    with open(path, "wb") as file:
        pickle.dump({"x": Payload(marker)}, file)
    assert str(path) in refused(path).message and not marker.exists()


def test_missing_file_and_empty_folder_are_sentences(tmp_path):
    assert "No such file" in refused(tmp_path / "nowhere.pt").message
    assert "no .safetensors" in refused(tmp_path).message


def test_missing_shard_is_a_sentence(tmp_path):
    folder = save_diffusers(tmp_path / "shards", shards=True)
    sorted(folder.glob("*.safetensors"))[1].unlink()
    assert "lacks 1 of" in refused(folder).message


def test_lora_given_as_the_model_says_so():
    error = refused(LORA)
    assert "is a LoRA" in error.message and "--lora" in str(error.hint)


def test_model_of_another_size_says_so():
    error = refused(GENERATOR, config=WanConfig())
    assert "missing" in error.message and "of another shape" in error.message
    assert "width 48, not 1536" in str(error.hint)


def test_missing_and_unexpected_tensors_are_counted_and_the_first_are_named(tmp_path):
    weights = bare()
    for name in [name for name in weights if name.startswith("blocks.2.")]:
        del weights[name]
    weights["blocks.0.cross_attn.k_img.weight"] = torch.zeros(1)
    save_file(weights, tmp_path / "m.safetensors")
    error = refused(tmp_path / "m.safetensors")
    assert "27 missing (blocks.2.modulation, " in error.message and "1 unexpected" in error.message
    assert "image-to-video" in str(error.hint)


def test_an_autoencoder_is_not_a_transformer(tmp_path):
    save_file(
        {"decoder.conv_in.weight": torch.zeros(2), "encoder.conv_in.weight": torch.zeros(2)}, tmp_path / "v.safetensors"
    )
    assert "autoencoder" in str(refused(tmp_path / "v.safetensors").hint)


def test_lora_for_another_model_is_a_sentence(tmp_path):
    published = torch.load(LORA, weights_only=True)["generator_lora"]
    wrong = {key: torch.zeros(4, 99) if "lora_A" in key else tensor for key, tensor in published.items()}
    wrong["base_model.model.blocks.77.self_attn.q.lora_A.weight"] = torch.zeros(4, 48)
    torch.save({"generator_lora": wrong}, tmp_path / "lora.pt")
    message = refused(GENERATOR, loras=[Lora(tmp_path / "lora.pt")]).message
    assert "without a counterpart" in message and "of another size" in message
    assert "is not a LoRA" in refused(GENERATOR, loras=[Lora(GENERATOR)]).message
