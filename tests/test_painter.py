"""The painter: streamed equals whole, begun in mid-film too; two sizes of film from the same latents, and no others."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from memflow_cli.backbone import Backbone
from memflow_cli.cli.app import run
from memflow_cli.errors import ModelError
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.autoencoder import (
    WEIGHTS_NAME,
    AutoencoderConfig,
    PatchAutoencoder,
    PatchStreamingDecoder,
)
from memflow_cli.models.theatre.fused_painter import FusedPainter
from memflow_cli.models.theatre.painter import Painter, PainterConfig
from memflow_cli.models.theatre.painting import PaintedSizes, PaintingDecoder, with_past
from tiny_files import save_json, save_tiny_model

TINY = PainterConfig(width=48, height=32, past=2, latent_channels=24, cell=4, widths=(16, 12, 8), blocks=(2, 1, 1))


def tiny_painter(config: PainterConfig = TINY, std: float = 0.05) -> Painter:
    torch.manual_seed(2)
    painter = Painter(config)
    for parameter in painter.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return painter.eval().requires_grad_(False)


def tiny_autoencoder(cell: int) -> PatchAutoencoder:
    torch.manual_seed(0)
    model = PatchAutoencoder(AutoencoderConfig(24, cell, refiner_channels=8, refiner_body_channels=8, refiner_blocks=1))
    model.basis.copy_(torch.linalg.qr(torch.randn(model.config.patch_numbers, 24)).Q.T)
    for parameter in model.refiner.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.eval().requires_grad_(False)


@pytest.fixture
def autoencoder() -> PatchAutoencoder:
    return tiny_autoencoder(4)


@pytest.fixture
def latents():
    return torch.randn(9, 24, 4, 6, generator=torch.Generator().manual_seed(4))


@pytest.fixture(params=["fused", "plain"])
def decoder(autoencoder, request):
    painter = tiny_painter()
    return PaintingDecoder(
        autoencoder, painter, FusedPainter(autoencoder, painter) if request.param == "fused" else None
    )


def decode(decoder: PaintingDecoder, latents: torch.Tensor, portions) -> torch.Tensor:
    decoder.reset()
    return torch.cat([decoder.decode(part) for part in latents.split(portions)])


def test_frames_are_twice_as_wide_and_high(decoder, latents):
    frames = decode(decoder, latents, 3)
    assert frames.shape == (36, 32, 48, 3) and frames.dtype in (torch.float32, torch.uint8)
    assert frames.min() >= 0 and frames.max() <= (255 if frames.dtype == torch.uint8 else 1)
    assert decoder.flush().numel() == 0


@pytest.mark.parametrize("portions", [1, 3, [2, 5, 2]])
def test_streamed_equals_whole(decoder, latents, portions):
    assert torch.equal(decode(decoder, latents, portions), decode(decoder, latents, 9))


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, cell=8), replace(TINY, cell=8, widths=(16, 8, 8, 8), blocks=(1,) * 4)]
)
@pytest.mark.parametrize("dtype, most", [(torch.float32, 1), (torch.bfloat16, 8)])
def test_fused_it_paints_the_same(config, dtype, most):
    """In fp32 the same pixels but for the last bit of a rounding; in bf16 as near to fp32 as the plain one."""
    autoencoder = tiny_autoencoder(config.cell)
    painter = tiny_painter(config)
    latents = torch.randn(3, 24, 4, 6, generator=torch.Generator().manual_seed(4))
    exact = decode(PaintingDecoder(autoencoder, painter), latents, 3)
    coarse, same = autoencoder.to(dtype), painter.to(dtype)
    painted = decode(PaintingDecoder(coarse, same, FusedPainter(coarse, same)), latents, 3)
    assert painted.dtype == torch.uint8 and exact.std() > 0.05
    assert (painted.int() - (exact * 255).round().int()).abs().max() <= most


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_no_pixel(dtype):
    autoencoder, painter = tiny_autoencoder(4).to(dtype), tiny_painter().to(dtype)
    fused = FusedPainter(autoencoder, painter)
    latents = torch.randn(1, 3, 24, 40, 60, generator=torch.Generator().manual_seed(4)).to(dtype)
    painted = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        painted.append(fused.paint(latents).frames)
    torch.set_num_threads(before)
    assert all(torch.equal(painted[0], other) for other in painted[1:])


def test_nan_is_not_painted_over(autoencoder):
    """Clamped and rounded to eight bits, NaN would be a black pixel, and the film made of it."""
    painter = tiny_painter()
    painter.leave.bias[3] = float("nan")
    decoder = PaintingDecoder(autoencoder, painter, FusedPainter(autoencoder, painter))
    assert decode(decoder, torch.randn(2, 24, 4, 6), 2).isnan().any()


def test_begun_in_mid_film_after_its_past_it_is_the_same(decoder, latents):
    whole = decode(decoder, latents, 3)
    decoder.reset()
    decoder.decode(latents[4 - decoder.past : 4])
    assert torch.equal(decoder.decode(latents[4:]), whole[16:])
    decoder.reset()
    assert not torch.equal(decoder.decode(latents[4:]), whole[16:]), "the past counts"


def test_the_past_is_newest_first(latents):
    looked_at = with_past(latents[2:5], latents[:2])
    assert torch.equal(looked_at[0], latents[[2, 1, 0]]) and torch.equal(looked_at[2], latents[[4, 3, 2]])


def test_untrained_it_paints_what_the_autoencoder_decodes(autoencoder, latents):
    painted = decode(PaintingDecoder(autoencoder, Painter(TINY).eval()), latents, 3)
    plain = autoencoder.decode(latents).permute(0, 3, 1, 2)
    inside = (plain.amin(1) > 0) & (plain.amax(1) < 1)  # cut off before it is scaled up, or after: not the same
    smooth = torch.nn.functional.interpolate(plain, scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)
    kept = torch.nn.functional.avg_pool2d(inside.float(), 3, 1, 1).repeat_interleave(2, 1).repeat_interleave(2, 2) == 1
    assert kept.any() and torch.allclose(painted[kept], smooth[kept], atol=1e-5)


def test_saved_and_loaded_it_paints_nearly_the_same(autoencoder, latents, tmp_path):
    painter = tiny_painter()
    painter.save_pretrained(tmp_path)
    loaded = Painter.from_pretrained(tmp_path)
    assert loaded.config == painter.config
    before, after = (decode(PaintingDecoder(autoencoder, each), latents, 3) for each in (painter, loaded))
    assert (before - after).abs().mean() < 0.01, "matrices are kept in eight bits"
    loaded.save_pretrained(tmp_path / "again")
    again = Painter.from_pretrained(tmp_path / "again")
    for name, tensor in loaded.state_dict().items():
        assert torch.allclose(tensor, again.state_dict()[name], atol=1e-6), name


def test_a_painter_from_before_it_could_leave_the_sketch_out_keeps_all_of_it(autoencoder, latents, tmp_path):
    painter = tiny_painter()
    for parameter in painter.forget.parameters():
        torch.nn.init.zeros_(parameter)
    painter.save_pretrained(tmp_path)
    kept = {name: tensor for name, tensor in load_file(tmp_path / WEIGHTS_NAME).items() if "forget" not in name}
    expected = decode(PaintingDecoder(autoencoder, Painter.from_pretrained(tmp_path)), latents, 3)
    save_file(kept, tmp_path / WEIGHTS_NAME)
    assert torch.equal(decode(PaintingDecoder(autoencoder, Painter.from_pretrained(tmp_path)), latents, 3), expected)


def test_a_picture_of_either_size_becomes_the_same_latents(autoencoder):
    sizes = PaintedSizes(autoencoder, tiny_painter())
    small = torch.rand(4, 16, 24, 3)
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.allclose(sizes.encode(large), sizes.encode(small), atol=1e-5)
    assert isinstance(sizes.decoder(48, 32), PaintingDecoder)
    assert isinstance(sizes.decoder(24, 16), PatchStreamingDecoder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As theatre: films of 128x64, and of 64x32 for speed."""
    folder = save_tiny_model(tmp_path_factory.mktemp("painted") / "tiny")
    config = PainterConfig(width=128, height=64, past=2, latent_channels=8, widths=(16, 12, 8, 8), blocks=(1, 1, 1, 1))
    tiny_painter(config).save_pretrained(folder / "vae" / "painter")
    about = {"width": 128, "height": 64, "positions": "relative", "sizes": ["128x64", "64x32"]}
    save_json(folder / "model_index.json", {"memflow": about})
    return folder


