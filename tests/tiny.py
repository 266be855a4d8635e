"""The real classes at tiny size, shared by tests."""

import torch

from memflow_cli.catalog import Sampling
from memflow_cli.geometry import FilmPlan, Geometry, SegmentPlan
from memflow_cli.wan.config import WanConfig
from memflow_cli.wan.model import WanModel
from memflow_cli.wan.transformer import CausalWanTransformer

CONFIG = WanConfig(
    dim=24, ffn_dim=48, freq_dim=16, text_dim=10, text_len=6, num_heads=2, num_layers=2, in_dim=4, out_dim=4
)
WIDTH, HEIGHT = 48, 32  # 3 x 2 tokens a latent frame


def tiny_model(positions="absolute", prediction="flow", seed=0, **geometry):
    """A WanModel with random weights in fp32; its first latent frame decodes to one frame, as with the Wan VAE."""
    torch.manual_seed(seed)
    transformer = CausalWanTransformer(CONFIG)
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    sizes = Geometry(
        latent_channels=CONFIG.in_dim,
        spatial_stride=8,
        temporal_stride=4,
        first_frames=1,
        patch_size=CONFIG.patch_size,
        num_layers=CONFIG.num_layers,
        num_heads=CONFIG.num_heads,
        head_dim=CONFIG.head_dim,
        **geometry,
    )
    sampling = Sampling(prediction=prediction)
    return WanModel(transformer, sizes, sampling, positions, encode_prompts=_unused, make_decoder=_unused)


def tiny_plan(geometry, chunks, transitions=None, seeds=None):
    """A plan of one segment for each number in `chunks`."""
    segments, start = [], 0
    for index, length in enumerate(chunks):
        segments.append(
            SegmentPlan(
                index=index,
                prompt=f"prompt {index}",
                start_chunk=start,
                num_chunks=length,
                start_frame=geometry.num_frames(start),
                num_frames=geometry.num_frames(start + length) - geometry.num_frames(start),
                seed=seeds[index] if seeds else index,
                transition=transitions[index] if transitions else "smooth",
                requested_seconds=1.0,
            )
        )
        start += length
    return FilmPlan("tiny", WIDTH, HEIGHT, 16, 0, geometry, tuple(segments))


def tiny_prompts(count, seed=1):
    """Prompt embeddings [count, T, C], the last two rows padding."""
    embeds = torch.randn(count, CONFIG.text_len, CONFIG.text_dim, generator=torch.Generator().manual_seed(seed))
    embeds[:, -2:] = 0
    return embeds


def _unused(*_):
    raise NotImplementedError("this test needs neither text nor pictures")
