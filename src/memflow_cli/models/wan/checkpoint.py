"""A transformer from its checkpoint: checked strictly, low-rank updates merged, assigned without a second copy.

Nothing is loaded halfway: every key and shape is compared with the model on the meta device before a weight is touched.
Then one tensor after the other goes to its device in its precision; the most held besides is one tensor in fp32.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from memflow_cli.errors import ModelError
from memflow_cli.geometry import Geometry
from memflow_cli.models.entry import Lora, ModelEntry
from memflow_cli.models.files import read_json
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.names import original_names
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.weights.lora import LoraUpdate, read_lora
from memflow_cli.models.weights.lora_names import is_lora
from memflow_cli.models.weights.packed import Weight
from memflow_cli.models.weights.quantised import with_scales
from memflow_cli.models.weights.tensor_files import check_finite, check_fit, first_three, likely_cause, read_tensors

FULL_PRECISION = re.compile(r"^time_embedding\.|^time_projection\.|modulation$|norm_[qk]\.weight$")
"""Tensors that stay in fp32: small, and the published code computes with them in fp32."""

MAX_MISSING_LAYERS = 50  # told one by one; a description that claims more is not built


def load_transformer(
    path: Path,
    config: WanConfig,
    loras: Sequence[Lora] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    tell: Callable[[str], None] = lambda text: None,
) -> CausalWanTransformer:
    """A transformer from a checkpoint file or a diffusers folder, low-rank updates merged once in fp32.

    `tell`: told what of an update was left out. Raises ModelError, before anything is loaded, if a file is missing, broken,
    unsafe or of another model.
    """
    transformer, weights, updates = fit_transformer(path, config, loras, tell)
    for name in transformer.state_dict():
        kept = torch.float32 if FULL_PRECISION.search(name) else dtype
        weight = weights[name]
        for update in updates:
            weight = update.apply(name, weight, device)
        weights[name] = check_finite(path, name, weight.to(device, kept))
    transformer.load_state_dict(weights, strict=True, assign=True)
    return transformer.eval().requires_grad_(False)


def fit_transformer(
    path: Path, config: WanConfig, loras: Sequence[Lora] = (), tell: Callable[[str], None] = lambda text: None
) -> tuple[CausalWanTransformer, dict[str, Weight], list[LoraUpdate]]:
    """The transformer on the meta device, the weights by its own names, and the updates: every key and shape checked."""
    weights = _read_weights(path)
    num_layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    if config.num_layers > num_layers + MAX_MISSING_LAYERS:
        raise ModelError(
            f"{path} does not fit this model: it has {num_layers} layers, not {config.num_layers}",
            likely_cause(weights, {}),
        )
    with torch.device("meta"):
        transformer = CausalWanTransformer(config)
    expected = {name: tensor.shape for name, tensor in transformer.state_dict().items()}
    check_fit(path, weights, expected)
    return transformer, weights, [read_lora(lora, expected, tell) for lora in loras]


def _read_weights(path: Path) -> dict[str, Weight]:
    """A model's tensors by their original names."""
    loaded = read_tensors(path)
    if is_lora(loaded):
        raise ModelError(
            f"{path} is a LoRA, an update of a model, and cannot be the model itself",
            "give the model with --model and this file with --lora",
        )
    return with_scales(path, original_names(loaded))


def transformer_config(entry: ModelEntry, checkpoint: Path) -> WanConfig:
    """The sizes that a model's checkpoint must have: its config.json's, or for a bare file those of its geometry."""
    if (checkpoint / "config.json").is_file():
        return read_config(checkpoint)
    geometry = entry.geometry
    return replace(
        infer_config(checkpoint, _read_weights(checkpoint), geometry),
        dim=geometry.num_heads * geometry.head_dim,
        num_heads=geometry.num_heads,
        num_layers=geometry.num_layers,
        in_dim=geometry.latent_channels,
        out_dim=geometry.latent_channels,
    )


def infer_config(path: Path, weights: Mapping[str, Weight], geometry: Geometry) -> WanConfig:
    """The sizes of a checkpoint without a config.json, from its tensors; the number of heads is the geometry's."""
    try:
        dim = weights["patch_embedding.weight"].shape[0]
        layers = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
        return WanConfig(
            dim=dim,
            ffn_dim=weights["blocks.0.ffn.0.weight"].shape[0],
            freq_dim=weights["time_embedding.0.weight"].shape[1],
            text_dim=weights["text_embedding.0.weight"].shape[1],
            num_heads=max(1, dim // geometry.head_dim),
            num_layers=len(layers),
            in_dim=weights["patch_embedding.weight"].shape[1],
            out_dim=weights["head.head.weight"].shape[0] // (geometry.patch_size[1] * geometry.patch_size[2]),
            patch_size=geometry.patch_size,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"{path} is not a Wan transformer: its tensors have other names ({first_three(list(weights))})",
            likely_cause(weights, {}),
        ) from error


def read_config(folder: Path) -> WanConfig:
    """The sizes in a transformer's config.json, in the original names or those of diffusers."""
    values = read_json(folder / "config.json")
    renamed = {"in_channels": "in_dim", "out_channels": "out_dim", "num_attention_heads": "num_heads"}
    for theirs, ours in renamed.items():
        if theirs in values:
            values[ours] = values[theirs]
    try:
        if "attention_head_dim" in values:
            values["dim"] = values.get("num_heads", 0) * values["attention_head_dim"]
        return WanConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'}: {error}") from error
