"""Checkpoints in eight bits and fewer, as they are published: read as the numbers that they stand for, or refused."""

import sys
import weakref
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from memflow_cli.errors import ModelError
from memflow_cli.models.text.encoder import fit_encoder
from memflow_cli.models.wan.checkpoint import load_transformer
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.names import to_diffusers
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.weights import gguf_files, quantised
from memflow_cli.models.weights.packed import Packed
from tiny_files import save_encoder

CONFIG = WanConfig(256, 512, 256, text_dim=256, text_len=12, num_heads=2, num_layers=1)  # quants go by 256 numbers


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return {name: torch.randn(t.shape) * 0.1 for name, t in CausalWanTransformer(CONFIG).state_dict().items()}


def numbers(weight) -> torch.Tensor:
    return weight.to("cpu", torch.float32)


def is_matrix(name: str, tensor: torch.Tensor) -> bool:
    return name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2


def comfy(weights, diffusers: bool = False) -> dict[str, torch.Tensor]:
    """ComfyUI's scaled_fp8: a marker, and beside each matrix one number for all of it, and one for what it multiplies."""
    packed = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for name, tensor in weights.items():
        module, _, leaf = name.rpartition(".")
        module = to_diffusers(module) if diffusers and leaf in ("weight", "bias") else module
        if is_matrix(name, tensor):
            scale = tensor.abs().amax() / 448
            packed[f"{module}.weight"] = (tensor / scale).to(torch.float8_e4m3fn)
            packed[f"{module}.scale_weight"], packed[f"{module}.scale_input"] = scale, torch.tensor(1.0)
        elif leaf == "modulation" and diffusers:
            packed[f"{module}.scale_shift_table" if module != "head" else "scale_shift_table"] = tensor
        else:
            packed[f"{module}.{leaf}"] = tensor
    return packed


@pytest.mark.parametrize("form", ["original", "diffusers", "prefixed"])
def test_scaled_fp8_is_the_number_times_its_scale(form, weights, tmp_path):
    packed = comfy(weights, form == "diffusers")
    if form == "prefixed":
        packed = {f"model.diffusion_model.{name}": tensor for name, tensor in packed.items() if name != "scaled_fp8"}
        packed["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    save_file(packed, tmp_path / "m.safetensors")
    loaded = load_transformer(tmp_path / "m.safetensors", CONFIG).state_dict()
    by_hand = comfy(weights)
    for name, tensor in weights.items():
        if is_matrix(name, tensor):
            expected = by_hand[name].float() * by_hand[name.removesuffix("weight") + "scale_weight"]
            assert torch.equal(loaded[name], expected)
        else:
            assert torch.equal(loaded[name], tensor)


def test_a_marker_without_scales_is_refused(weights, tmp_path):
    packed = {name: t for name, t in comfy(weights).items() if not name.endswith(("scale_weight", "scale_input"))}
    save_file(packed, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="in eight bits, without"):
        load_transformer(tmp_path / "m.safetensors", CONFIG)


@pytest.mark.parametrize("ending", ["weight_scale_2", "weight_global_scale"])
def test_nvfp4_is_recognised_and_says_what_it_needs(ending, weights, tmp_path):
    packed = dict(weights)
    name = "blocks.0.ffn.0.weight"
    packed[name] = torch.zeros(512, 128, dtype=torch.uint8)
    packed[name + "_scale"] = torch.zeros(512, 16, dtype=torch.float8_e4m3fn)
    packed[f"blocks.0.ffn.0.{ending}"] = torch.tensor(1.0)
    save_file(packed, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="is in NVFP4") as caught:
        load_transformer(tmp_path / "m.safetensors", CONFIG)
    assert "Blackwell" in str(caught.value.hint)


def save_gguf(path: Path, tensors: dict[str, torch.Tensor], kind: gguf.GGMLQuantizationType) -> Path:
    """As quantising tools write it: matrices in `kind`, the others in fp32; five dimensions as four, with a note."""
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in tensors.items():
        numbers = tensor.numpy()
        if numbers.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(numbers.shape))
            numbers = numbers.reshape(-1, *numbers.shape[-3:])
        if numbers.ndim == 2 and numbers.shape[1] % 256 == 0 and is_stored_small(kind):
            packed = PACKED.get(kind)
            packed = gguf.quantize(numbers, kind) if packed is None else packed(numbers)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, numbers.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def is_stored_small(kind: gguf.GGMLQuantizationType) -> bool:
    return kind.name != "F32"


