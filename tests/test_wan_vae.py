"""The streaming Wan decoder gives the frames that decoding the whole clip gives."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from memflow_cli.models.wan.vae import Tiling, WanDecoder, channels_last, denormalise, encode, normalise

TOLERANCE = 1e-5


def tiny_vae(**changes: object) -> AutoencoderKLWan:
    torch.manual_seed(0)
    config = {
        "base_dim": 8,
        "z_dim": 4,
        "dim_mult": [1, 2, 2, 2],
        "num_res_blocks": 1,
        "latents_mean": [0.1, -0.2, 0.3, 0.0],
    }
    config |= {"latents_std": [1.5, 2.0, 0.7, 1.1]} | changes
    return AutoencoderKLWan(**config).eval()


def wan22_vae() -> AutoencoderKLWan:
    """The newer autoencoder of the family: residual shortcuts, patches of 2x2 pixels."""
    return tiny_vae(is_residual=True, patch_size=2, in_channels=12, out_channels=12, scale_factor_spatial=16)


def whole(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """The clip decoded by diffusers in one call: [F', height, width, 3] in 0..1."""
    with torch.inference_mode():
        pixels = vae.decode(denormalise(latents, vae).transpose(0, 1).unsqueeze(0)).sample
    return (pixels[0].permute(1, 2, 3, 0) + 1) / 2


@pytest.mark.parametrize("pieces", [(3, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1, 1), (9,), (2, 5, 2)])
@pytest.mark.parametrize("make_vae", [tiny_vae, wan22_vae])
def test_streamed_equals_whole(make_vae, pieces):
    vae = make_vae()
    latents = torch.randn(9, 4, 4, 6)
    decoder = WanDecoder(vae)
    streamed = torch.cat([decoder.decode(piece) for piece in latents.split(list(pieces))])
    assert streamed.shape[0] == 33 and streamed.dtype == torch.float32
    assert (streamed - whole(vae, latents)).abs().max() <= TOLERANCE
    assert len(decoder.flush()) == 0


@pytest.mark.parametrize("make_vae", [tiny_vae, wan22_vae])
def test_channels_innermost_give_the_same_frames(make_vae):
    """The layout that decoders on CUDA use; streamed, so that kept features have it too."""
    latents = torch.randn(6, 4, 4, 6)
    vae = make_vae()
    expected = WanDecoder(vae).decode(latents)
    channels_last(vae)
    weights = [weight for weight in vae.decoder.parameters() if weight.dim() == 5]
    assert weights and all(weight.is_contiguous(memory_format=torch.channels_last_3d) for weight in weights)
    decoder = WanDecoder(vae)
    streamed = torch.cat([decoder.decode(piece) for piece in latents.split([3, 3])])
    assert (streamed - expected).abs().max() <= TOLERANCE


def test_a_decoder_in_bf16_gives_nearly_the_same_frames():
    latents = torch.randn(4, 4, 4, 6)
    vae = tiny_vae()
    expected = WanDecoder(vae).decode(latents)
    coarse = WanDecoder(vae.to(torch.bfloat16)).decode(latents)
    assert coarse.dtype == torch.float32
    assert (coarse - expected).abs().mean() <= 0.01


@pytest.mark.parametrize("make_vae", [tiny_vae, wan22_vae])
def test_streamed_in_tiles_equals_whole_in_tiles(make_vae):
    vae = make_vae()
    cell = vae.spatial_compression_ratio
    latents = torch.randn(4, 4, 7, 10)
    decoder = WanDecoder(vae, tiling=Tiling(size=4 * cell, stride=3 * cell))
    streamed = torch.cat([decoder.decode(piece) for piece in latents.split([3, 1])])
    vae.enable_tiling(4 * cell, 4 * cell, 3 * cell, 3 * cell)
    assert streamed.shape[1:] == (7 * cell, 10 * cell, 3)
    assert (streamed - whole(vae, latents)).abs().max() <= TOLERANCE


@pytest.mark.parametrize("make_vae", [tiny_vae, wan22_vae])
def test_tiles_hardly_differ_from_the_whole_picture(make_vae):
    """A tile does not see the whole picture; how much that changes is the same for Wan 2.2's as for Wan 2.1's."""
    vae = make_vae()
    cell = vae.spatial_compression_ratio
    latents = torch.randn(3, 4, 16, 16)
    tiled = WanDecoder(vae, tiling=Tiling(size=12 * cell, stride=8 * cell)).decode(latents)
    expected = whole(vae, latents)
    assert tiled.shape == expected.shape
    assert (tiled - expected).abs().mean() <= 0.2 * expected.std()


def test_small_picture_is_not_tiled():
    vae = tiny_vae()
    latents = torch.randn(2, 4, 4, 4)
    assert torch.equal(WanDecoder(vae, tiling=Tiling(32, 24)).decode(latents), WanDecoder(vae).decode(latents))


def test_reset_begins_a_new_film():
    vae = tiny_vae()
    latents = torch.randn(3, 4, 4, 4)
    decoder = WanDecoder(vae)
    first = decoder.decode(latents)
    decoder.reset()
    assert torch.equal(decoder.decode(latents), first)


def test_two_decoders_share_one_autoencoder():
    vae = tiny_vae()
    latents = torch.randn(6, 4, 4, 4)
    one, two = WanDecoder(vae), WanDecoder(vae)
    frames = []
    for piece in latents.split(3):
        frames.append(one.decode(piece))
        two.decode(piece.flip(0))
    assert (torch.cat(frames) - whole(vae, latents)).abs().max() <= TOLERANCE


def test_encode_gives_normalised_latents():
    vae = tiny_vae()
    latents = encode(vae, torch.rand(5, 32, 48, 3))
    assert latents.shape == (2, 4, 4, 6)
    with torch.inference_mode():
        torch.testing.assert_close(normalise(denormalise(latents, vae), vae), latents)
