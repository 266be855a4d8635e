"""Retrieval scores: how well a prototype answers a prompt. Pure functions over stored features.

A score works in steps, so that a prototype is looked at once a prompt: `features` says what is kept of a prototype,
`match` compares features with a prompt, `weigh` says which matches count, `agree` how far they do for frames that were made
under another prompt, `rank` turns them into one number a prototype.
A score whose features are large may be a `SketchingScore` too: in a long film only the most promising prototypes are
then matched.
Padding of the prompt never votes. Shapes: P prototypes, L layers, T prompt tokens (T' real ones), N tokens, H heads, D head
size.
"""

from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.attention_context import FrameState, PromptProjection

SKETCH_DIRECTIONS = 32
"""How many random directions a sketch looks along, in every head."""
EVEN_WEIGHT = 1e-9
"""Added to variances: frames that answer a prompt alike are told apart by the plain mean."""


class Score(Protocol):
    needs_prompt_queries: bool
    """Whether it looks at what a frame's tokens asked their own prompt (`FrameState.prompt_queries`)."""

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        """What is kept of a prototype that was made under `prompt`; no room is needed for a whole part of its state."""
        ...

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        """Features [P, ...] and a prompt -> matches [P, M]; of a score whose frames may `agree` in part, none below 0."""
        ...

    def weigh(self, matches: Tensor) -> Tensor:
        """How much each column of the matches [P, M] says: [M]. Asked when a prompt comes."""
        ...

    def agree(self, words: Tensor, prompt: PromptProjection) -> Tensor:
        """How much each match counts, 0..1, of frames made under a prompt of these words [T'', C]: [M], or [1] for all."""
        ...

    def rank(self, matches: Tensor, weights: Tensor) -> Tensor:
        """Matches [P, M], as far as they count, and weights [M] -> scores [P]; larger is better."""
        ...


@runtime_checkable
class SketchingScore(Score, Protocol):
    def sketch(self, features: Tensor) -> Tensor:
        """A small stand-in for the features of one prototype."""
        ...

    def estimate(self, sketches: Tensor, prompt: PromptProjection) -> Tensor:
        """Sketches [P, ...] and a prompt -> stand-ins for matches [P, T'], to be weighed and ranked as these are."""
        ...


def _by_head(tokens: Tensor) -> Tensor:
    """[..., L, N, H, D] -> [L * H, ..., N, D] in fp32."""
    *batch, layers, num_tokens, heads, size = tokens.shape
    first = tokens.movedim((-4, -2), (0, 1))
    return first.to(torch.float32, memory_format=torch.contiguous_format).reshape(
        layers * heads, *batch, num_tokens, size
    )


def _products(tokens: Tensor, keys: Tensor) -> Tensor:
    """Every token with every prompt token: [G, P, N, D] and [G, T', D] -> [G, P, N, T']."""
    return torch.bmm(tokens.flatten(1, 2), keys.transpose(1, 2)).unflatten(1, tokens.shape[1:3])


class _TokenFeatures:
    """For scores that look at every token [L, N, H, D]: a sketch says how far a frame's tokens reach along each direction.

    A product q . k is, but for noise that the mean over heads and prompt tokens evens out, the mean of (q . u)(k . u) over
    random directions u. The most that any of the frame's tokens can make of one direction is the farthest they reach on
    k's side times k's part, so the estimate is one sum of products, without tokens: linear in the sketch. The directions
    are drawn once; no weights take part. With the axes themselves for directions it would be an upper bound.
    """

    def sketch(self, features: Tensor) -> Tensor:
        """Features [L, N, H, D] -> the farthest on both sides [2, L * H, SKETCH_DIRECTIONS], of the same dtype."""
        tokens = _by_head(features)
        reach = torch.bmm(tokens, _directions(tokens.shape[0], tokens.shape[-1]))
        return torch.stack([reach.amax(dim=1), reach.amin(dim=1)]).to(features.dtype)

    def estimate(self, sketches: Tensor, prompt: PromptProjection) -> Tensor:
        keys = self._asking_keys(prompt).to(sketches.device)
        along = torch.bmm(keys, _directions(keys.shape[0], keys.shape[-1])).transpose(1, 2)
        scale = len(keys) * keys.shape[-1] ** 0.5
        asked = torch.stack([along.clamp_min(0), along.clamp_max(0)]) / scale  # [2, L * H, SKETCH_DIRECTIONS, T']
        return sketches.flatten(1).float() @ asked.flatten(0, 2)

    def _asking_keys(self, prompt: PromptProjection) -> Tensor:
        return prompt.real_keys


