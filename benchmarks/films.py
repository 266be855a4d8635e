"""Films of theatre's stories, made in one process: the policies compared, stories as storyboards, frames as they come."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.judge import Answers, Judge
from benchmarks.true_clips import LOOKED_AT, Labels, half_size, label_chunks
from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.backbone import Backbone
from memflow_cli.film.frames import to_uint8
from memflow_cli.film.given import encode_told, shot_of
from memflow_cli.geometry import Geometry
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.memory.policy import MemoryPolicy
from memflow_cli.memory.record import ChunkRecord
from memflow_cli.memory.scores import Score
from memflow_cli.pipeline import Walk, generate_chunks
from memflow_cli.story.plan import plan_film
from memflow_cli.story.storyboard import Segment, Storyboard
from training.captions import captions
from training.world import FPS, FRAMES_PER_CHUNK, Story

POLICIES = {
    "window": MemoryOptions(policy="window"),
    "sink": MemoryOptions(policy="sink"),
    "official": MemoryOptions(policy="official"),
    "nam": MemoryOptions(policy="nam"),
    "nam + SMA": MemoryOptions(policy="nam", activate=3),
    "nam + int8": MemoryOptions(policy="nam", kv="int8"),
}
BY_DEFAULT = [name for name in POLICIES if name != "nam + int8"]


class Blind:
    """What retrieval scores have in common that ignore the prompt."""

    needs_prompt_queries = False

    def features(self, state: FrameState, prompt: PromptProjection) -> Tensor:
        return torch.zeros(1)

    def match(self, features: Tensor, prompt: PromptProjection) -> Tensor:
        return torch.zeros(len(features), 1)

    def weigh(self, matches: Tensor) -> Tensor:
        return torch.ones(1)

    def agree(self, words: Tensor, prompt: PromptProjection) -> Tensor:
        return torch.ones(1)


class MostRecent(Blind):
    """What left the window last is recalled."""

    def rank(self, matches: Tensor, weights: Tensor) -> Tensor:
        return torch.arange(len(matches), dtype=torch.float32)


class Chance(Blind):
    """Any frames are recalled; others for another seed."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def rank(self, matches: Tensor, weights: Tensor) -> Tensor:
        return torch.rand(len(matches), generator=self._generator)


BASELINES: dict[str, Callable[[int], Score]] = {"most recent": lambda seed: MostRecent(), "chance": Chance}


def change_nam(score: str | None = None, bank: int | None = None) -> None:
    """Let nam, in this process, retrieve by another score or into a bank of another size."""
    asked = {"score": score, "bank": bank}
    for name in ("nam", "nam + SMA", "nam + int8"):
        POLICIES[name] = replace(
            POLICIES[name], **{field: value for field, value in asked.items() if value is not None}
        )


def make_memory(policy: str, geometry: Geometry, seed: int) -> MemoryPolicy:
    if policy in BASELINES:
        return NarrativeMemory(geometry.sink, POLICIES["nam"].bank, BASELINES[policy](seed))
    return make_policy(POLICIES[policy], geometry)


def film_seed(story: Story, seed: int) -> int:
    """Of a story's film number `seed`: no two stories of a part share their noise, all policies of a story do."""
    return int(np.random.default_rng([story.seed, seed]).integers(2**31))


def to_storyboard(story: Story, memory: MemoryOptions, seed: int, said_again: float = 0.0) -> Storyboard:
    """The story as its author would write it: looks are said once, or again in this share of their later mentions."""
    lines = captions(story, np.random.default_rng(story.seed), said_again=said_again)
    seconds_per_chunk = FRAMES_PER_CHUNK / FPS
    segments = [
        Segment(line, beat.num_chunks * seconds_per_chunk, transition="cut" if beat.cut else "smooth")
        for line, beat in zip(lines, story.beats, strict=True)
    ]
    return Storyboard(title=story.kind, segments=tuple(segments), seed=seed, memory=memory)


def film_frames(
    backbone: Backbone, storyboard: Storyboard, size: tuple[int, int], memory: MemoryPolicy | None = None
) -> Iterator[tuple[ChunkRecord, np.ndarray]]:
    """A film chunk by chunk: (record, frames uint8 [12, height, width, 3])."""
    plan = plan_film(storyboard, backbone.geometry, size)
    memory = memory or make_policy(storyboard.memory, plan.geometry)
    told = encode_told(backbone, storyboard, plan.segments, ())
    decoder = backbone.decoder_at(*plan.size)
    decoder.reset()
    walk = Walk(backbone, plan.size, plan.fps, memory, int8=storyboard.memory.kv == "int8")
    for chunk in generate_chunks(walk, (shot_of(storyboard, segment, told) for segment in plan.segments)):
        yield chunk.record, to_uint8(decoder.decode(chunk.latents[0]))


@dataclass(frozen=True)
class Watched:
    """A film as the judge saw it: a clip a chunk."""

    answers: Answers
    labels: Labels  # what the story shows there
    records: list[ChunkRecord]
    frames_per_second: float  # of generating and decoding


@dataclass(frozen=True)
class Studio:
    """A model that makes films and the judge that watches them."""

    backbone: Backbone
    judge: Judge
    size: tuple[int, int]

    def watch(
        self,
        story: Story,
        policy: str,
        seed: int,
        said_again: float = 0.0,
        keep: Callable[[int, np.ndarray], None] | None = None,
    ) -> Watched:
        """Make the story's film number `seed` and judge it; `keep` is given each chunk's number and frames."""
        noise = film_seed(story, seed)
        memory = make_memory(policy, self.backbone.geometry, noise)
        storyboard = to_storyboard(story, POLICIES.get(policy, POLICIES["nam"]), noise, said_again)
        records, clips, seconds = [], [], 0.0
        started = time.perf_counter()
        for record, frames in film_frames(self.backbone, storyboard, self.size, memory):
            seconds += time.perf_counter() - started
            records.append(record)
            clips.append(half_size(frames[list(LOOKED_AT)]))
            if keep:
                keep(record.chunk, frames)
            started = time.perf_counter()
        labels = label_chunks(story, range(story.num_chunks))
        speed = len(records) * FRAMES_PER_CHUNK / seconds
        return Watched(self.judge.answers(np.stack(clips)), labels, records, speed)
