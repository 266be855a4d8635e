"""LoRAs as they are on the web: every form of their names, and what a file says of its strength, merged as by hand."""

import json
import math
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from memflow_cli.errors import ModelError
from memflow_cli.models.entry import Lora
from memflow_cli.models.wan.checkpoint import load_transformer
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.names import to_diffusers
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.weights.lora import read_lora

CONFIG = WanConfig(24, 32, 16, text_dim=16, text_len=12, num_heads=2, num_layers=2, in_dim=16, out_dim=16)
RANK = 4
MODULES = {
    "blocks.0.self_attn.q": (24, 24),
    "blocks.1.cross_attn.o": (24, 24),
    "blocks.0.ffn.0": (32, 24),
    "blocks.1.ffn.2": (24, 32),
    "text_embedding.0": (24, 16),
    "time_projection.1": (144, 24),
    "head.head": (64, 24),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lora") / "model.safetensors"
    save_file({name: torch.randn(t.shape) * 0.1 for name, t in CausalWanTransformer(CONFIG).state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def base(model):
    return load_transformer(model, CONFIG).state_dict()


def pairs(seed: int = 1) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Down [RANK, in] and up [out, RANK] of every module."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.randn(*size, generator=generator) * 0.1  # noqa: E731
    return {name: (draw(RANK, columns), draw(rows, RANK)) for name, (rows, columns) in MODULES.items()}


def save(path: Path, tensors: dict[str, torch.Tensor], **metadata: str) -> Path:
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata=metadata or None)
    return path


def merged(model: Path, path: Path, strength: float = 1.0, told: list[str] | None = None) -> dict[str, torch.Tensor]:
    tell = (lambda text: None) if told is None else told.append
    return load_transformer(model, CONFIG, [Lora(path, strength)], tell=tell).state_dict()


def by_hand(base, scale: float = 1.0, only: tuple[str, ...] = tuple(MODULES)) -> dict[str, torch.Tensor]:
    update = pairs()
    return {f"{name}.weight": base[f"{name}.weight"] + scale * update[name][1] @ update[name][0] for name in only}


def check(result, base, expected) -> None:
    """Exactly the parameters of `expected` differ from the model's, and are these."""
    for name, tensor in result.items():
        torch.testing.assert_close(tensor, expected.get(name, base[name]), atol=1e-5, rtol=1e-5, msg=name)


def underscores(name: str) -> str:
    return name.replace(".", "_")


AB, KOHYA = ("lora_A.weight", "lora_B.weight"), ("lora_down.weight", "lora_up.weight")
FORMS = {
    # What a module is called, and the endings of its two matrices.
    "original": (lambda name: name, AB),
    "diffusion_model": (lambda name: f"diffusion_model.{name}", AB),
    "diffusion_model, kohya's endings": (lambda name: f"diffusion_model.{name}", KOHYA),
    "without .weight": (lambda name: f"diffusion_model.{name}", ("lora_A", "lora_B")),
    "an adapter's name": (lambda name: f"base_model.model.{name}", ("lora_A.default.weight", "lora_B.default.weight")),
    "another adapter's name": (lambda name: name, ("lora_A.my_style.weight", "lora_B.my_style.weight")),
    "peft": (lambda name: f"base_model.model.{name}", AB),
    "diffusers": (lambda name: f"transformer.{to_diffusers(name)}", AB),
    "diffusers, an adapter's name": (
        lambda name: f"transformer.{to_diffusers(name)}",
        ("lora_A.default.weight", "lora_B.default.weight"),
    ),
    "lora_linear_layer": (
        lambda name: f"transformer.{to_diffusers(name)}",
        ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ),
    "lora.down": (lambda name: f"transformer.{to_diffusers(name)}", ("lora.down.weight", "lora.up.weight")),
    "kohya, one underscore": (lambda name: "lora_unet_" + underscores(name), KOHYA),
    "kohya, two underscores": (lambda name: "lora_unet__" + underscores(name), KOHYA),
    "kohya, diffusers' names": (lambda name: "lora_unet_" + underscores(to_diffusers(name)), KOHYA),
    "kohya, two underscores, diffusers' names": (lambda name: "lora_unet__" + underscores(to_diffusers(name)), KOHYA),
    "kohya, transformer": (lambda name: "lora_transformer_" + underscores(to_diffusers(name)), KOHYA),
    "lycoris": (lambda name: "lycoris_" + underscores(name), KOHYA),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_names_merges_to_the_same_weights(form, model, base, tmp_path):
    rename, endings = FORMS[form]
    tensors = {
        f"{rename(name)}.{ending}": matrix for name, pair in pairs().items() for ending, matrix in zip(endings, pair)
    }
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, by_hand(base))


def test_the_oldest_diffusers_form(model, base, tmp_path):
    """X.processor.to_q_lora.up.weight: the attention processors of the first LoRAs."""
    down, up = pairs()["blocks.0.self_attn.q"]
    name = "transformer.blocks.0.attn1.processor.to_q_lora"
    path = save(tmp_path / "l.safetensors", {f"{name}.down.weight": down, f"{name}.up.weight": up})
    check(merged(model, path), base, by_hand(base, only=("blocks.0.self_attn.q",)))


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet__blocks_0_self_attn_q.lora_down.weight",
        "lora_unet_blocks_0_attn1_to_q.lora_down.weight",
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight",
        "transformer.blocks.0.attn1.to_q.lora_linear_layer.down.weight",
        "unet.blocks.0.attn1.processor.to_q_lora.down.weight",
    ],
)
def test_keys_from_the_survey_of_files_name_the_same_module(key):
    from memflow_cli.models.weights.lora_names import Modules, split_key

    module, part = split_key(key)
    assert part == "down"
    assert Modules(f"{name}.weight" for name in MODULES).find(module) == "blocks.0.self_attn.q"


