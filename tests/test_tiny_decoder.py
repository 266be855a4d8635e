"""The tiny decoder for previews: streamed equals whole, files in TAEHV's format only, and films that know what made them."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from memflow_cli.cli.app import run
from memflow_cli.errors import ModelError
from memflow_cli.models.catalog import find_model
from memflow_cli.models.wan.tiny_decoder import load_tiny_decoder
from tiny_files import save_model

WIDTHS, STRIDES = (12, 8, 6, 4), (1, 2, 2)


def tensors_of(channels: int = 16, widths=WIDTHS, strides=STRIDES, colours: int = 3) -> dict[str, torch.Tensor]:
    """Random weights under the published names and shapes, at tiny width, with a bit of the encoder."""
    generator = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> torch.Tensor:
        return (
            torch.randn(shape, generator=generator) / (shape[1] * shape[2] * shape[3] if len(shape) > 1 else 4) ** 0.5
        )

    tensors = {"encoder.0.weight": normal(64, 3, 3, 3), "encoder.0.bias": normal(64)}
    tensors |= {"decoder.1.weight": normal(widths[0], channels, 3, 3), "decoder.1.bias": normal(widths[0])}
    for stage, (width, following, stride) in enumerate(zip(widths, widths[1:], strides, strict=False)):
        first = 3 + 6 * stage
        for block in range(first, first + 3):
            for layer, wide in ((0, 2 * width), (2, width), (4, width)):
                tensors[f"decoder.{block}.conv.{layer}.weight"] = normal(width, wide, 3, 3)
                tensors[f"decoder.{block}.conv.{layer}.bias"] = normal(width)
        tensors[f"decoder.{first + 4}.conv.weight"] = normal(width * stride, width, 1, 1)
        tensors[f"decoder.{first + 5}.weight"] = normal(following, width, 3, 3)
    return tensors | {"decoder.22.weight": normal(colours, widths[3], 3, 3), "decoder.22.bias": normal(colours)}


def whole(tensors: dict[str, torch.Tensor], latents: torch.Tensor) -> torch.Tensor:
    """The clip in one piece, layer by layer from the file's tensors: [F', height, width, 3] in 0..1."""

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), padding="same")

    x = F.relu(conv(3 * torch.tanh(latents / 3), "decoder.1"))
    for first in (3, 9, 15):
        for block in range(first, first + 3):
            inside = torch.cat([x, torch.cat([torch.zeros_like(x[:1]), x[:-1]])], dim=1)
            for layer in (0, 2):
                inside = F.relu(conv(inside, f"decoder.{block}.conv.{layer}"))
            x = F.relu(x + conv(inside, f"decoder.{block}.conv.4"))
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        grown = conv(x, f"decoder.{first + 4}.conv")
        x = grown.unflatten(1, (-1, x.shape[1])).flatten(0, 1)
        x = conv(x, f"decoder.{first + 5}")
    return conv(F.relu(x), "decoder.22")[3:].clamp(0, 1).permute(0, 2, 3, 1)


@pytest.fixture
def path(tmp_path):
    save_file(tensors_of(), tmp_path / "taew2_1.safetensors")
    return tmp_path / "taew2_1.safetensors"


def make_decoder(path):
    return load_tiny_decoder(path, find_model("memflow-1.3b").geometry, "cpu", torch.float32)


@pytest.mark.parametrize("pieces", [(3, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1, 1), (9,), (2, 5, 2)])
def test_streamed_equals_whole(path, pieces):
    latents = torch.randn(9, 16, 3, 4, generator=torch.Generator().manual_seed(1))
    decoder = make_decoder(path)()
    streamed = torch.cat([decoder.decode(piece) for piece in latents.split(list(pieces))])
    expected = whole(tensors_of(), latents)
    assert streamed.shape == (33, 24, 32, 3) and streamed.dtype == torch.float32
    assert expected.std() > 0.05 and (streamed - expected).abs().max() <= 1e-5
    assert len(decoder.flush()) == 0


def test_decoding_may_begin_in_the_middle(path):
    """The frames after `past` latent frames are those of decoding from the film's start."""
    latents = torch.randn(20, 16, 2, 2, generator=torch.Generator().manual_seed(1))
    make = make_decoder(path)
    late = make()
    assert late.past == 8
    assert torch.equal(late.decode(latents[-1 - late.past :])[-4:], make().decode(latents)[-4:])


