"""The causal Wan transformer: latents, a timestep and a prompt in, the prediction out.

What it knows of its past is one object, an `AttentionContext`, asked once a layer. Attribute names are the original
Wan names, so that published checkpoints load as they are. Shapes: B batch, F latent frames, N tokens a latent frame,
H heads, D head size, T prompt tokens.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memflow_cli.attention_context import AttentionContext, PromptProjection
from memflow_cli.models.wan.attention import Attend, Attention, RotaryTable, Rotate, attend, rotary_table, rotate
from memflow_cli.models.wan.config import WanConfig

Modulation = tuple[Tensor, ...]
"""Of a block at a timestep: what its parts are given."""

Tail = Callable[[Tensor], Tensor]
"""The head at a timestep: tokens [B, F, N, dim] -> [B, F, N, patch * out_dim]."""


def timestep_embedding(timestep: Tensor, dim: int) -> Tensor:
    """Sinusoids of timesteps in 0..1000: [...] -> [..., dim], cosines first, fp32."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=timestep.device, dtype=torch.float32) / half)
    angles = timestep.float().unsqueeze(-1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Layer norm without weights, then scale and shift."""
    return F.layer_norm(x, (x.shape[-1],), eps=eps) * (1 + scale) + shift


def _modulation(count: int, dim: int) -> nn.Parameter:
    """A learned modulation [1, count, dim]. On the meta device no numbers are drawn: that would import torch's compiler."""
    if torch.empty(0).is_meta:
        return nn.Parameter(torch.empty(1, count, dim))
    return nn.Parameter(torch.randn(1, count, dim) / dim**0.5)


class PassBlock(Protocol):
    """What a pass runs of a block; see `Block`."""

    def project(self, x: Tensor, modulation: Modulation) -> tuple[Tensor, Tensor, Tensor]: ...

    def ask_prompt(self, x: Tensor, attended: Tensor, modulation: Modulation) -> tuple[Tensor, Tensor]: ...

    def attend_prompt(
        self, x: Tensor, attended: Tensor, modulation: Modulation, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]: ...

    def feed_forward(self, x: Tensor, modulation: Modulation) -> Tensor: ...


class Parts(Protocol):
    """All that a pass runs between patches and patches."""

    def at(
        self, timestep: Tensor, embed: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Sequence[PassBlock], Sequence[Modulation], Tail]:
        """Blocks, the modulation of each, and the head, at timesteps [B, F]. `embed`: as `embed_timestep`."""
        ...


class Block(nn.Module):
    """Self-attention over the past, cross-attention to the prompt, feed-forward; each modulated by the timestep."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = Attention(config.dim, config.num_heads, config.eps)
        self.cross_attn = Attention(config.dim, config.num_heads, config.eps)
        self.norm3 = nn.LayerNorm(config.dim, eps=config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = _modulation(6, config.dim)

    def modulation_at(self, time: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Six modulations [B, F, 1, dim] from the projected timestep [B, F, 6, dim]."""
        return (self.modulation.float() + time.float()).to(dtype).unsqueeze(-3).unbind(-2)

    def project(self, x: Tensor, modulation: Modulation) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, F, N, dim] -> query, key (both before rotation) and value, each [B, F, N, H, D]."""
        normed = modulate(x, modulation[0], modulation[1], self.eps)
        return self.self_attn.query(normed), self.self_attn.key(normed), self.self_attn.value(normed)

    def ask_prompt(self, x: Tensor, attended: Tensor, modulation: Modulation) -> tuple[Tensor, Tensor]:
        """The first half of `attend_prompt`: tokens [B, F, N, dim], and their queries to the prompt [B, F, N, H, D]."""
        x = x + self.self_attn.o(attended.flatten(-2)) * modulation[2]
        normed = F.layer_norm(x, self.norm3.normalized_shape, self.norm3.weight, self.norm3.bias, self.eps)
        return x, self.cross_attn.query(normed.to(x.dtype))

    def attend_prompt(
        self, x: Tensor, attended: Tensor, modulation: Modulation, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Take in what self-attention gave [B, F, N, H, D], then ask the prompt (key, value [B, T, H, D]).

        Returns the tokens [B, F, N, dim] and the queries put to the prompt [B, F, N, H, D].
        """
        x, query = self.ask_prompt(x, attended, modulation)
        answer = attend(query.flatten(1, 2), key.to(query.dtype), value.to(query.dtype)).reshape(query.shape)
        return x + self.cross_attn.o(answer.flatten(-2)), query

    def feed_forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        return x + self.ffn(modulate(x, modulation[3], modulation[4], self.eps)) * modulation[5]