@pytest.mark.parametrize("container", ["state_dict", "lora", "generator_lora", None])
def test_torch_files_with_and_without_a_container(container, model, base, tmp_path):
    tensors = {f"diffusion_model.{name}.{end}": m for name, pair in pairs().items() for end, m in zip(AB, pair)}
    torch.save({container: tensors} if container else tensors, tmp_path / "l.pt")
    check(merged(model, tmp_path / "l.pt"), base, by_hand(base))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_stored_precision_is_kept(dtype, model, base, tmp_path):
    stored = {name: tuple(matrix.to(dtype) for matrix in pair) for name, pair in pairs().items()}
    tensors = {f"diffusion_model.{name}.{end}": m for name, pair in stored.items() for end, m in zip(AB, pair)}
    expected = {f"{n}.weight": base[f"{n}.weight"] + up.float() @ down.float() for n, (down, up) in stored.items()}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


# how strong


def plain_tensors() -> dict[str, torch.Tensor]:
    return {f"{name}.{end}": matrix for name, pair in pairs().items() for end, matrix in zip(AB, pair)}


@pytest.mark.parametrize("alpha", [torch.tensor(8.0), torch.tensor([8.0]), torch.tensor(8), torch.tensor(8.0).half()])
def test_alpha_as_a_tensor(alpha, model, base, tmp_path):
    tensors = plain_tensors() | {f"{name}.alpha": alpha for name in MODULES}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, by_hand(base, 8 / RANK))
    check(merged(model, tmp_path / "l.safetensors", 0.5), base, by_hand(base, 4 / RANK))


HEADERS = {
    "diffusers": ({"lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 8})}, 2.0),
    "kohya": ({"ss_network_alpha": "8", "ss_network_dim": "4"}, 2.0),
    "kohya without": ({"ss_network_alpha": "None"}, 1.0),
    "rank-stabilised": (
        {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 8, "transformer.use_rslora": True})},
        8 / math.sqrt(RANK),
    ),
    "something else": ({"format": "pt", "lora_adapter_metadata": "not JSON"}, 1.0),
}


