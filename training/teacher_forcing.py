"""Teacher forcing in parallel: every chunk of a story at once, each attending to what the streaming cache would show it.

The transformer's parameters and parts are the product's; only the loop over chunks is unrolled into the batch. A
chunk's context is gathered from the clean half by index, so there is no mask over a long sequence.
Shapes: M clean and K noisy chunks (of all stories), F latent frames of a chunk, N tokens, H heads, D head size, T prompt tokens.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from memflow_cli.models.wan.attention import rotary_table, rotate
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.transformer import Block, CausalWanTransformer, modulate
from training.text import encode_ids

CHUNK, SINK, BANK, WINDOW = 3, 3, 3, 9
CONTEXT = SINK + BANK + WINDOW - CHUNK  # slots of a chunk's past; the chunk itself always comes after them
Table = tuple[Tensor, Tensor]


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """[M, L, H, D] over [M, S, H, D] -> [M, L, H, D]. `bias` [M, 1, 1, S]: 0 or -inf. Spelled out: faster backwards."""
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = (x.transpose(1, 2) for x in (query, key.to(query.dtype), value.to(query.dtype)))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        scores = scores if bias is None else scores + bias.to(scores.dtype)
        return (torch.softmax(scores, dim=-1) @ value).transpose(1, 2)


def finish_block(block: Block, x: Tensor, attended: Tensor, modulation, prompt_key: Tensor, prompt_value: Tensor):
    """As `Block.attend_prompt` and `Block.feed_forward`, with attention that is fast to train."""
    x = x + block.self_attn.o(attended.flatten(-2)) * modulation[2]
    normed = F.layer_norm(x, (x.shape[-1],), block.norm3.weight.to(x.dtype), block.norm3.bias.to(x.dtype), block.eps)
    query = block.cross_attn.query(normed)
    answer = softmax_attention(query.flatten(1, 2), prompt_key, prompt_value).reshape(query.shape)
    x = x + block.cross_attn.o(answer.flatten(-2))
    return x + block.ffn(modulate(x, modulation[3], modulation[4], block.eps)) * modulation[5]


def alone_block(
    block: Block, x: Tensor, time: Tensor, table: Table, prompt_key: Tensor, prompt_value: Tensor
) -> Tensor:
    """A block over frames [M, F, N, dim] that have no past."""
    modulation = block.modulation_at(time, x.dtype)
    query, key, value = block.project(x, modulation)
    query, key = rotate(query, table), rotate(key, table)
    attended = softmax_attention(query.flatten(1, 2), key.flatten(1, 2), value.flatten(1, 2)).reshape(query.shape)
    return finish_block(block, x, attended, modulation, prompt_key, prompt_value)


def story_block(
    block: Block,
    x: Tensor,
    time: Tensor,
    own_table: Table,
    context_table: Table,
    index: Tensor,
    bias: Tensor,
    prompt_key: Tensor,
    prompt_value: Tensor,
) -> Tensor:
    """A block over [M + K, F, N, dim]: M clean chunks, then K noisy ones.

    `index` [M + K, CONTEXT]: which clean latent frame fills a context slot. `bias` [M + K, 1, 1, (CONTEXT + F) * N].
    """
    modulation = block.modulation_at(time, x.dtype)
    query, key, value = block.project(x, modulation)
    past_key, past_value = (
        kept.flatten(0, 1).flatten(1).index_select(0, index.flatten()).view(*index.shape, *kept.shape[2:])
        for kept in (key, value)
    )
    past_key = rotate(past_key, context_table)
    query, key = rotate(query, own_table), rotate(key, own_table)
    keys = torch.cat([past_key, key], dim=1).flatten(1, 2)
    values = torch.cat([past_value, value], dim=1).flatten(1, 2)
    attended = softmax_attention(query.flatten(1, 2), keys, values, bias).reshape(query.shape)
    return finish_block(block, x, attended, modulation, prompt_key, prompt_value)


@dataclass(frozen=True)
class Context:
    """What each clean, then each noisy chunk of a batch of stories may look at.

    `index`: [M + K, CONTEXT] rows of the clean latent frames of the whole batch; `present`: bool [M + K, CONTEXT].
    """

    index: Tensor
    present: Tensor


class Trainee(nn.Module):
    """Transformer and text encoder, trained together."""

    def __init__(self, config: WanConfig, encoder: UMT5EncoderModel) -> None:
        super().__init__()
        self.transformer, self.encoder = CausalWanTransformer(config), encoder
        initialise(self.transformer)

    def project_prompts(self, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Token ids [P, T] -> cross-attention keys and values, for each layer [P, T, H, D]."""
        text = self.transformer.text_embedding(encode_ids(self.encoder, ids))
        blocks = self.transformer.blocks
        return [b.cross_attn.key(text) for b in blocks], [b.cross_attn.value(text) for b in blocks]

    def pictures(self, noisy: Tensor, sigma: Tensor, ids: Tensor, place: Tensor) -> Tensor:
        """Clean prediction of single latent frames [M, 1, C, h, w]; `sigma` [M], `place` [M] in a first chunk, 0..2."""
        model = self.transformer
        grid = model.token_grid(noisy)
        cosine, sine = rotary_table(range(CONTEXT, CONTEXT + CHUNK), grid, model.config.head_dim, noisy.device)
        table = cosine[place].unsqueeze(1), sine[place].unsqueeze(1)
        keys, values = self.project_prompts(ids)
        embedded, time = model.embed_timestep(1000 * sigma[:, None])
        x = model.patchify(noisy)
        for layer, block in enumerate(model.blocks):
            x = run_alone_block(block, x, time, table, keys[layer], values[layer])
        return model.unpatchify(model.head(x, embedded), grid)

    def stories(
        self, clean: Tensor, noisy: Tensor, sigma: Tensor, ids: Tensor, caption: Tensor, context: Context
    ) -> Tensor:
        """Clean prediction [K, 3, C, h, w] of the `noisy` chunks, given the (slightly noised) `clean` ones before them.

        `clean` [M, 3, C, h, w]; `sigma` [K]; `ids` [P, T] of all captions; `caption` [M + K]: each chunk's.
        """
        model = self.transformer
        grid, head_dim, chunks = model.token_grid(noisy), model.config.head_dim, len(clean)
        own_table = rotary_table(range(CONTEXT, CONTEXT + CHUNK), grid, head_dim, noisy.device)
        context_table = rotary_table(range(CONTEXT), grid, head_dim, noisy.device)
        tokens = grid[0] * grid[1]
        hidden = sigma.new_zeros(context.present.shape).masked_fill(~context.present, -torch.inf)
        bias = F.pad(hidden.repeat_interleave(tokens, dim=1), (0, CHUNK * tokens))[:, None, None]
        keys, values = self.project_prompts(ids)
        embedded, time = model.embed_timestep(1000 * torch.cat([sigma.new_zeros(chunks), sigma])[:, None])
        x = model.patchify(torch.cat([clean, noisy]))
        for layer, block in enumerate(model.blocks):
            prompt = keys[layer].index_select(0, caption), values[layer].index_select(0, caption)
            x = run_story_block(block, x, time, own_table, context_table, context.index, bias, *prompt)
        return model.unpatchify(model.head(x[chunks:], embedded[chunks:]), grid)


def initialise(model: CausalWanTransformer) -> None:
    """As Wan: Xavier matrices, zero biases, small embeddings, an output of exactly zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for layer in (model.time_embedding[0], model.time_embedding[2], model.text_embedding[0], model.text_embedding[2]):
        nn.init.normal_(layer.weight, std=0.02)
    nn.init.xavier_uniform_(model.patch_embedding.weight.view(model.config.dim, -1))
    nn.init.zeros_(model.patch_embedding.bias)
    nn.init.zeros_(model.head.head.weight)


run_alone_block, run_story_block = alone_block, story_block


def compile_blocks() -> None:
    """Fuse the blocks' pointwise work; costs about a minute once."""
    global run_alone_block, run_story_block
    run_alone_block = torch.compile(alone_block, dynamic=False)
    run_story_block = torch.compile(story_block, dynamic=False)
