"""What the chunk loop asks of a memory, and the policies that have none: `window` and `sink`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from memflow_cli.attention_context import Activation, FrameState, PromptProjection
from memflow_cli.errors import UsageError
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.cast import Casting


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
    """What entered and what left the archive, as latent frames; whose memory was renewed, and whose is gone."""

    archived: tuple[int, ...] = ()
    evicted: tuple[int, ...] = ()
    renewed: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()


Recache = Literal["chunks", "jointly", "never"]
"""At a prompt switch, the window runs again under the new prompt chunk by chunk, in one pass (as published), or not."""


class MemoryPolicy(Protocol):
    """What is remembered and recalled. The loop calls: `enter` and `switch_prompt`, `leave`, `recall`, (the chunk),
    `committed`.
    """

    needs: CacheNeeds
    recache: Recache

    def give(self, name: str, state: FrameState, prompt: PromptProjection) -> None:
        """Take in a picture of a character or place, before the film begins. Raises UsageError where none can be given.

        `state`: committed under `prompt`; its frame is below 0, another one for each picture.
        """
        ...

    def enter(self, casting: Casting) -> Remembered:
        """A new segment begins. `casting`: what it says of whom to remember."""
        ...

    def whose(self, frame: int) -> tuple[str, ...]:
        """Whose memory a latent frame is: names, in alphabetical order."""
        ...

    def switch_prompt(self, prompt: PromptProjection) -> None:
        """The prompt changes: with a new segment, or amid one."""
        ...

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        """The new segment begins with a cut, at this latent frame: forget the window, or what the policy does instead."""
        ...

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        """Fill the cache's bank for the chunk at hand (and for a recache in one pass)."""
        ...

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        """Frames are about to leave the local window."""
        ...

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        """A chunk has become permanent."""
        ...


class Nameless:
    """What policies have in common that do not know who is who."""

    def give(self, name: str, state: FrameState, prompt: PromptProjection) -> None:
        raise UsageError(f"{name}: this memory policy takes no pictures", "choose memory.policy nam")

    def enter(self, casting: Casting) -> Remembered:
        return Remembered()

    def whose(self, frame: int) -> tuple[str, ...]:
        return ()


class NoMemory(Nameless):
    """`window` (no sink) and `sink`: nothing is remembered but what the cache holds anyway."""

    recache: Recache = "chunks"

    def __init__(self, sink: int) -> None:
        self.needs = CacheNeeds(sink=sink)

    def cut(self, cache: KVCache, first_frame: int) -> Remembered:
        cache.clear_window()
        return Remembered()

    def switch_prompt(self, prompt: PromptProjection) -> None:
        pass

    def recall(self, cache: KVCache, prompt: PromptProjection) -> Recall:
        return Recall()

    def leave(self, cache: KVCache, frames: Sequence[int]) -> Remembered:
        return Remembered()

    def committed(self, cache: KVCache, chunk: int, first_frame: int) -> Remembered:
        return Remembered()