@pytest.mark.parametrize("header", HEADERS)
def test_alpha_in_the_header(header, model, base, tmp_path):
    """It was not read: the film was the same as with a strength of 1, which is not what the file says."""
    metadata, scale = HEADERS[header]
    check(merged(model, save(tmp_path / "l.safetensors", plain_tensors(), **metadata)), base, by_hand(base, scale))


def test_alpha_patterns_of_some_modules(model, base, tmp_path):
    about = {"transformer.lora_alpha": 4, "transformer.alpha_pattern": {"blocks.0.attn1.to_q": 16, "proj_out": 2}}
    path = save(tmp_path / "l.safetensors", plain_tensors(), lora_adapter_metadata=json.dumps(about))
    others = tuple(name for name in MODULES if name not in ("blocks.0.self_attn.q", "head.head"))
    expected = (
        by_hand(base, 1.0, others) | by_hand(base, 4.0, ("blocks.0.self_attn.q",)) | by_hand(base, 0.5, ("head.head",))
    )
    check(merged(model, path), base, expected)


def test_alpha_in_adapter_config_beside(model, base, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 16}))
    path = save(tmp_path / "adapter_model.safetensors", plain_tensors())
    check(merged(model, path), base, by_hand(base, 4.0))
    tensors = plain_tensors() | {f"{name}.alpha": torch.tensor(8.0) for name in MODULES}
    check(merged(model, save(path, tensors)), base, by_hand(base, 2.0))


def test_an_adapter_config_of_another_file_does_not_count(model, base, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16}))
    save(tmp_path / "adapter_model.safetensors", plain_tensors())
    check(merged(model, save(tmp_path / "mine.safetensors", plain_tensors())), base, by_hand(base))


@pytest.mark.parametrize("metadata", [{"ss_network_alpha": "much"}, {"lora_adapter_metadata": '{"lora_alpha": "inf"}'}])
def test_an_alpha_that_is_not_a_number_is_refused(metadata, model, tmp_path):
    with pytest.raises(ModelError, match="alpha"):
        merged(model, save(tmp_path / "l.safetensors", plain_tensors(), **metadata))


# differences, DoRA, LoKr, LoHa


def test_differences_of_weights_biases_and_modulations(model, base, tmp_path):
    """blocks.0.modulation.diff, head.head.diff, patch_embedding.diff_b and their like."""
    draw = lambda name: torch.randn(base[name].shape) * 0.1  # noqa: E731
    names = {
        "diffusion_model.blocks.0.self_attn.q.diff_b": "blocks.0.self_attn.q.bias",
        "diffusion_model.blocks.0.self_attn.norm_q.diff": "blocks.0.self_attn.norm_q.weight",
        "diffusion_model.blocks.0.diff_m": "blocks.0.modulation",
        "blocks.1.modulation.diff": "blocks.1.modulation",
        "head.head.diff": "head.head.weight",
        "head.diff_m": "head.modulation",
        "patch_embedding.diff_b": "patch_embedding.bias",
        "patch_embedding.diff": "patch_embedding.weight",
    }
    tensors = {key: draw(name) for key, name in names.items()}
    expected = {name: base[name] + 0.5 * tensors[key] for key, name in names.items()}
    check(merged(model, save(tmp_path / "l.safetensors", tensors), 0.5), base, expected)


def test_differences_that_are_zero_are_skipped_with_a_note_and_others_refused(model, base, tmp_path):
    key, told = "diffusion_model.blocks.0.norm9.diff_b", []
    path = save(tmp_path / "l.safetensors", plain_tensors() | {key: torch.zeros(24)})
    check(merged(model, path, told=told), base, by_hand(base))
    assert told == [f"{path}: 14 of its 15 tensors are used; left out: 1 are zero, for what this model has not"]
    with pytest.raises(ModelError, match="without a counterpart .blocks.0.norm9.bias"):
        merged(model, save(path, plain_tensors() | {key: torch.ones(24)}))