@lru_cache(maxsize=4)
def _directions(num_heads: int, head_dim: int) -> Tensor:
    """[L * H, D, SKETCH_DIRECTIONS], on the host; the same ones in every run."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_heads, head_dim, SKETCH_DIRECTIONS, generator=generator) / SKETCH_DIRECTIONS**0.5


class _WeightedMean:
    """The score is the weighted mean of a prototype's matches; unless told, all of them weigh the same and count in full."""

    def weigh(self, matches: Tensor) -> Tensor:
        return torch.ones(matches.shape[1])

    def agree(self, words: Tensor, prompt: PromptProjection) -> Tensor:
        return torch.ones(1)

    def rank(self, matches: Tensor, weights: Tensor) -> Tensor:
        return matches @ (weights / weights.sum())


class PublishedScore(_WeightedMean):
    """Mean of prompt key . visual key, as in the published code, but padding does not vote and layers share one score."""

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return state.keys[:, 0].float().mean(dim=1)  # [L, H, D]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        pooled = prompt.real_keys.mean(dim=1).flatten().to(features.device)
        num_heads = features.shape[1] * features.shape[2]
        return (features.flatten(1) @ pooled).unsqueeze(1) / (num_heads * features.shape[-1] ** 0.5)


class AttentionMassScore(_TokenFeatures, _WeightedMean):
    """The paper's formula: each prompt token spreads attention over all remembered tokens that are matched; a frame's
    score is its share.

    Source: MemFlow (arXiv:2512.14699), Narrative Adaptive Memory.
    """

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return state.keys[:, 0]  # [L, N, H, D]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        logits = _products(_by_head(features), prompt.real_keys) / features.shape[-1] ** 0.5
        return logits.logsumexp(dim=2).transpose(0, 1).flatten(1)  # [P, L * H * T']

    def rank(self, matches: Tensor, weights: Tensor) -> Tensor:
        return matches.softmax(dim=0).mean(dim=1)


class CrossAttentionScore(_TokenFeatures, _WeightedMean):
    """The space that was trained to match: how much of a frame's cross-attention the prompt's words would get.

    Every token of the frame spreads its attention over the prompt's tokens, as in a pass under that prompt; each prompt
    token finds the place that attends to it most, in the mean over heads and layers. Prompt tokens are weighed by their
    variance over the frames: what tells frames apart, names above all, decides; what all of them answer does not.
    """

    needs_prompt_queries = True

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        assert state.prompt_queries is not None, "the cache must keep prompt queries for this score"
        return state.prompt_queries[:, 0]  # [L, N, H, D]; N places of neighbouring tokens

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        attention = (_products(_by_head(features), prompt.real_keys) / features.shape[-1] ** 0.5).softmax(dim=-1)
        return attention.amax(dim=2).mean(dim=0)  # [P, T']

    def weigh(self, matches: Tensor) -> Tensor:
        return matches.var(dim=0, unbiased=False) + EVEN_WEIGHT

    def _asking_keys(self, prompt: PromptProjection) -> Tensor:
        """What a token asks of one word more than of the others: near enough to attention."""
        keys = prompt.real_keys
        return keys - keys.mean(dim=1, keepdim=True)


class CombinedScore(CrossAttentionScore):
    """What a frame shows, and what was said of it: cross-attention, where a word counts as far as the prompt that the
    frame was made under says it too: the cosine of its embedding and the nearest one there.

    A frame's queries tell a figure from an empty stage better than one figure from the other; prompts tell figures apart,
    but not when they are in view. Source of the words' part: late interaction, ColBERT (arXiv:2004.12832).
    """

    def agree(self, words: Tensor, prompt: PromptProjection) -> Tensor:
        return (prompt.words.float() @ words.float().T).amax(dim=1).clamp_min(0)


class PromptScore(_WeightedMean):
    """Likeness of the prompt that a frame was made under to the coming one: cosine of their mean embeddings."""

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return _mean_embedding(prompt)  # [C]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        coming = _mean_embedding(prompt).to(features.device)
        return F.cosine_similarity(features, coming, dim=-1).unsqueeze(1)


def _mean_embedding(prompt: PromptProjection) -> Tensor:
    return prompt.embeds[0][prompt.mask[0]].float().mean(dim=0)


SCORES: dict[str, type[Score]] = {
    "published": PublishedScore,
    "attention": AttentionMassScore,
    "cross-attention": CrossAttentionScore,
    "combined": CombinedScore,
    "prompt": PromptScore,
}
