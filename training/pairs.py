"""Pairs for the painter: what the transformer draws of true stories, beside the truth.

A few chunks of a story are denoised as a film denoises them, in a context of true frames, then the chunk after each of them, in a
context of those made frames: faults as films have them, at places where the truth is known. A few of many stories show more
puppets than all chunks of a few.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from memflow_cli.models.catalog import THEATRE_FOLDER
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from memflow_cli.models.wan.attention import rotary_table, rotate
from training.batches import LEVELS, add_noise
from training.captions import captions
from training.contexts import StoryContexts
from training.data import STORY_CHUNKS
from training.drafts import SAID_AGAIN, SAID_AGAIN_SHARES, recached_beats
from training.drawing import render
from training.learn import Learner, Options, theatre_config
from training.precision import fast_products
from training.teacher_forcing import CHUNK, CONTEXT, Table, Trainee, finish_block, softmax_attention
from training.text import TokenIds
from training.world import FIRST_HELD_OUT_SEED, Story, sample_story

FIRST_SEED = 7_000_000  # of the pairs' stories; other data have other seeds
KINDS_IN_TURN = (None, "acting", "comings and goings", "company", "both at once")
DRAWN_CHUNKS = 4  # of a story, in true contexts, and as many in made ones


def pair_story(row: int) -> Story:
    """The story of a row of pairs: kinds in turn, never a held-out combination."""
    assert FIRST_SEED + row < FIRST_HELD_OUT_SEED, "rows end where held-out seeds begin"
    return sample_story(FIRST_SEED + row, KINDS_IN_TURN[row % len(KINDS_IN_TURN)], num_chunks=STORY_CHUNKS)


def shipped_model(folder: Path = THEATRE_FOLDER) -> tuple[Trainee, TokenIds, PatchAutoencoder]:
    """The package's transformer as training runs it: all chunks of a story at once."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    autoencoder = PatchAutoencoder.from_pretrained(folder / "vae")
    learner = Learner(theatre_config(), len(tokenizer), autoencoder.scale, Options(seconds=0, pictures=0))
    learner.load_exported(folder)
    return learner.model.eval().requires_grad_(False), TokenIds(tokenizer), autoencoder