@pytest.mark.parametrize("ending", ["dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.default.weight"])
def test_dora(ending, model, base, tmp_path):
    """The direction is that of the merged weight, the length of each row is the file's."""
    name, strength = "blocks.0.self_attn.q", 0.7
    (down, up), length = pairs()[name], torch.rand(24) + 0.5
    tensors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    tensors[f"{name}.{ending}"] = length.view(24, 1) if ending == "dora_scale" else length
    whole = base[f"{name}.weight"] + up @ down
    whole = length[:, None] * whole / whole.norm(dim=1, keepdim=True)
    expected = base[f"{name}.weight"] + strength * (whole - base[f"{name}.weight"])
    check(merged(model, save(tmp_path / "l.safetensors", tensors), strength), base, {f"{name}.weight": expected})


def test_dora_over_columns(model, base, tmp_path):
    name = "blocks.0.ffn.0"  # 32 rows, 24 columns
    (down, up), length = pairs()[name], torch.rand(1, 24) + 0.5
    tensors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.dora_scale": length}
    whole = base[f"{name}.weight"] + up @ down
    expected = {f"{name}.weight": length * whole / whole.norm(dim=0, keepdim=True)}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


@pytest.mark.parametrize("split", [(), ("w1",), ("w2",), ("w1", "w2")])
def test_lokr(split, model, base, tmp_path):
    """A Kronecker product of two matrices, each perhaps a product of two again; alpha counts where one was split."""
    name, tensors, factors = "blocks.0.ffn.0", {}, {}
    for factor, (rows, columns) in {"w1": (4, 3), "w2": (8, 8)}.items():
        a, b = torch.randn(rows, 2) * 0.2, torch.randn(2, columns) * 0.2
        factors[factor] = a @ b
        parts = {f"{factor}_a": a, f"{factor}_b": b} if factor in split else {factor: a @ b}
        tensors |= {f"lycoris_blocks_0_ffn_0.lokr_{part}": tensor for part, tensor in parts.items()}
    tensors["lycoris_blocks_0_ffn_0.alpha"] = torch.tensor(1.0)
    change = torch.kron(factors["w1"], factors["w2"]) * (0.5 if split else 1.0)
    expected = {f"{name}.weight": base[f"{name}.weight"] + change}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


def test_loha(model, base, tmp_path):
    name = "blocks.0.ffn.0"
    parts = {
        f"hada_w{n}_{half}": torch.randn((32, 4) if half == "a" else (4, 24)) * 0.3 for n in (1, 2) for half in "ab"
    }
    tensors = {f"lora_unet_blocks_0_ffn_0.{part}": tensor for part, tensor in parts.items()}
    tensors["lora_unet_blocks_0_ffn_0.alpha"] = torch.tensor(2.0)
    change = (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"]) * 0.5
    check(
        merged(model, save(tmp_path / "l.safetensors", tensors)),
        base,
        {f"{name}.weight": base[f"{name}.weight"] + change},
    )


def test_a_bias_beside_the_matrices(model, base, tmp_path):
    bias = torch.randn(24) * 0.1
    tensors = plain_tensors() | {"transformer.blocks.0.attn1.to_q.lora_B.bias": bias}
    expected = by_hand(base) | {"blocks.0.self_attn.q.bias": base["blocks.0.self_attn.q.bias"] + bias}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


# kinds beside the usual ones


def test_one_file_with_all_prefixes_and_a_rank_for_each_module(model, base, tmp_path):
    """Merged by some script from several trainers' files: every module has its own form, rank and alpha."""
    tensors, expected = {}, {}
    forms = [FORMS[name] for name in ("diffusion_model", "diffusers", "kohya, two underscores", "peft", "lycoris")]
    forms += [FORMS["without .weight"], FORMS["kohya, diffusers' names"]]
    for number, ((name, (rows, columns)), (rename, endings)) in enumerate(zip(MODULES.items(), forms, strict=True)):
        rank, alpha = number + 1, 2.0 * number + 0.5
        down, up = torch.randn(rank, columns) * 0.1, torch.randn(rows, rank) * 0.1
        tensors |= {f"{rename(name)}.{endings[0]}": down, f"{rename(name)}.{endings[1]}": up}
        tensors[f"{rename(name)}.alpha"] = torch.tensor(alpha)
        expected[f"{name}.weight"] = base[f"{name}.weight"] + alpha / rank * up @ down
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


@pytest.mark.parametrize("prefix", ["lora_unet_diffusion_model_", "lycoris_unet_", "lora_transformer_model_"])
def test_prefixes_upon_prefixes(prefix, model, base, tmp_path):
    tensors = {f"{prefix}{underscores(name)}.{end}": m for name, pair in pairs().items() for end, m in zip(KOHYA, pair)}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, by_hand(base))


