"""A complete model on disk at tiny size, random weights, for tests that go through the command line."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from memflow_cli.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder
from memflow_cli.wan.config import WanConfig
from memflow_cli.wan.transformer import CausalWanTransformer
from test_wan_text_encoder import save_encoder, save_tokenizer


def save_tiny_model(folder: Path) -> Path:
    """Films of 64x32 by default: 2 x 4 tokens a latent frame, 2 layers, 2 steps a chunk."""
    torch.manual_seed(3)
    config = WanConfig(24, 32, 16, text_dim=16, text_len=12, num_heads=2, num_layers=2, in_dim=8, out_dim=8)
    transformer = CausalWanTransformer(config)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.normal_(0, 0.2)
    autoencoder = PatchAutoencoder(
        AutoencoderConfig(latent_channels=8, refiner_channels=4, refiner_body_channels=4, refiner_blocks=1)
    )
    autoencoder.basis.copy_(torch.randn_like(autoencoder.basis) * 0.15)
    save_tokenizer(folder / "tokenizer")
    save_encoder(folder / "text_encoder")
    autoencoder.save_pretrained(folder / "vae")
    (folder / "transformer").mkdir()
    save_file(transformer.state_dict(), folder / "transformer" / "diffusion_pytorch_model.safetensors")
    sizes = {
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "num_layers": config.num_layers,
        "in_channels": config.in_dim,
        "out_channels": config.out_dim,
        "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim,
        "text_dim": config.text_dim,
        "text_len": config.text_len,
        "patch_size": config.patch_size,
    }
    save_json(folder / "transformer" / "config.json", sizes)
    save_json(folder / "scheduler" / "scheduler_config.json", {"steps": [1000, 500], "shift": 5.0})
    save_json(folder / "model_index.json", {"memflow": {"width": 64, "height": 32, "positions": "relative"}})
    return folder


def save_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