class Head(nn.Module):
    """Tokens to patches of the prediction."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.head = nn.Linear(config.dim, config.out_dim * math.prod(config.patch_size))
        self.modulation = _modulation(2, config.dim)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Tokens [B, F, N, dim] and embedded timestep [B, F, dim] -> [B, F, N, patch * out_dim]."""
        shift, scale = (self.modulation.float() + time.float().unsqueeze(-2)).to(x.dtype).unsqueeze(-3).unbind(-2)
        return self.head(modulate(x, shift, scale, self.eps))


class CausalWanTransformer(nn.Module):
    """A Wan2.1 transformer whose self-attention reads its past from an `AttentionContext`.

    Source: Wan2.1 (arXiv:2503.20314); causal use after Self-Forcing (arXiv:2506.08009) and MemFlow (arXiv:2512.14699).
    """

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        self.attend: Attend = attend
        """The kernel of self-attention; wan/acceleration.py may put another in its place."""
        self.rotary: RotaryTable = rotary_table
        """Where rotary tables come from; wan/acceleration.py may hand out ones that stay in place."""
        self.rotate: Rotate = rotate
        self.parts: Parts | None = None
        """What passes run instead of `blocks` and `head`: wan/fused.py may put its own in their place."""
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, config.patch_size)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.head = Head(config)

    def project_prompt(self, prompt_embeds: Tensor) -> PromptProjection:
        """Finished cross-attention keys and values of a prompt.

        `prompt_embeds`: [B, T, text_dim], padding rows exactly zero; they take part in attention, as in the published
        code, but `PromptProjection.mask` tells them apart.
        """
        text = self.text_embedding(prompt_embeds.to(self.text_embedding[0].weight.dtype))
        return PromptProjection(
            keys=tuple(block.cross_attn.key(text) for block in self.blocks),
            values=tuple(block.cross_attn.value(text) for block in self.blocks),
            mask=prompt_embeds.abs().amax(dim=-1) > 0,
            embeds=prompt_embeds,
        )

    def embed_timestep(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps in 0..1000, [B, F] -> embedding [B, F, dim] for the head, projection [B, F, 6, dim] for blocks."""
        sinusoids = timestep_embedding(timestep, self.config.freq_dim)
        embedded = self.time_embedding(sinusoids.to(self.time_embedding[0].weight.dtype))
        return embedded, self.time_projection(embedded).unflatten(-1, (6, -1))

    def patchify(self, latents: Tensor) -> Tensor:
        """Latents [B, F, C, h, w] -> tokens [B, F, N, dim], row by row."""
        rows, columns = self.token_grid(latents)
        _, height, width = self.config.patch_size
        patches = latents.unflatten(-2, (rows, height)).unflatten(-1, (columns, width))  # [B, F, C, r, ph, c, pw]
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(-3).flatten(2, 3)  # [B, F, N, C * ph * pw]
        weight = self.patch_embedding.weight
        return F.linear(patches.to(weight.dtype), weight.flatten(1), self.patch_embedding.bias)

    def unpatchify(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """[B, F, N, ph * pw * C] -> latents [B, F, C, h, w] in fp32."""
        _, height, width = self.config.patch_size
        patches = patches.float().unflatten(-1, (height, width, -1)).unflatten(2, grid)  # [B, F, r, c, ph, pw, C]
        return patches.permute(0, 1, 6, 2, 4, 3, 5).flatten(-2).flatten(-3, -2)

    def token_grid(self, latents: Tensor) -> tuple[int, int]:
        """Rows and columns of tokens in one latent frame."""
        _, height, width = self.config.patch_size
        return latents.shape[-2] // height, latents.shape[-1] // width

    def forward(self, latents: Tensor, timestep: Tensor, prompt: PromptProjection, context: AttentionContext) -> Tensor:
        """One pass over the frames at hand.

        `latents`: [B, F, C, h, w]. `timestep`: [B, F] in 0..1000 (0 is clean). Returns the prediction [B, F, C, h, w]
        in fp32: flow or clean sample, as the model was trained.
        """
        blocks, modulations, head = self._parts(timestep)
        table = self._table(latents, context)
        x = self._through_blocks(blocks, modulations, self.patchify(latents), table, prompt, context)
        return self.unpatchify(head(x), self.token_grid(latents))

    def stage(self, latents: Tensor, timestep: Tensor, prompt: PromptProjection, context: AttentionContext) -> None:
        """`forward` as far as `context` is told anything: the last block's tail and the head are left out."""
        blocks, modulations, _ = self._parts(timestep)
        table = self._table(latents, context)
        x = self._through_blocks(blocks[:-1], modulations, self.patchify(latents), table, prompt, context)
        last = len(blocks) - 1
        query, keys, values = self._gather(last, blocks[last], x, modulations[last], table, context)
        if context.observes:
            attended = self.attend(query.flatten(1, 2), keys, values).reshape(query.shape)
            context.observe(last, blocks[last].ask_prompt(x, attended, modulations[last])[1])

    def _parts(self, timestep: Tensor) -> tuple[Sequence[PassBlock], Sequence[Modulation], Tail]:
        """Blocks, the modulation of each, and the head, as they are at timesteps [B, F]."""
        if self.parts is not None:
            return self.parts.at(timestep, self.embed_timestep)
        embedded, time = self.embed_timestep(timestep)
        blocks = cast("Sequence[Block]", self.blocks)
        modulations = [block.modulation_at(time, self.patch_embedding.weight.dtype) for block in blocks]
        return blocks, modulations, partial(self.head, time=embedded)

    def _through_blocks(
        self,
        blocks: Sequence[PassBlock],
        modulations: Sequence[Modulation],
        x: Tensor,
        table: tuple[Tensor, Tensor],
        prompt: PromptProjection,
        context: AttentionContext,
    ) -> Tensor:
        """Tokens [B, F, N, dim] after the first blocks, or all."""
        for layer, block in enumerate(blocks):
            modulation = modulations[layer]
            query, keys, values = self._gather(layer, block, x, modulation, table, context)
            attended = self.attend(query.flatten(1, 2), keys, values).reshape(query.shape)
            x, prompt_query = block.attend_prompt(x, attended, modulation, prompt.keys[layer], prompt.values[layer])
            context.observe(layer, prompt_query)
            x = block.feed_forward(x, modulation)
        return x

    def _gather(
        self,
        layer: int,
        block: PassBlock,
        x: Tensor,
        modulation: Modulation,
        table: tuple[Tensor, Tensor],
        context: AttentionContext,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A block's rotated queries [B, F, N, H, D], and all that they may attend to, keys and values [B, S, H, D]."""
        query, key, value = block.project(x, modulation)
        query = self.rotate(query, table).to(x.dtype)
        return query, *context.gather(layer, query, key, value)

    def _table(self, latents: Tensor, context: AttentionContext) -> tuple[Tensor, Tensor]:
        return self.rotary(tuple(context.positions), self.token_grid(latents), self.config.head_dim, latents.device)