@pytest.mark.parametrize("word", ["lora_alpha", "network_alpha", "alpha", "ss_network_alpha"])
def test_one_alpha_in_the_header_over_each_module_s_own_rank(word, model, base, tmp_path):
    tensors, expected = {}, {}
    for rank, (name, (rows, columns)) in enumerate(MODULES.items(), start=1):
        down, up = torch.randn(rank, columns) * 0.1, torch.randn(rows, rank) * 0.1
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        expected[f"{name}.weight"] = base[f"{name}.weight"] + 6 / rank * up @ down
    check(merged(model, save(tmp_path / "l.safetensors", tensors, **{word: "6"})), base, expected)


def test_a_pattern_of_modules_that_is_an_expression_is_refused(model, tmp_path):
    """It matched nothing, and the modules meant had the others' strength in silence."""
    about = json.dumps({"transformer.lora_alpha": 4, "transformer.alpha_pattern": {r".*\.attn1\.to_[qk]": 16}})
    with pytest.raises(ModelError, match="alpha_pattern of .* cannot be understood"):
        merged(model, save(tmp_path / "l.safetensors", plain_tensors(), lora_adapter_metadata=about))


CONVOLUTION = "patch_embedding"


def convolution() -> dict[str, torch.Tensor]:
    """A low-rank pair of the patch embedding's convolution, 16 channels of 1x2x2 to 24."""
    down = torch.randn(RANK, 16, 1, 2, 2) * 0.1
    return {f"{CONVOLUTION}.lora_A.weight": down, f"{CONVOLUTION}.lora_B.weight": torch.randn(24, RANK, 1, 1, 1) * 0.1}


def merged_convolution(base, tensors) -> torch.Tensor:
    down, up = tensors[f"{CONVOLUTION}.lora_A.weight"], tensors[f"{CONVOLUTION}.lora_B.weight"]
    weight = base[f"{CONVOLUTION}.weight"]
    return weight + torch.einsum("or,rchij->ochij", up.flatten(1), down).view(weight.shape)


def test_a_convolution_with_alpha_and_bias(model, base, tmp_path):
    tensors = convolution()
    bias = torch.randn(24) * 0.1
    tensors |= {f"{CONVOLUTION}.alpha": torch.tensor(float(RANK)), f"{CONVOLUTION}.lora_B.bias": bias}
    expected = {f"{CONVOLUTION}.weight": merged_convolution(base, tensors)}
    expected[f"{CONVOLUTION}.bias"] = base[f"{CONVOLUTION}.bias"] + bias
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


@pytest.mark.parametrize("shape", [(24,), (24, 1, 1, 1, 1), (1, 24, 1, 1, 1)])
def test_dora_of_a_convolution(shape, model, base, tmp_path):
    """PEFT's lengths of a convolution's outputs lie along the second axis: they ended as a bug of memflow."""
    tensors, length = convolution(), torch.rand(24) + 0.5
    whole = merged_convolution(base, tensors)
    lengths = whole.flatten(1).norm(dim=1).view(24, 1, 1, 1, 1)
    expected = {f"{CONVOLUTION}.weight": whole / lengths * length.view(24, 1, 1, 1, 1)}
    tensors[f"{CONVOLUTION}.lora_magnitude_vector.weight"] = length.view(shape)
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


