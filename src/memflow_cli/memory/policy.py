"""What the chunk loop asks of a memory, and the policies that have none: `window` and `sink`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from memflow_cli.attention_context import Activation, PromptProjection
from memflow_cli.kv_cache import KVCache


@dataclass(frozen=True)
class CacheNeeds:
    """What a policy needs of the cache: latent frames of sink and bank, and how heads choose among them."""

    sink: int
    bank: int = 0
    activation: Activation | None = None
    attend_bank: bool = True
    keep_prompt_queries: bool = False


@dataclass(frozen=True)
class Recall:
    """What a retrieval found: `scores`, latent frame -> score, of every candidate whose score is new or has changed since
    the segment began. A film's candidates grow with its length; what is told of them does not.
    """

    scores: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Remembered:
    """What entered and what left the archive, as latent frames."""

    archived: tuple[int, ...] = ()
    evicted: tuple[int, ...] = ()


class MemoryPolicy(Protocol):
    """What is remembered and recalled. The loop calls: `switch_prompt`, `leave`, `recall`, (the chunk), `committed`."""

    needs: CacheNeeds
    joint_recache: bool
    """At a prompt switch, run the window again in one pass (as published) or chunk by chunk."""

    def switch_prompt(self, prompt: PromptProjection) -> None:
        """A new segment begins."""
        ...

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        """Fill the cache's bank for the chunk at hand (and, with `joint_recache`, for the recache)."""
        ...

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        """Frames are about to leave the local window."""
        ...

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        """A chunk has become permanent."""
        ...


class NoMemory:
    """`window` (no sink) and `sink`: nothing is remembered but what the cache holds anyway."""

    joint_recache = False

    def __init__(self, sink: int) -> None:
        self.needs = CacheNeeds(sink=sink)

    def switch_prompt(self, prompt: PromptProjection) -> None:
        pass

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        return Recall()

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        return Remembered()

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        return Remembered()