def random_blocks(kind: gguf.GGMLQuantizationType):
    """Bytes of a format that the package reads but does not write: any of them are numbers, scales kept small."""

    def pack(numbers: np.ndarray) -> np.ndarray:
        size, num_bytes = gguf.GGML_QUANT_SIZES[kind]
        rows, columns = numbers.shape
        blocks = np.random.default_rng(0).integers(0, 256, (rows, columns // size, num_bytes), dtype=np.uint8)
        blocks[..., :4] = np.frombuffer(np.array([0.01, 0.01], np.float16).tobytes(), np.uint8)
        return blocks.reshape(rows, -1)

    return pack


KINDS = gguf.GGMLQuantizationType
PACKED = {KINDS.Q5_K: random_blocks(KINDS.Q5_K), KINDS.Q4_K: random_blocks(KINDS.Q4_K)}


@pytest.mark.parametrize("kind", [KINDS.F16, KINDS.BF16, KINDS.Q8_0, KINDS.Q5_K, KINDS.Q4_K])
def test_gguf_loads_as_the_package_s_own_numbers(kind, weights, tmp_path):
    path = save_gguf(tmp_path / "m.gguf", weights, kind)
    loaded = load_transformer(path, CONFIG).state_dict()
    for tensor in gguf.GGUFReader(path).tensors:
        expected = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        torch.testing.assert_close(loaded[tensor.name].flatten(), expected.flatten(), atol=1e-4, rtol=1e-3)
    error = {"F16": 1e-3, "BF16": 5e-3, "Q8_0": 1e-2}.get(kind.name)
    name = "blocks.0.self_attn.q.weight"
    if error:
        assert (loaded[name] - weights[name]).norm() / weights[name].norm() < error
    assert torch.equal(loaded["patch_embedding.weight"], weights["patch_embedding.weight"]), "five dimensions"


def test_a_text_encoder_in_gguf_has_llama_cpp_s_names(tmp_path):
    """token_embd, enc.blk.0.attn_q, ...: beside the folder's config.json."""
    model = save_encoder(tmp_path / "text_encoder")
    names = {"shared.weight": "token_embd.weight", "encoder.final_layer_norm.weight": "enc.output_norm.weight"}
    parts = {
        "layer.0.SelfAttention.q": "attn_q",
        "layer.0.SelfAttention.k": "attn_k",
        "layer.0.SelfAttention.v": "attn_v",
        "layer.0.SelfAttention.o": "attn_o",
        "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
        "layer.0.layer_norm": "attn_norm",
        "layer.1.DenseReluDense.wi_0": "ffn_gate",
        "layer.1.DenseReluDense.wi_1": "ffn_up",
        "layer.1.DenseReluDense.wo": "ffn_down",
        "layer.1.layer_norm": "ffn_norm",
    }
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "encoder.embed_tokens.weight"}
    for block in range(2):
        names |= {
            f"encoder.block.{block}.{ours}.weight": f"enc.blk.{block}.{theirs}.weight" for ours, theirs in parts.items()
        }
    save_gguf(tmp_path / "text_encoder" / "m.gguf", {names[name]: t for name, t in state.items()}, KINDS.F32)
    (tmp_path / "text_encoder" / "model.safetensors").unlink()
    _, loaded = fit_encoder(tmp_path / "text_encoder")
    assert torch.equal(numbers(loaded["encoder.embed_tokens.weight"]), state["shared.weight"])
    name = "encoder.block.1.layer.1.DenseReluDense.wo.weight"
    assert torch.equal(numbers(loaded[name]), state[name])


def test_a_text_encoder_in_scaled_fp8(tmp_path):
    state = save_encoder(tmp_path / "encoder").state_dict()
    name = "encoder.block.0.layer.0.SelfAttention.q.weight"
    packed = {key: tensor for key, tensor in state.items() if key not in (name, "encoder.embed_tokens.weight")}
    packed[name] = (state[name] / 0.5).to(torch.float8_e4m3fn)
    packed[name.removesuffix("weight") + "scale_weight"] = torch.tensor(0.5)
    packed["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    save_file(packed, tmp_path / "encoder" / "model.safetensors")
    _, loaded = fit_encoder(tmp_path / "encoder")
    assert torch.equal(numbers(loaded[name]), packed[name].float() * 0.5)


def test_gguf_without_its_package_or_damaged_is_a_sentence(weights, tmp_path, monkeypatch):
    path = save_gguf(tmp_path / "m.gguf", weights, KINDS.Q8_0)
    (tmp_path / "cut.gguf").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cut\.gguf is cut off or damaged"):
        load_transformer(tmp_path / "cut.gguf", CONFIG)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match="package that reads them is missing") as caught:
        load_transformer(path, CONFIG)
    assert "pip install" in str(caught.value.hint)


@pytest.mark.parametrize("form", ["gguf", "fp8"])
def test_numbers_are_made_tensor_by_tensor_and_some_rows_at_a_time(form, weights, tmp_path, monkeypatch):
    """A 14B in GGUF took 28 GB of the host's memory, one in scaled fp8 56: all of its numbers at once."""
    if form == "gguf":
        path = save_gguf(tmp_path / "m.gguf", weights, KINDS.Q8_0)
    else:
        save_file(comfy(weights), path := tmp_path / "m.safetensors")
    plain = load_transformer(path, CONFIG).state_dict()
    alive: list[weakref.ref] = []
    most, largest = 0, 0

    def watched(shape, count, rows):
        def look(first: int, end: int) -> torch.Tensor:
            nonlocal most, largest
            made = rows(first, end)
            alive.append(weakref.ref(made))
            most = max(most, sum(each() is not None for each in alive))
            largest = max(largest, made.numel())
            return made

        return Packed(shape, count, look)

    for module in (gguf_files, quantised):
        monkeypatch.setattr(module, "Packed", watched)
    monkeypatch.setattr("memflow_cli.models.weights.packed.NUMBERS_AT_A_TIME", 5_000)
    loaded = load_transformer(path, CONFIG, dtype=torch.float32).state_dict()
    assert most == 1 and largest <= 5_000
    assert all(torch.equal(loaded[name], plain[name]) for name in plain)