def test_dora_over_the_inputs_of_a_convolution(model, base, tmp_path):
    tensors, length = convolution(), torch.rand(1, 16, 1, 1, 1) + 0.5
    whole = merged_convolution(base, tensors)
    lengths = whole.transpose(0, 1).flatten(1).norm(dim=1).view(1, 16, 1, 1, 1)
    tensors[f"{CONVOLUTION}.dora_scale"] = length
    check(
        merged(model, save(tmp_path / "l.safetensors", tensors)),
        base,
        {f"{CONVOLUTION}.weight": whole / lengths * length},
    )


def test_dora_with_alpha_and_a_bias(model, base, tmp_path):
    """Alpha scales what is added before the length is taken; a bias is added as it is."""
    name = "blocks.0.self_attn.q"
    (down, up), length, bias = pairs()[name], torch.rand(24) + 0.5, torch.randn(24) * 0.1
    tensors = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.lora_magnitude_vector": length}
    tensors |= {f"{name}.alpha": torch.tensor(2.0 * RANK), f"{name}.diff_b": bias}
    whole = base[f"{name}.weight"] + 2 * up @ down
    expected = {f"{name}.weight": length[:, None] * whole / whole.norm(dim=1, keepdim=True)}
    expected[f"{name}.bias"] = base[f"{name}.bias"] + bias
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


@pytest.mark.parametrize("adapter", ["", ".default"])
def test_lokr_of_peft_says_its_alpha_and_rank_beside_it(adapter, model, base, tmp_path):
    """PEFT scales LoKr by alpha over r even where no factor is split; nothing in the tensors tells."""
    name = "blocks.0.ffn.0"
    first, second = torch.randn(4, 3) * 0.3, torch.randn(8, 8) * 0.3
    tensors = {f"base_model.model.{name}.lokr_{w}{adapter}": m for w, m in (("w1", first), ("w2", second))}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LOKR", "r": 8, "alpha": 16}))
    path = save(tmp_path / "adapter_model.safetensors", tensors)
    expected = {f"{name}.weight": base[f"{name}.weight"] + 2 * torch.kron(first, second)}
    check(merged(model, path), base, expected)


def test_lokr_with_dora(model, base, tmp_path):
    name = "blocks.0.ffn.0"
    first, second, length = torch.randn(4, 3) * 0.3, torch.randn(8, 8) * 0.3, torch.rand(32, 1) + 0.5
    tensors = {f"{name}.lokr_w1": first, f"{name}.lokr_w2": second, f"{name}.dora_scale": length}
    whole = base[f"{name}.weight"] + torch.kron(first, second)
    expected = {f"{name}.weight": length * whole / whole.norm(dim=1, keepdim=True)}
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


def test_a_difference_beside_a_product(model, base, tmp_path):
    """Both are added; a difference of zeros, of what the model has, is one like any other."""
    name = "blocks.0.self_attn.q"
    difference = torch.randn(24, 24) * 0.1
    zeros = {"blocks.1.cross_attn.o.diff_b": torch.zeros(24), "blocks.0.norm3.diff": torch.zeros(24)}
    tensors = plain_tensors() | {f"{name}.diff": difference} | zeros
    expected = by_hand(base)
    expected[f"{name}.weight"] = expected[f"{name}.weight"] + difference
    check(merged(model, save(tmp_path / "l.safetensors", tensors)), base, expected)


def test_several_files_are_added_up(model, base, tmp_path):
    paths = [save(tmp_path / f"{number}.safetensors", plain_tensors()) for number in range(2)]
    twice = load_transformer(model, CONFIG, [Lora(paths[0], 0.75), Lora(paths[1], -0.25)]).state_dict()
    check(twice, base, by_hand(base, 0.5))


