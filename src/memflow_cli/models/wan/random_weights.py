"""A model of the right shape with random numbers in it: for measuring, without a download."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from memflow_cli.attention_context import PositionMode
from memflow_cli.backbone import Backbone
from memflow_cli.geometry import Geometry
from memflow_cli.models.decoders import load_autoencoder
from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.wan.checkpoint import FULL_PRECISION, read_config
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.tiny import WAN_22
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.wan.vae import WanDecoder

WEIGHT_STD = 0.02
WAN_22_SIZES: dict[str, Any] = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
    "scale_factor_spatial": 16,
}
REAL_TOKENS = 16  # of a random prompt; the rest is padding


def random_model(entry: ModelEntry, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Backbone:
    """A model as `load_model` would give it, but for its weights. It has no text encoder: bring `random_prompts`."""
    device = torch.device(device)
    config = transformer_sizes(entry)
    with torch.device("meta"):
        transformer = CausalWanTransformer(config)
    weights = {
        name: _random(tensor.shape, device, torch.float32 if FULL_PRECISION.search(name) else dtype)
        for name, tensor in transformer.state_dict().items()
    }
    transformer.load_state_dict(weights, strict=True, assign=True)
    if entry.folder is not None:
        autoencoder = load_autoencoder(entry.folder / "vae", device, dtype)
        make_decoder, make_decoder_at = autoencoder.make_decoder, autoencoder.make_decoder_at
    else:
        make_decoder_at = None
        vae = _random_vae(entry.geometry, device, dtype)

        def make_decoder() -> WanDecoder:
            return WanDecoder(vae)

    return WanModel(
        transformer,
        entry.geometry,
        entry.sampling,
        cast("PositionMode", entry.positions),
        encode_prompts=lambda prompts: random_prompts(entry, len(prompts)),
        make_decoder=make_decoder,
        make_decoder_at=make_decoder_at,
    )


def random_prompts(entry: ModelEntry, count: int) -> Tensor:
    """Embeddings [count, T, C] with padding, as a text encoder would give them; the same every time."""
    config = transformer_sizes(entry)
    embeds = torch.randn(count, config.text_len, config.text_dim, generator=torch.Generator().manual_seed(0))
    embeds[:, REAL_TOKENS:] = 0
    return embeds


def transformer_sizes(entry: ModelEntry) -> WanConfig:
    """The sizes of a model's transformer, as far as they are known without its weights."""
    if entry.folder is not None and (entry.folder / "transformer" / "config.json").is_file():
        return read_config(entry.folder / "transformer")
    geometry = entry.geometry
    dim = geometry.num_heads * geometry.head_dim
    return WanConfig(
        dim=dim,
        ffn_dim=entry.ffn_dim or WanConfig.ffn_dim * dim // WanConfig.dim,
        text_len=entry.text_len,
        num_heads=geometry.num_heads,
        num_layers=geometry.num_layers,
        in_dim=geometry.latent_channels,
        out_dim=geometry.latent_channels,
        patch_size=geometry.patch_size,
    )


def _random(shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, device=device, dtype=dtype).normal_(std=WEIGHT_STD)


def _random_vae(geometry: Geometry, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """An autoencoder of the published shape: Wan 2.2's for cells of 16 pixels, else Wan 2.1's, which is diffusers' default."""
    from diffusers import AutoencoderKLWan  # here: seconds to import, and theatre does without

    sizes = WAN_22_SIZES | WAN_22 if geometry.spatial_stride == 16 else {}
    with device:
        vae = AutoencoderKLWan(**sizes)
    for tensor in vae.parameters():
        tensor.data = tensor.data.to(dtype)
    return vae.eval().requires_grad_(False)