def test_a_frame_depends_on_the_past_that_is_told_and_on_no_more(path):
    latents = torch.randn(14, 16, 2, 2, generator=torch.Generator().manual_seed(1))
    make = load_tiny_decoder(path, find_model("memflow-1.3b").geometry, "cpu", torch.float64)

    def last_frames_without(back: int) -> torch.Tensor:
        changed = latents.clone()
        changed[-1 - back] = -9
        return make().decode(changed)[-4:]

    expected = make().decode(latents)[-4:]
    assert not torch.equal(last_frames_without(make().past), expected)
    assert torch.equal(last_frames_without(make().past + 1), expected)


def test_films_do_not_share_their_state(path):
    latents = torch.randn(6, 16, 2, 2)
    make = make_decoder(path)
    one, two = make(), make()
    first = one.decode(latents[:3])
    two.decode(latents[3:])
    streamed = torch.cat([first, one.decode(latents[3:])])
    assert (streamed - whole(tensors_of(), latents)).abs().max() <= 1e-5
    one.reset()
    assert torch.equal(one.decode(latents[:3]), first)


def test_torch_s_own_format_is_read_too(path, tmp_path):
    torch.save(tensors_of(), tmp_path / "taew2_1.pth")
    latents = torch.randn(3, 16, 2, 2)
    assert torch.equal(make_decoder(tmp_path / "taew2_1.pth")().decode(latents), make_decoder(path)().decode(latents))


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (tensors_of(channels=48), "48 channels for 8x8 pixels of 4 frames, where the model's have 16"),
        (tensors_of(strides=(2, 2, 2)), "8x8 pixels of 8 frames"),
        (tensors_of(colours=12), "12 numbers a pixel"),
        ({"blocks.0.self_attn.q.weight": torch.zeros(4, 4)}, "TAEHV's format"),
        (tensors_of() | {"decoder.4.conv.2.bias": torch.zeros(7)}, "1 of another shape"),
        (tensors_of() | {"decoder.9.skip.weight": torch.zeros(7)}, "1 unexpected"),
        ({k: v for k, v in tensors_of().items() if k != "decoder.16.conv.0.weight"}, "1 missing"),
    ],
)
def test_another_file_is_refused_by_a_sentence(tmp_path, tensors, says):
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=says):
        make_decoder(tmp_path / "other.safetensors")


@pytest.fixture
def generate(tmp_path, tmp_path_factory, capfd):
    """Runs generate on a short story with a tiny Wan model; returns (exit code, stderr, film.json)."""
    model = save_model(tmp_path_factory.mktemp("model") / "tiny")
    story = tmp_path / "story.yaml"
    story.write_text(f"title: t\nmodel: {model}\nseed: 3\nsegments: [{{prompt: a red fox, duration: 1.5s}}]\n")

    def generate(*options: object):
        code = run(["generate", str(story), "-o", str(tmp_path / "film.mp4"), *map(str, options)])
        record = tmp_path / "film.json"
        return code, capfd.readouterr().err, json.loads(record.read_text()) if record.exists() else None

    return generate


def test_a_preview_is_another_film_and_its_record_says_so(generate, path):
    code, err, preview = generate("--preview-decoder", path)
    assert code == 0, err
    assert preview["recipe"]["common"]["preview_decoder"].startswith("sha256 ")
    assert generate("--preview-decoder", path)[:1] == (0,)
    code, err, _ = generate()
    assert code == 2 and "is another film than this would be" in err
    code, err, plain = generate("-y")
    assert code == 0, err
    assert plain["sha256"] != preview["sha256"] and "preview_decoder" not in plain["recipe"]["common"]


def test_a_film_begun_with_a_preview_goes_on_with_the_same_one_only(generate, path, tmp_path):
    assert generate("--preview-decoder", path, "--max-time", "0.05s")[0] == 5
    code, err, _ = generate()
    assert code == 2 and "preview_decoder was sha256" in err and "is now None" in err
    code, err, resumed = generate("--preview-decoder", path)
    assert code == 0 and "going on after" in err
    assert generate("--preview-decoder", path, "-y", "--no-resume")[2]["sha256"] == resumed["sha256"]


def test_wrong_files_and_models_are_sentences(generate, path, tmp_path):
    code, err, _ = generate("--preview-decoder", tmp_path / "nowhere")
    assert code == 3 and "nowhere" in err
    (tmp_path / "text").write_text("no tensors")
    code, err, _ = generate("--preview-decoder", tmp_path / "text")
    assert code == 3 and str(tmp_path / "text") in err
    code, err, _ = generate("--preview-decoder", path, "--model", "theatre")
    assert code == 2 and "theatre's latents are not Wan's" in err