# parts for other models


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["lora_te_text_model_encoder_layers_0_self_attn_k_proj.lora_down.weight"], "a text encoder"),
        (["lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha"], "a text encoder"),
        (["text_encoders.umt5xxl.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"], "a text encoder"),
        (["lycoris_te_encoder_block_0_layer_0_SelfAttention_q.lokr_w1"], "a text encoder"),
        (["text_encoder.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"], "a text encoder"),
        (["diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight"], "image or control inputs"),
        (["diffusion_model.img_emb.proj.1.diff", "blocks.0.attn2.add_k_proj.lora_B.weight"], "image or control inputs"),
        (["vace_blocks.0.self_attn.q.lora_A.weight"], "image or control inputs"),
        (["transformer_2.blocks.0.attn1.to_q.lora_A.weight"], "a second transformer"),
    ],
)
def test_parts_for_what_this_model_has_not_are_left_out_and_told(keys, what, model, base, tmp_path):
    told = []
    path = save(tmp_path / "l.safetensors", plain_tensors() | {key: torch.ones(4, 16) for key in keys})
    check(merged(model, path, told=told), base, by_hand(base))
    assert told == [f"{path}: 14 of its {14 + len(keys)} tensors are used; left out: {len(keys)} are for {what}"]
    with pytest.raises(ModelError, match=f"updates nothing of this model.*{what}"):
        merged(model, save(path, {key: torch.ones(4, 16) for key in keys}))


# refused, and named

NAME = "blocks.0.self_attn.q"


def pair(down=(RANK, 24), up=(24, RANK), **more) -> dict[str, torch.Tensor]:
    return {f"{NAME}.lora_A.weight": torch.ones(down), f"{NAME}.lora_B.weight": torch.ones(up)} | {
        f"{NAME}.{part}": value for part, value in more.items()
    }


