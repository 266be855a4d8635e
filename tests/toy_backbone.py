"""An example plug-in: a complete streaming backbone that is not a Wan model, and the entry that makes it known.

It shows all that a package must bring so that `memflow generate --model toy` works, with every memory policy. A package
names `model` as an entry point of the group `memflow_cli.backbones`:

    [project.entry-points."memflow_cli.backbones"]
    toy = "toy_backbone:model"

The network is as small as one can be that still has keys and values: a latent frame is a small RGB picture, a token is
one of its pixels, and two layers of attention over the past mix them with the prompt. Its weights are random.
"""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.attention_context import AttentionContext, PositionMode, PromptProjection
from memflow_cli.backbone import Backbone, Sampling
from memflow_cli.geometry import Geometry
from memflow_cli.models.catalog import ModelEntry

HEADS, HEAD_DIM, LAYERS, WORDS = 2, 8, 2, 10
GEOMETRY = Geometry(
    latent_channels=3,
    spatial_stride=8,
    temporal_stride=2,
    first_frames=2,
    patch_size=(1, 1, 1),
    num_layers=LAYERS,
    num_heads=HEADS,
    head_dim=HEAD_DIM,
    chunk=2,
    sink=2,
    window=6,
)


def model() -> ModelEntry:
    """The catalog entry. What it says of sizes, steps and memory is all that planning needs; it imports no weights."""
    return ModelEntry(
        name="toy",
        summary="an example of a plug-in: coloured squares",
        licence="Apache-2.0",
        geometry=GEOMETRY,
        width=64,
        height=48,
        sampling=Sampling(steps=(1000, 500), prediction="sample"),
        policy="nam",
        positions="relative",
        backbone=lambda entry, device, dtype: ToyBackbone(entry, torch.device(device)),
    )


class ToyBackbone(nn.Module, Backbone):
    """Derives from `Backbone`, which brings what this model has not: an encoder of pictures."""

    def __init__(self, entry: ModelEntry, device: torch.device) -> None:
        super().__init__()
        self.geometry = entry.geometry
        self.sampling = entry.sampling
        self.positions: PositionMode = "relative"
        self.device = device
        self.dtype = torch.float32
        width = HEADS * HEAD_DIM
        generator = torch.Generator().manual_seed(7)
        shapes = {"enter": (3, width), "leave": (width, 3), "time": (1, width)}
        shapes |= {f"{name}{layer}": (width, width) for layer in range(LAYERS) for name in "qkvabc"}
        for name, shape in shapes.items():
            self.register_buffer(name, (torch.randn(shape, generator=generator) / shape[0] ** 0.5).to(device))

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """[P, WORDS, C]: each word a vector of its own, the same on every machine; zeros after the last word."""
        embeds = torch.zeros(len(prompts), WORDS, HEADS * HEAD_DIM)
        for row, prompt in zip(embeds, prompts):
            for place, word in enumerate(prompt.lower().split()[:WORDS]):
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                row[place] = torch.randn(HEADS * HEAD_DIM, generator=torch.Generator().manual_seed(seed))
        return embeds

    def project_prompt(self, prompt_embeds: Tensor) -> PromptProjection:
        """Keys and values of the prompt for every layer, finished: memory scores remembered frames by them and by the words'
        embeddings, which the mask tells from padding.
        """
        embeds = prompt_embeds.to(self.device)
        keys = tuple(_heads(embeds @ self.get_buffer(f"b{layer}")) for layer in range(LAYERS))
        values = tuple(_heads(embeds @ self.get_buffer(f"c{layer}")) for layer in range(LAYERS))
        return PromptProjection(keys, values, mask=embeds.abs().amax(dim=-1) > 0, embeds=embeds)

    def predict(self, latents: Tensor, timestep: float, prompt: PromptProjection, context: AttentionContext) -> Tensor:
        """One pass: latents [1, F, C, h, w] -> the clean sample. The past is asked for once a layer, and nowhere else."""
        x = self.enter_at(latents, timestep)
        for layer in range(LAYERS):
            x = self.ask_past(layer, x, latents.shape[-2:], context)
            prompt_query = self.heads_of("a", layer, x)
            context.observe(layer, prompt_query)
            x = F.layer_norm(x + _attend(prompt_query, prompt.keys[layer], prompt.values[layer]), x.shape[-1:])
        pixels = torch.tanh(x @ self.get_buffer("leave"))
        return pixels.transpose(-1, -2).unflatten(-1, latents.shape[-2:])

    def stage(self, latents: Tensor, timestep: float, prompt: PromptProjection, context: AttentionContext) -> None:
        """`predict` up to the last thing that the past is told of. A plug-in may leave this out: it only saves time."""
        x = self.enter_at(latents, timestep)
        for layer in range(LAYERS):
            x = self.ask_past(layer, x, latents.shape[-2:], context)
            prompt_query = self.heads_of("a", layer, x)
            context.observe(layer, prompt_query)
            if layer + 1 < LAYERS:
                x = F.layer_norm(x + _attend(prompt_query, prompt.keys[layer], prompt.values[layer]), x.shape[-1:])

    def enter_at(self, latents: Tensor, timestep: float) -> Tensor:
        """Latents [1, F, C, h, w] -> tokens [1, F, N, dim]."""
        x = latents.flatten(-2).transpose(-1, -2) @ self.get_buffer("enter")
        return x + self.get_buffer("time") * (timestep / 1000)

    def ask_past(self, layer: int, x: Tensor, grid: Sequence[int], context: AttentionContext) -> Tensor:
        """Tokens [1, F, N, dim] with what they found in the past."""
        query, key, value = (self.heads_of(name, layer, x) for name in "qkv")
        query = self.rotate(query, context.positions, grid)
        return x + _attend(query, *context.gather(layer, query, key, value))

    def heads_of(self, name: str, layer: int, x: Tensor) -> Tensor:
        return _heads(x @ self.get_buffer(f"{name}{layer}"))

    def rotate(self, key: Tensor, positions: Sequence[int], grid: Sequence[int]) -> Tensor:
        """Turn pairs of numbers by the frame's place in time; this model knows no place in the picture."""
        angles = torch.tensor(list(positions), dtype=torch.float32, device=key.device) * 0.3
        cosine, sine = (angle.view(-1, 1, 1, 1) for angle in (angles.cos(), angles.sin()))
        first, second = key.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)

    def decoder(self) -> "ToyDecoder":
        return ToyDecoder()


class ToyDecoder:
    """Implements `memflow_cli.backbone.StreamingDecoder`: every pixel of a latent is a square, shown twice."""

    past = 0  # a frame depends on no latent frame but its own

    def reset(self) -> None:
        """There is no state."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [F, 3, h, w] in -1..1 -> frames [2 * F, height, width, 3] in 0..1."""
        stride = GEOMETRY.spatial_stride
        frames = latents.repeat_interleave(GEOMETRY.temporal_stride, dim=0)
        frames = frames.repeat_interleave(stride, dim=-1).repeat_interleave(stride, dim=-2)
        return (frames.permute(0, 2, 3, 1).float() + 1) / 2

    def flush(self) -> Tensor:
        return torch.zeros(0, 0, 0, 3)


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, HEAD_DIM))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Queries [B, F, N, H, D] over keys and values [B, S, H, D] -> [B, F, N, H * D]."""
    flat = query.flatten(1, 2).transpose(1, 2)
    answer = F.scaled_dot_product_attention(flat, key.transpose(1, 2), value.transpose(1, 2))
    return answer.transpose(1, 2).reshape(query.shape).flatten(-2)
