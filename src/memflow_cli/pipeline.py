"""The walk of a film, chunk by chunk: retrieve, denoise, commit, remember.

It drives any backbone that speaks to its past through an `AttentionContext`. Who makes a whole film takes the stream of
chunks of `generate_chunks`; who steers one goes step by step, with `Walk.enter` and `Walk.chunk`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import torch
from torch import Tensor

from memflow_cli.attention_context import PositionMode, PromptProjection
from memflow_cli.backbone import GUIDED_CHUNKS, Backbone, Timesteps
from memflow_cli.guidance import Lacking, leading_pictures, led, without
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.machine.out_of_memory import doing
from memflow_cli.machine.stage_timer import StageTimer
from memflow_cli.memory.cast import NOBODY, Casting
from memflow_cli.memory.policy import CacheNeeds, MemoryPolicy, Recall, Remembered
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.sampler import Predict, chunk_noise, denoise, schedule
from memflow_cli.story.plan import FilmPlan

NoiseSource = Callable[["Shot", int, tuple[int, ...]], Iterator[Tensor]]
"""(shot, which of its chunks, shape of a chunk's latents) -> the chunk's noise, see `sampler.denoise`."""


@dataclass(frozen=True, eq=False)
class Shot:
    """What a walk makes under one prompt; the walk itself never asks how long.

    `prompt_embeds`: [T, C], as `Backbone.encode_prompts` makes them. `transition`: "smooth" runs the local window again
    under the prompt, "cut" empties it. `num_chunks`: None, until the next shot comes. `turns`: a chunk of the shot -> the
    embeddings that hold from there on, where it tells one thing after the other. `casting`: whom to remember and to recall.
    """

    prompt: str
    prompt_embeds: Tensor
    seed: int
    transition: str = "smooth"
    num_chunks: int | None = None
    turns: Mapping[int, Tensor] = field(default_factory=dict)
    casting: Casting = NOBODY


@dataclass(frozen=True)
class Chunk:
    """A finished chunk: clean latents [1, F, C, h, w] in fp32, its memory record, and the seconds of each stage."""

    index: int
    segment: int
    latents: Tensor
    record: ChunkRecord
    seconds: dict[str, float] = field(default_factory=dict)


def generate_chunks(walk: "Walk", shots: Iterable[Shot], replay: Iterable[Tensor] = ()) -> Iterator[Chunk]:
    """Make a film's latents, chunk by chunk. `replay`: the latents of its first chunks, see `Walk.chunk`."""
    known = iter(replay)
    for shot in shots:
        walk.enter(shot)
        for _ in count() if shot.num_chunks is None else range(shot.num_chunks):
            yield walk.chunk(next(known, None))


def planned_shots(
    plan: FilmPlan, prompt_embeds: Sequence[Tensor], turns: Sequence[Mapping[int, Tensor]] = ()
) -> Iterator[Shot]:
    """The shots of a film whose plan is known. `prompt_embeds`: [T, C] for each segment; `turns`: as `Shot.turns`."""
    for segment in plan.segments:
        embeds, later = prompt_embeds[segment.index], turns[segment.index] if turns else {}
        yield Shot(segment.prompt, embeds, segment.seed, segment.transition, segment.num_chunks, later)


class Walk:
    """One film's walk: the state that lives from chunk to chunk.

        walk.enter(Shot("a red fox walks in", prompt_embeds, seed=1))
        latents = walk.chunk().latents

    A shot may be entered after any chunk; where the film ends is its caller's affair.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int],
        fps: int,
        memory: MemoryPolicy,
        positions: PositionMode | None = None,
        noise: NoiseSource | None = None,
        synchronize: bool = False,
        first_frame: Tensor | None = None,
        num_given: int = 0,
        int8: bool = False,
        picture_guidance: float = 0.0,
    ) -> None:
        """`size`: width and height in pixels. `memory`: fresh, from `memory.policies.make_policy`. `positions`: the
        backbone's own unless given. `noise`: from each shot's seed unless given. `synchronize`: wait for the device after
        each stage, so that `Chunk.seconds` are exact; without it a GPU never waits in a chunk. `first_frame`: a picture's
        latent [1, 1, C, h, w], which the film's first chunk is generated around. `num_given`: how many of the film's first
        chunks are not the model's own, but a picture's or another film's. `int8`: the cache keeps eight bits.
        `picture_guidance`: how far chunks are led towards given pictures (guidance.py); 0: not at all.
        """
        self.backbone = backbone
        self.memory = memory
        self.index = 0  # of the chunk to come
        self._fps = fps
        self._noise = noise or _seeded_noise
        self._latent_shape = backbone.geometry.chunk_shape(*size)
        self.cache = _make_cache(backbone, size, memory.needs, positions or backbone.positions, int8)
        window = self.cache.shape.sink + self.cache.shape.window
        self._latents: deque[Tensor] = deque(maxlen=-(-window // backbone.geometry.chunk))
        self._scores: dict[int, float] = {}
        self._segment = -1
        self._index_in_shot = 0
        self._index_under_prompt = 0
        self._num_pictures = 0
        self._first_frame = first_frame
        self._num_given = num_given
        self._picture_guidance = picture_guidance
        self._no_prompt: PromptProjection | None = None
        if backbone.sampling.guidance_scale != 1:
            self._no_prompt = backbone.project_prompt(backbone.encode_prompts([""]))
        self._timer = StageTimer(backbone.device if synchronize else None)

    @torch.no_grad()
    def give(self, name: str, latents: Tensor, prompt_embeds: Tensor) -> None:
        """Let the memory know a character or a place by a picture, before the first shot. Raises UsageError where the memory
        takes none.

        `latents`: the picture, held for a chunk, [1, F, C, h, w]; it is committed under the prompt [T, C] that describes it.
        Pictures are the latent frames -1, -2 and so on.
        """
        assert self._segment < 0, "pictures are given before the first shot"
        prompt = self.backbone.project_prompt(prompt_embeds.unsqueeze(0))
        self._num_pictures += 1
        self._commit(self._frames_of(0), latents.to(self.backbone.device), prompt)
        self.memory.give(name, replace(self.cache.read(0), frame=-self._num_pictures), prompt)
        self.cache.clear()

    @torch.no_grad()
    def enter(self, shot: Shot) -> None:
        """A new segment: the memory learns of its prompt, the window is run again under it, or emptied (a cut)."""
        assert self._segment < 0 or self._index_in_shot, "a shot has at least one chunk"
        self._shot, self._segment, self._index_in_shot = shot, self._segment + 1, 0
        self._prompt = self.backbone.project_prompt(shot.prompt_embeds.unsqueeze(0))
        self._timer.start()
        self._entered = [self.memory.enter(shot.casting), self._switch_prompt(shot.transition)]
        self._timer.stop("retrieve")

    @torch.no_grad()
    def chunk(self, latents: Tensor | None = None) -> Chunk:
        """Make the next chunk of the shot: retrieve, denoise, commit, remember.

        `latents`: [1, F, C, h, w] of this very chunk, as an earlier run made it or as a picture gives it: committed
        without being denoised, after which cache and memory are exactly as they were. What its heads read is then not
        known, so its record's use is not to be relied on.
        """
        assert self._segment >= 0, "a walk begins with a shot"
        self._timer.start()
        if (turned := self._shot.turns.get(self._index_in_shot)) is not None:
            self._prompt = self.backbone.project_prompt(turned.unsqueeze(0))
            self._switch_prompt("smooth")
        frames, prompt = self._frames_of(self.index), self._prompt
        left = self.memory.leave(self.cache, self.cache.leaving(frames))
        record = self._record(frames, self._recall(prompt))
        self._timer.stop("retrieve")
        is_given = latents is not None
        latents = (self._denoise(frames, prompt) if latents is None else latents).to(self.backbone.device)
        use = {} if is_given else self.cache.sink_and_bank_use()
        self._timer.stop("denoise")
        self._commit(frames, latents, prompt)
        self._latents.append(latents)
        kept = self.memory.committed(self.cache, self.index, frames.start)
        self._timer.stop("commit")
        record = _complete(record, use, (*self._entered, left, kept))
        chunk = Chunk(self.index, self._segment, latents, record, self._timer.take())
        self._entered = []
        self.index += 1
        self._index_in_shot += 1
        self._index_under_prompt += 1
        return chunk

    def _switch_prompt(self, transition: str) -> Remembered:
        self.memory.switch_prompt(self._prompt)
        self._scores.clear()
        self._index_under_prompt = 0
        if self.index == 0:
            return Remembered()
        if transition == "cut":
            self._latents.clear()
            return self.memory.cut(self.cache, self._frames_of(self.index).start)
        if self.memory.recache != "never":
            self._recache(self._frames_of(self.index), self._prompt)
        return Remembered()

    def _recache(self, coming: range, prompt: PromptProjection) -> None:
        """Run the latents that the coming chunk will see again, clean, under the new prompt."""
        length = self.backbone.geometry.chunk
        if self.memory.recache == "jointly":
            self._recall(prompt)
            latents = torch.cat(list(self._latents), dim=1)
            length = min(self.cache.shape.sink + self.cache.shape.window, latents.shape[1])
            self._commit(range(coming.start - length, coming.start), latents[:, -length:], prompt)
            return
        visible = self.cache.window_before(coming)
        for back in range(len(self._latents), 0, -1):
            frames = range(coming.start - back * length, coming.start - (back - 1) * length)
            if frames.start in visible:
                self._commit(frames, self._latents[-back], prompt)

    def _recall(self, prompt: PromptProjection) -> Recall:
        recall = self.memory.recall(self.cache, prompt)
        self._scores.update(recall.scores)
        return recall

    @doing("running the transformer")
    def _denoise(self, frames: range, prompt: PromptProjection) -> Tensor:
        sampling = self.backbone.sampling
        levels = schedule(sampling, first_chunk=self.index == self._num_given)
        self.cache.begin(frames, keep=False)
        noise = self._noise(self._shot, self._index_in_shot, self._latent_shape)
        halfway = levels[len(levels) // 2].timestep
        hold, times = self._held_picture(frames)

        def under(told: PromptProjection) -> Predict:
            return lambda latents, step: self.backbone.predict(latents, times(step), prompt=told, context=self.cache)

        def answer(latents: Tensor, timestep: float) -> Tensor:
            if timestep == halfway:
                self.cache.choose_again()  # the first pass chose by noise; now queries know who is about to be seen
            return under(prompt)(latents, timestep)

        predict = led(answer, self._lacking(under, frames), until=halfway)
        return denoise(predict, (sample.to(self.backbone.device) for sample in noise), levels, sampling, hold)

    def _lacking(self, under: Callable[[PromptProjection], Predict], frames: range) -> list[Lacking]:
        """What the chunk at hand is led away from. `under`: passes under a prompt."""
        if self._index_under_prompt >= GUIDED_CHUNKS:
            return []
        lacking, banks = [], self.cache.banks_in_view
        pictures = leading_pictures(banks[0], self.memory.whose, self._shot.casting.called)
        if self._no_prompt is not None:  # guidance.py says when its pass keeps the bank
            keeps_bank = self._shot.transition == "cut" or pictures
            bare = without(() if keeps_bank else set().union(*banks), under(self._no_prompt), self.cache, frames)
            lacking.append(Lacking(bare, self.backbone.sampling.guidance_scale - 1))
        if pictures and self._picture_guidance:
            lacking.append(Lacking(without(pictures, under(self._prompt), self.cache, frames), self._picture_guidance))
        return lacking

    def _held_picture(self, frames: range) -> tuple[Callable[[Tensor], Tensor], Callable[[float], Timesteps]]:
        """How the film's first picture stays in its place while its chunk is denoised: it is put back before each pass and
        after the last, and its timestep is that of a clean frame.
        """
        picture = self._first_frame
        if picture is None or frames.start > 0:
            return lambda latents: latents, lambda timestep: timestep
        first = picture.to(self.backbone.device)
        return (
            lambda latents: torch.cat([first, latents[:, 1:]], dim=1),
            lambda timestep: [0.0, *[timestep] * (len(frames) - 1)],
        )

    @doing("running the transformer")
    def _commit(self, frames: range, latents: Tensor, prompt: PromptProjection) -> None:
        """The clean pass: only here do keys and values become permanent."""
        self.cache.begin(frames)
        self.backbone.stage(latents, float(self.backbone.sampling.context_noise), prompt, self.cache)
        self.cache.commit()

    def _frames_of(self, chunk: int) -> range:
        """The latent frames of a chunk."""
        length = self.backbone.geometry.chunk
        return range(chunk * length, (chunk + 1) * length)

    def _record(self, frames: range, recall: Recall) -> ChunkRecord:
        """What the chunk at hand is about to see."""
        banks = self.cache.banks_in_view
        shared = all(bank == banks[0] for bank in banks)
        recalled = dict.fromkeys(frame for bank in banks for frame in bank)
        pixel_frames = self.backbone.geometry.chunk_frame_range(self.index)
        return ChunkRecord(
            chunk=self.index,
            segment=self._segment,
            prompt=self._shot.prompt,
            start_seconds=pixel_frames.start / self._fps,
            end_seconds=pixel_frames.stop / self._fps,
            sink=self.cache.sink_frames,
            window=self.cache.window_before(frames),
            bank=tuple(Recalled(frame, self._scores.get(frame, 0.0)) for frame in recalled),
            candidates=recall.scores,
            layer_banks=() if shared else tuple(tuple(bank) for bank in banks),
            called=self._shot.casting.called,
            recalls_nothing=self._shot.casting.wants_nothing,
            remembers=self._shot.casting.remember,
            whose={frame: names for frame in recalled if (names := self.memory.whose(frame))},
        )


@doing("keeping keys and values")
def _make_cache(
    backbone: Backbone, size: tuple[int, int], needs: CacheNeeds, positions: PositionMode, int8: bool
) -> KVCache:
    geometry = backbone.geometry
    grid = geometry.grid_size(*size)
    return KVCache(
        CacheShape(
            num_layers=geometry.num_layers,
            num_heads=geometry.num_heads,
            head_dim=geometry.head_dim,
            num_tokens=grid[0] * grid[1],
            sink=needs.sink,
            window=geometry.window,
            bank=needs.bank,
            memory_places=geometry.sink + max(geometry.bank, needs.bank),
        ),
        rotate=lambda key, positions: backbone.rotate(key, positions, grid),
        positions=positions,
        activation=needs.activation,
        attend_bank=needs.attend_bank,
        keep_prompt_queries=needs.keep_prompt_queries,
        dtype=backbone.dtype,
        device=backbone.device,
        int8=int8,
    )


def _seeded_noise(shot: Shot, chunk: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    return chunk_noise(shot.seed, chunk, shape)


def _complete(record: ChunkRecord, use: dict[int, float], remembered: Sequence[Remembered]) -> ChunkRecord:
    """The record with what was known only after the chunk: use by attention, and the archive's changes."""
    layers = record.layer_banks
    held = {
        item.frame: sum(item.frame in bank for bank in layers) / len(layers) if layers else 1.0 for item in record.bank
    }
    return replace(
        record,
        bank=tuple(replace(item, use=use.get(item.frame, 0.0) if use else held[item.frame]) for item in record.bank),
        sink_use=tuple(use.get(frame, 0.0) for frame in record.sink) if use else (),
        archived=tuple(frame for part in remembered for frame in part.archived),
        evicted=tuple(frame for part in remembered for frame in part.evicted),
        renewed=tuple(name for part in remembered for name in part.renewed),
        forgotten=tuple(name for part in remembered for name in part.forgotten),
    )