def frames_of(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def make(folder, tmp_path, capfd, *options, image=None) -> list[np.ndarray]:
    path, film = tmp_path / "story.yaml", tmp_path / "film.mp4"
    picture = f", image: {image}" if image else ""
    path.write_text(f"model: {folder}\nseed: 1\nsegments: [{{prompt: a red fox, duration: 3s{picture}}}]\n")
    code = run(["generate", str(path), "-o", str(film), "--overwrite", *options])
    assert code == 0, capfd.readouterr().err
    return frames_of(film)


def test_a_film_is_painted_unless_the_small_size_is_asked_for(folder, tmp_path, capfd):
    painted, small = (make(folder, tmp_path, capfd, *size) for size in ((), ("--size", "64x32")))
    assert painted[0].shape == (64, 128, 3) and small[0].shape == (32, 64, 3) and len(painted) == len(small) == 48


@pytest.mark.parametrize("size", [(), ("--size", "64x32")])
def test_a_film_of_either_size_starts_from_a_picture(folder, tmp_path, capfd, size):
    Image.new("RGB", (200, 100), (200, 60, 40)).save(tmp_path / "red.png")
    with_picture = make(folder, tmp_path, capfd, *size, image=tmp_path / "red.png")
    assert np.abs(with_picture[0].astype(int) - make(folder, tmp_path, capfd, *size)[0]).max() > 2


@pytest.mark.parametrize("size", ["32x32", "64x64", "256x128", "96x64"])
def test_another_size_is_refused_with_those_that_there_are(folder, tmp_path, capfd, size):
    path = tmp_path / "story.yaml"
    path.write_text(f"model: {folder}\nsegments: [{{prompt: a red fox, duration: 1s}}]\n")
    assert run(["plan", str(path), "--size", size]) == 2
    assert f"size {size}: model tiny makes films of 128x64 or 64x32 only" in capfd.readouterr().err


def test_both_sizes_have_the_same_latents(folder):
    geometry = find_model(folder).geometry
    assert geometry.latent_size(128, 64) == geometry.latent_size(64, 32) == (2, 4)
    backbone = load_model(find_model(folder))
    latents = torch.randn(3, 8, 2, 4)
    assert backbone.decoder_at(128, 64).decode(latents).shape == (12, 64, 128, 3)
    assert backbone.decoder_at(64, 32).decode(latents).shape == (12, 32, 64, 3)


def test_a_model_of_two_sizes_without_a_painter_is_a_sentence(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    about = {"width": 128, "height": 64, "sizes": ["128x64", "64x32"]}
    save_json(folder / "model_index.json", {"memflow": about})
    with pytest.raises(ModelError, match="no painter"):
        load_model(find_model(folder))


@pytest.mark.parametrize("sizes", [["128x64", "64"], ["64x32", "0x32"], ["96x64"], [[128, 64]], ["128x64", "63x32"]])
def test_sizes_that_no_model_has_are_a_sentence(sizes, tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    save_json(folder / "model_index.json", {"memflow": {"width": 128, "height": 64, "sizes": sizes}})
    with pytest.raises(ModelError, match="does not describe a model"):
        find_model(folder)


def test_a_backbone_with_one_decoder_has_it_at_every_size():
    class OneDecoder:
        decoder_at = Backbone.decoder_at

        def decoder(self):
            return "the one"

    assert OneDecoder().decoder_at(64, 32) == "the one"