class StoryWalk:
    """Chunks of a story, all at once, each after the `shown` ones [chunks, 3, C, h, w] that its context holds.

    As `Trainee.stories`, but the past is run once, not once in every denoising step.
    """

    def __init__(
        self,
        model: Trainee,
        shown: Tensor,
        slots: Tensor,
        ids: Tensor,
        caption: Tensor,
        chosen: Sequence[int] | None = None,
    ) -> None:
        """`slots` [chunks, CONTEXT], as contexts.py draws them; `caption` [2, chunks]: when committed, when denoised.

        `chosen`: the K chunks that are denoised, all by default.
        """
        self.model, transformer = model, model.transformer
        self.grid = transformer.token_grid(shown)
        head_dim, tokens = transformer.config.head_dim, self.grid[0] * self.grid[1]
        self.own_table = rotary_table(range(CONTEXT, CONTEXT + CHUNK), self.grid, head_dim, shown.device)
        self.context_table = rotary_table(range(CONTEXT), self.grid, head_dim, shown.device)
        hidden = shown.new_zeros(slots.shape).masked_fill(slots < 0, -torch.inf)
        self.bias = F.pad(hidden.repeat_interleave(tokens, dim=1), (0, CHUNK * tokens))[:, None, None]
        self.index, self.caption = slots.clamp_min(0), caption[0]
        self.keys, self.values = model.project_prompts(ids)
        self.past: list[Table] = []
        self._run(shown, 0.0)
        rows = torch.arange(len(shown)) if chosen is None else torch.tensor(list(chosen))
        self.past = [(key[rows], value[rows]) for key, value in self.past]
        self.bias, self.caption = self.bias[rows], caption[1][rows]

    def predict(self, noisy: Tensor, sigma: float) -> Tensor:
        """The clean prediction of `noisy` [K, 3, C, h, w]."""
        x, embedded = self._run(noisy, sigma)
        transformer = self.model.transformer
        return transformer.unpatchify(transformer.head(x, embedded), self.grid).float()

    def _run(self, latents: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        transformer = self.model.transformer
        embedded, time = transformer.embed_timestep(latents.new_full((len(latents), 1), 1000 * sigma))
        x = transformer.patchify(latents)
        for layer, block in enumerate(transformer.blocks):
            modulation = block.modulation_at(time, x.dtype)
            query, key, value = block.project(x, modulation)
            if len(self.past) == layer:  # the past itself is being run
                past_key, past_value = (
                    kept.flatten(0, 1)
                    .flatten(1)
                    .index_select(0, self.index.flatten())
                    .view(*self.index.shape, *kept.shape[2:])
                    for kept in (key, value)
                )
                self.past.append((rotate(past_key, self.context_table), past_value))
            past_key, past_value = self.past[layer]
            query, key = rotate(query, self.own_table), rotate(key, self.own_table)
            keys, values = (
                torch.cat([past_key, key], dim=1).flatten(1, 2),
                torch.cat([past_value, value], dim=1).flatten(1, 2),
            )
            attended = softmax_attention(query.flatten(1, 2), keys, values, self.bias).reshape(query.shape)
            x = finish_block(
                block, x, attended, modulation, self.keys[layer][self.caption], self.values[layer][self.caption]
            )
        return x, embedded


@torch.no_grad()
def draw_chunks(
    model: Trainee,
    token_ids: TokenIds,
    story: Story,
    shown: Tensor,
    rng: np.random.Generator,
    chosen: Sequence[int] | None = None,
) -> Tensor:
    """The K `chosen` chunks of a story as the model draws them after `shown` [chunks, 3, C, h, w]: [K, 3, C, h, w].

    All of them by default.
    """
    lines = captions(story, rng, said_again=float(rng.choice(SAID_AGAIN, p=SAID_AGAIN_SHARES)))
    caption = torch.tensor([recached_beats(story, rng)[0], story.beat_of_chunks()])
    slots = torch.from_numpy(StoryContexts(story).streaming(rng))
    made = torch.zeros_like(shown if chosen is None else shown[list(chosen)])
    with fast_products(made.device):
        walk = StoryWalk(model, shown, slots, token_ids(lines), caption, chosen)
        for level in LEVELS:
            made = walk.predict(add_noise(made, made.new_full((len(made),), level)), level)
    return made


Draw = Callable[[Story, Tensor, np.random.Generator, list[int]], Tensor]


def make_pair(row: int, draw: Draw, autoencoder: PatchAutoencoder) -> dict[str, np.ndarray]:
    """A story's latents: `true` and `shown` [F, C, h, w], fp16; `drawn` [F]: which of the shown ones the model drew.

    The others are true. Half of the chunks drawn are drawn after true ones, half each after one of the first half.
    """
    story, rng = pair_story(row), np.random.default_rng([row, 17])
    torch.manual_seed(row)
    true = autoencoder.encode(torch.from_numpy(render(story)[0]).float() / 255)
    shown = true.clone().unflatten(0, (-1, CHUNK))
    drawn = np.zeros(len(shown), bool)
    first = np.sort(rng.choice(len(shown) // 2, DRAWN_CHUNKS, replace=False)) * 2
    first += int(rng.integers(2)) * (first + 2 < len(shown)).all()  # even and odd chunks alike
    for chosen in (first, first + 1):
        shown[chosen] = draw(story, shown, rng, chosen.tolist())
        drawn[chosen] = True
    return {
        "true": true.half().numpy(),
        "shown": shown.flatten(0, 1).half().numpy(),
        "drawn": drawn.repeat(CHUNK),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="pairs are written to its folder pairs")
    parser.add_argument("--rows", type=int, nargs=2, default=(0, 400), help="first story, and the one after the last")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long, whatever is done")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder, started = options.work / "pairs", time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    model, token_ids, autoencoder = shipped_model()
    for row in range(*options.rows):
        path = folder / f"{row}.npz"
        if path.exists():
            continue
        if time.monotonic() - started > 60 * options.minutes:
            break
        pair = make_pair(row, lambda *of: draw_chunks(model, token_ids, *of), autoencoder)
        np.savez(path.with_suffix(".part.npz"), **pair)
        path.with_suffix(".part.npz").replace(path)
        error = np.square(pair["shown"].astype(np.float32) - pair["true"])[pair["drawn"]].mean()
        print(
            f"{row}: {pair_story(row).kind}, squared error {error:.4f}, {time.monotonic() - started:.0f} s", flush=True
        )


if __name__ == "__main__":
    main()
