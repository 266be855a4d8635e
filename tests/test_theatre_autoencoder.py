"""The patch autoencoder: streamed equals whole, the basis inverts, files round-trip."""

import pytest
import torch

from memflow_cli.models.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder, PatchStreamingDecoder


@pytest.fixture
def autoencoder() -> PatchAutoencoder:
    torch.manual_seed(0)
    config = AutoencoderConfig(latent_channels=24, scale_factor_spatial=4, refiner_channels=8, refiner_body_channels=8)
    model = PatchAutoencoder(config)
    model.basis.copy_(torch.linalg.qr(torch.randn(config.patch_numbers, 24)).Q.T)
    model.scale.copy_(torch.rand(24) + 0.5)
    for parameter in model.refiner.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.eval().requires_grad_(False)


def test_streamed_equals_whole(autoencoder):
    latents = torch.randn(9, 24, 4, 6)
    decoder = PatchStreamingDecoder(autoencoder)
    decoder.reset()
    streamed = torch.cat([decoder.decode(latents[first : first + 3]) for first in (0, 3, 6)])
    assert streamed.shape == (36, 16, 24, 3)
    assert torch.allclose(streamed, autoencoder.decode(latents), atol=1e-5)
    assert decoder.flush().numel() == 0


def test_encoding_inverts_the_linear_decoding(autoencoder):
    latents = 0.1 * torch.randn(2, 24, 4, 6)
    frames = autoencoder.decode_linear(latents).unflatten(1, (-1, 3)).flatten(0, 1).permute(0, 2, 3, 1) / 2 + 0.5
    assert torch.allclose(autoencoder.encode(frames), latents, atol=1e-5)


def test_saved_and_loaded_is_the_same(autoencoder, tmp_path):
    autoencoder.save_pretrained(tmp_path, torch.float32)
    loaded = PatchAutoencoder.from_pretrained(tmp_path)
    latents = torch.randn(1, 24, 4, 6)
    assert torch.equal(loaded.decode(latents), autoencoder.decode(latents))
