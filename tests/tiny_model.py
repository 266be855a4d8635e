"""Backbones of the real classes at tiny size, with random weights: all the walk, in fractions of a second."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from memflow_cli.attention_context import PositionMode
from memflow_cli.backbone import Sampling
from memflow_cli.film.recipe import Recipe
from memflow_cli.film.script import plan_story, write_script
from memflow_cli.film.video import Encoder
from memflow_cli.geometry import Geometry
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import ModelEntry
from memflow_cli.models.theatre.autoencoder import AutoencoderConfig, PatchAutoencoder, PatchStreamingDecoder
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.transformer import CausalWanTransformer
from memflow_cli.models.wan.vae import WanDecoder, encode
from memflow_cli.pipeline import Chunk, Walk, generate_chunks, planned_shots
from memflow_cli.story.plan import FilmPlan, SegmentPlan
from memflow_cli.story.storyboard import Segment, Storyboard

WIDTH, HEIGHT = 64, 32
TEXT_DIM, TEXT_LENGTH = 16, 12


def tiny_entry(kind: str = "theatre", policy: str = "nam") -> ModelEntry:
    """A catalog entry; `kind` "theatre": four frames a latent frame; "wan": the film's first latent frame is one frame."""
    is_wan = kind == "wan"
    geometry = Geometry(
        latent_channels=16 if is_wan else 8,
        spatial_stride=8 if is_wan else 16,
        temporal_stride=4,
        first_frames=1 if is_wan else 4,
        patch_size=(1, 2, 2) if is_wan else (1, 1, 1),
        num_layers=2,
        num_heads=2,
        head_dim=12,
    )
    return ModelEntry(f"tiny-{kind}", "for tests", "none", geometry, WIDTH, HEIGHT, Sampling(steps=(1000, 500)), policy)


def tiny_backbone(entry: ModelEntry, device: str = "cpu", positions: PositionMode = "relative") -> WanModel:
    torch.manual_seed(1)
    geometry = entry.geometry
    config = WanConfig(
        dim=geometry.num_heads * geometry.head_dim,
        ffn_dim=32,
        freq_dim=16,
        text_dim=TEXT_DIM,
        text_len=TEXT_LENGTH,
        num_heads=geometry.num_heads,
        num_layers=geometry.num_layers,
        in_dim=geometry.latent_channels,
        out_dim=geometry.latent_channels,
        patch_size=geometry.patch_size,
    )
    transformer = CausalWanTransformer(config)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.normal_(0, 0.2)
    make_decoder, encode_frames = _wan_autoencoder() if geometry.first_frames == 1 else _patch_autoencoder(geometry)
    return WanModel(
        transformer.to(device),
        geometry,
        entry.sampling,
        positions,
        encode_prompts,
        make_decoder,
        encode_frames=encode_frames,
    )


def recipe_of(storyboard: Storyboard, entry: ModelEntry) -> Recipe:
    """What a film of this storyboard depends on."""
    return write_script(plan_story(storyboard, entry), entry).recipe


def encode_prompts(prompts: Sequence[str]) -> Tensor:
    """[P, T, C]: random words, the same for the same text; rows of zeros after them."""
    embeds = torch.zeros(len(prompts), TEXT_LENGTH, TEXT_DIM)
    for row, prompt in zip(embeds, prompts):
        words = prompt.split()[:TEXT_LENGTH]
        for place, word in enumerate(words):
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            row[place] = torch.randn(TEXT_DIM, generator=torch.Generator().manual_seed(seed))
    return embeds


def tiny_plan(geometry: Geometry, chunks, transitions=None, seeds=None) -> FilmPlan:
    """A film of one segment for each number in `chunks`."""
    segments, start = [], 0
    for index, length in enumerate(chunks):
        first, last = geometry.num_frames(start), geometry.num_frames(start + length)
        transition = transitions[index] if transitions else "smooth"
        seed = seeds[index] if seeds else index
        segments.append(
            SegmentPlan(
                index, f"prompt {index}", start, length, first, last - first, seed, transition, (last - first) / 16
            )
        )
        start += length
    return FilmPlan("tiny", WIDTH, HEIGHT, 16, 0, geometry, tuple(segments))


def tiny_prompts(count: int, seed: int = 1) -> Tensor:
    """Prompt embeddings [count, T, C], the last two rows padding."""
    embeds = torch.randn(count, TEXT_LENGTH, TEXT_DIM, generator=torch.Generator().manual_seed(seed))
    embeds[:, -2:] = 0
    return embeds


def film_chunks(model, plan: FilmPlan, memory, prompt_embeds, replay=(), **options) -> Iterator[Chunk]:
    """The chunks of a planned film. `options`: the walk's."""
    walk = Walk(model, plan.size, plan.fps, memory, **options)
    return generate_chunks(walk, planned_shots(plan, prompt_embeds), replay)


def _patch_autoencoder(geometry: Geometry):
    config = AutoencoderConfig(
        latent_channels=geometry.latent_channels, refiner_channels=4, refiner_body_channels=4, refiner_blocks=1
    )
    autoencoder = PatchAutoencoder(config)
    # Every latent channel is a plain colour over its 16x16 pixels: pictures that an encoder keeps.
    autoencoder.basis.copy_(
        (torch.randn(geometry.latent_channels, 4, 1, 1, 3) * 0.3).expand(-1, -1, 16, 16, -1).flatten(1)
    )
    return lambda: PatchStreamingDecoder(autoencoder.eval()), autoencoder.encode


def _wan_autoencoder():
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=0, temperal_downsample=[False, True, True]
    )
    vae.eval().requires_grad_(False)
    return lambda: WanDecoder(vae), lambda frames: encode(vae, frames)


def story(*prompts: str, seconds: float = 1.5, fps: int = 16, **changes) -> Storyboard:
    """A storyboard of equally long segments."""
    prompts = prompts or ("a red fox in a meadow", "the empty meadow", "the fox again")
    segments = tuple(Segment(prompt, seconds) for prompt in prompts)
    values = {
        "title": "Fox",
        "segments": segments,
        "fps": fps,
        "seed": 7,
        "memory": MemoryOptions(policy="nam", activate=2),
        **changes,
    }
    return Storyboard(**values)


def make(folder: Path, storyboard: Storyboard | None = None, kind: str = "theatre", name: str = "film.mp4", **options):
    """A tiny film, made by the real walk."""
    from memflow_cli.film.shooting import make_film

    entry = tiny_entry(kind)
    return make_film(storyboard or story(), entry, tiny_backbone(entry), folder / name, **options)


def watch_frames(backbone: WanModel) -> list[Tensor]:
    """A list that fills with every batch of frames the backbone's decoders make from now on."""
    shown: list[Tensor] = []
    make_decoder = backbone.decoder

    def watched():
        decoder = make_decoder()
        decode = decoder.decode
        decoder.decode = lambda latents: shown.append(decode(latents)) or shown[-1]
        return decoder

    backbone.decoder = watched
    return shown


def fail_at_frame(monkeypatch, count: int) -> None:
    """The encoder takes so many frames less one, then fails, once, as FFmpeg does."""
    encoded: list[int] = []
    encode = Encoder.encode

    def failing(self, pixels):
        encoded.append(0)
        if len(encoded) == count:
            raise av.error.ExternalError(-542398533, "Generic error in an external library")
        return encode(self, pixels)

    monkeypatch.setattr(Encoder, "encode", failing)
