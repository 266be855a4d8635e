"""Retrieval scores: how well a prototype answers a prompt. Pure functions over stored features.

A score works in three steps, so that a prototype is looked at once a prompt: `features` says what is kept of a
prototype, `match` compares features with a prompt, `rank` turns all matches into one number a prototype.
Padding of the prompt never votes. Shapes: P prototypes, L layers, T prompt tokens (T' real ones), N tokens, H heads, D head
size.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.attention_context import FrameState, PromptProjection


class Score(Protocol):
    needs_prompt_queries: bool
    """Whether it looks at what a frame's tokens asked their own prompt (`FrameState.prompt_queries`)."""

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        """What is kept of a prototype that was made under `prompt`."""
        ...

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        """Features [P, ...] and a prompt -> matches [P, M]."""
        ...

    def rank(self, matches: Tensor) -> Tensor:
        """Matches [P, M] of the whole archive -> scores [P]; larger is better."""
        ...


def _real_keys(prompt: PromptProjection) -> Tensor:
    """The prompt's cross-attention keys without padding: [L, T', H, D] in fp32."""
    keys = torch.stack([key[0] for key in prompt.keys]).float()
    return keys[:, prompt.mask[0]]


class PublishedScore:
    """Mean of prompt key . visual key, as in the published code, but padding does not vote and layers share one score."""

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return state.keys[:, 0].float().mean(dim=1)  # [L, H, D]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        pooled = _real_keys(prompt).mean(dim=1)
        return (features * pooled).sum(dim=-1).flatten(1).mean(dim=1, keepdim=True) / features.shape[-1] ** 0.5

    def rank(self, matches: Tensor) -> Tensor:
        return matches[:, 0]


class AttentionMassScore:
    """The paper's formula: each prompt token spreads attention over all archived tokens; a frame's score is its share.

    Source: MemFlow (arXiv:2512.14699), Narrative Adaptive Memory.
    """

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return state.keys[:, 0]  # [L, N, H, D]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        logits = torch.einsum("plnhd,lthd->plnht", features.float(), _real_keys(prompt)) / features.shape[-1] ** 0.5
        return logits.logsumexp(dim=2).flatten(1)  # [P, L * H * T']

    def rank(self, matches: Tensor) -> Tensor:
        return matches.softmax(dim=0).mean(dim=1)


class CrossAttentionScore:
    """The space that was trained to match: what a frame's tokens ask of a prompt . prompt keys.

    Each prompt token finds the token of the frame that asks for it most; the score is the mean over prompt tokens.
    """

    needs_prompt_queries = True

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        assert state.prompt_queries is not None, "the cache must keep prompt queries for this score"
        return state.prompt_queries[:, 0]  # [L, N, H, D]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        logits = torch.einsum("plnhd,lthd->plnht", features.float(), _real_keys(prompt)) / features.shape[-1] ** 0.5
        return logits.amax(dim=2).flatten(1).mean(dim=1, keepdim=True)

    def rank(self, matches: Tensor) -> Tensor:
        return matches[:, 0]


class PromptScore:
    """Likeness of the prompt that a frame was made under to the coming one: cosine of their mean embeddings."""

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return _mean_embedding(prompt)  # [C]

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        return F.cosine_similarity(features, _mean_embedding(prompt), dim=-1).unsqueeze(1)

    def rank(self, matches: Tensor) -> Tensor:
        return matches[:, 0]


def _mean_embedding(prompt: PromptProjection) -> Tensor:
    return prompt.embeds[0][prompt.mask[0]].float().mean(dim=0)


SCORES: dict[str, type[Score]] = {
    "published": PublishedScore,
    "attention": AttentionMassScore,
    "cross-attention": CrossAttentionScore,
    "prompt": PromptScore,
}
