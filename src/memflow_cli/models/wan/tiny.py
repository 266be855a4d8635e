"""A tiny random model in the published layout: everything that a large one goes through, in seconds and without a download.

A folder as diffusers lays out a Wan model, with the sampling, memory, positions and cells of the model that it stands for.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.text.umt5 import UMT5Encoder, UMT5Sizes
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.transformer import CausalWanTransformer

HEADS, HEAD_DIM, LAYERS, TEXT_DIM, MAX_TEXT = 2, 12, 2, 16, 64
TOKENS = (4, 2)  # of a latent frame: columns and rows
PROMPT_WORDS = "a the red blue green fox bear cat robot walks jumps stands in on snow meadow beach forest"
WORDS = ("<pad>", "</s>", "<unk>", *PROMPT_WORDS.split())
WAN_22 = {"in_channels": 12, "out_channels": 12, "patch_size": 2, "is_residual": True}
"""What sets the autoencoder of Wan 2.2, with cells of 16 pixels, apart from that of 2.1."""


def make_tiny(entry: ModelEntry, folder: Path) -> None:
    """Write the tiny twin of a Wan model."""
    write_shared(entry, folder)
    from diffusers import AutoencoderKLWan  # here: seconds to import, and theatre does without

    geometry = entry.geometry
    config: dict[str, Any] = {"base_dim": 8, "z_dim": geometry.latent_channels, "dim_mult": [1, 1, 1, 1]}
    config |= {"num_res_blocks": 1, "temperal_downsample": [False, True, True]}
    config |= {"latents_mean": [0.0] * geometry.latent_channels, "latents_std": [1.0] * geometry.latent_channels}
    config |= {"scale_factor_spatial": geometry.spatial_stride, "scale_factor_temporal": geometry.temporal_stride}
    torch.manual_seed(0)
    AutoencoderKLWan(**config, **(WAN_22 if geometry.spatial_stride == 16 else {})).save_pretrained(folder / "vae")


def write_shared(entry: ModelEntry, folder: Path) -> None:
    """All but the autoencoder."""
    torch.manual_seed(0)
    geometry = entry.geometry
    text_len = min(entry.text_len, MAX_TEXT)
    config = WanConfig(
        dim=HEADS * HEAD_DIM,
        ffn_dim=32,
        freq_dim=16,
        text_dim=TEXT_DIM,
        text_len=text_len,
        num_heads=HEADS,
        num_layers=LAYERS,
        in_dim=geometry.latent_channels,
        out_dim=geometry.latent_channels,
        patch_size=geometry.patch_size,
    )
    _save(CausalWanTransformer(config), folder / "transformer" / "diffusion_pytorch_model.safetensors")
    _write_json(folder / "transformer" / "config.json", {"_class_name": "WanTransformer3DModel", **asdict(config)})
    encoder = UMT5Sizes(len(WORDS), TEXT_DIM, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    _save(UMT5Encoder(encoder), folder / "text_encoder" / "model.safetensors")
    about = {"model_type": "umt5", "feed_forward_proj": "gated-gelu", **encoder._asdict()}
    _write_json(folder / "text_encoder" / "config.json", about)
    _write_tokenizer(folder / "tokenizer" / "tokenizer.json")
    _write_json(folder / "scheduler" / "scheduler_config.json", asdict(entry.sampling))
    width, height = (count * multiple for count, multiple in zip(TOKENS, geometry.size_multiple, strict=True))
    ours = {"summary": f"{entry.name}, tiny and random", "licence": "none: random numbers", "family": entry.family}
    ours |= {"width": width, "height": height, "fps": entry.fps, "policy": entry.policy, "positions": entry.positions}
    ours |= {"published": entry.published, "cut_prefix": entry.cut_prefix}
    ours |= {name: getattr(geometry, name) for name in ("chunk", "sink", "bank", "window")}
    _write_json(folder / "model_index.json", {"_class_name": "WanPipeline", "memflow": ours})


def _save(model: nn.Module, path: Path) -> None:
    """Random numbers of a size that neither vanishes nor overflows on its way through two layers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights: dict[str, Tensor] = {
        name: torch.ones(tensor.shape) if tensor.ndim == 1 and "norm" in name else torch.randn(tensor.shape) * 0.2
        for name, tensor in model.state_dict().items()
    }
    save_file(weights, path, metadata={"format": "pt"})


def _write_tokenizer(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(path))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