WRONG = {
    "inner rank": (pair(up=(24, 8)), "of another size"),
    "outer size": (pair(down=(RANK, 99)), "of another size"),
    "one dimension": (pair(down=(24,), up=(24,)), "of another size"),
    "no dimension": (pair(down=(), up=()), "of another size"),
    "kernel of an up": (pair(down=(RANK, 24, 1), up=(24, RANK, 3)), "of another size"),
    "rank 0": (pair(down=(0, 24), up=(24, 0)), "not usable as numbers"),
    "rank 0 with alpha": (pair(down=(0, 24), up=(24, 0), alpha=torch.tensor(1.0)), "not usable as numbers"),
    "alpha of several numbers": (pair(alpha=torch.ones(3)), "of another size"),
    "alpha of none": (pair(alpha=torch.ones(0)), "not usable as numbers"),
    "alpha NaN": (pair(alpha=torch.tensor(math.nan)), "not usable as numbers"),
    "alpha infinite": (pair(alpha=torch.tensor(math.inf)), "not usable as numbers"),
    "values NaN": ({key: tensor * math.nan for key, tensor in pair().items()}, "not usable as numbers"),
    "whole numbers": ({key: tensor.long() for key, tensor in pair().items()}, "not usable as numbers"),
    "truth values": ({key: tensor.bool() for key, tensor in pair().items()}, "not usable as numbers"),
    "only alpha": ({f"{NAME}.alpha": torch.tensor(1.0)}, "with a half missing"),
    "one half": ({f"{NAME}.lora_A.weight": torch.ones(RANK, 24)}, "with a half missing"),
    "an unknown module": ({f"x.{key}": tensor for key, tensor in pair().items()}, "without a counterpart"),
    "two adapters": (
        pair() | {f"{NAME}.lora_A.second.weight": torch.ones(RANK, 24)},
        "there twice",
    ),
    "an unknown part": (pair(**{"lora_mid.weight": torch.ones(1)}), "not understood"),
    "a whole weight": (pair(weight=torch.ones(24, 24)), "not understood"),
    "oft": (pair(oft_blocks=torch.ones(2, 2)), "not understood"),
    "a key of a megabyte": (pair(**{"a." * 500_000: torch.ones(1)}), "not understood"),
    "nothing": ({"x": torch.ones(1)}, "is not a LoRA"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named_and_refused(case, model, tmp_path):
    """Ranks that differ, alphas of three numbers and the like once ended as bugs of memflow, or hung for a minute."""
    tensors, problem = WRONG[case]
    with pytest.raises(ModelError, match=problem) as caught:
        merged(model, save(tmp_path / "l.safetensors", tensors))
    assert "l.safetensors" in caught.value.message


@pytest.mark.filterwarnings("ignore:Sparse invariant")
@pytest.mark.parametrize(
    "content",
    [
        {1: torch.ones(1)},
        {"generator_lora": {1: torch.ones(1)}},
        {"generator_lora": {"a": "b"}},
        [1, 2],
        {f"{NAME}.lora_A.weight": torch.sparse_coo_tensor(torch.zeros(2, 1).long(), torch.ones(1), (RANK, 24))},
        {f"{NAME}.lora_A.weight": torch.empty(RANK, 24, device="meta")},
        {f"{NAME}.lora_A.weight": torch.zeros(1).expand(2**34)},
        {f"{NAME}.lora_A.weight": torch.zeros(RANK, 24, dtype=torch.complex64)},
    ],
    ids=["int key", "int key inside", "texts", "a list", "sparse", "meta", "expanded", "complex"],
)
def test_strange_torch_files_are_sentences(content, model, tmp_path):
    torch.save(content, tmp_path / "l.pt")
    with pytest.raises(ModelError, match=r"l\.pt"):
        merged(model, tmp_path / "l.pt")


def test_parameters_that_want_gradients_are_tensors_too(model, base, tmp_path):
    torch.save({key: torch.nn.Parameter(tensor) for key, tensor in plain_tensors().items()}, tmp_path / "l.pt")
    check(merged(model, tmp_path / "l.pt"), base, by_hand(base))


def many_keys(path: Path, count: int) -> Path:
    """So many low-rank matrices of one number, written by hand: the library takes long over them."""
    entry = lambda index: {"dtype": "F32", "shape": [1], "data_offsets": [4 * index, 4 * index + 4]}  # noqa: E731
    header = json.dumps({f"x{index}.lora_A.weight": entry(index) for index in range(count)}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * count))
    return path


def test_a_hundred_thousand_keys_are_refused_and_thousands_take_no_time(model, tmp_path):
    """They took more than a minute: every target was looked up in a list."""
    begun = time.monotonic()
    with pytest.raises(ModelError, match="100,000 tensors, more than any model"):
        merged(model, many_keys(tmp_path / "l.safetensors", 100_000))
    with pytest.raises(ModelError, match="3000 without a counterpart"):
        merged(model, many_keys(tmp_path / "l.safetensors", 3_000))
    assert time.monotonic() - begun < 30


def test_a_strength_that_overflows_is_a_sentence(model, tmp_path):
    path = save(tmp_path / "l.safetensors", plain_tensors())
    with pytest.raises(ModelError, match=r"NaN or infinite numbers in .*strength 1e\+308"):
        merged(model, path, 1e308)


class FullSize(TorchDispatchMode):
    """Counts the tensors of at least so many elements that operators make, views of others not counted."""

    def __init__(self, num_elements: int) -> None:
        super().__init__()
        self.num_elements, self.made = num_elements, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        known = {tensor.untyped_storage().data_ptr() for tensor in arguments if isinstance(tensor, torch.Tensor)}
        result = function(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor) and result.numel() >= self.num_elements:
            self.made += result.untyped_storage().data_ptr() not in known
        return result


def test_merging_makes_one_matrix_of_a_weight_s_size(base, tmp_path):
    """A 14B model's largest matrices take 280 MB each in fp32: product, scale, strength and sum were one more each."""
    path = save(tmp_path / "a.safetensors", plain_tensors())
    update = read_lora(Lora(path, 0.5), {name: tensor.shape for name, tensor in base.items()})
    name = next(name for name in base if not torch.equal(update.apply(name, base[name], "cpu"), base[name]))
    before = base[name].clone()
    with FullSize(base[name].numel()) as counted:
        update.apply(name, base[name], "cpu")
    assert counted.made <= 2, "the new weight, and what tells whether its numbers are finite"
    assert torch.equal(base[name], before)
