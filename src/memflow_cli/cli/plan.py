"""`memflow plan`: what a storyboard will become, without loading a model."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memflow_cli.cli import options
from memflow_cli.cli.archive_needs import CACHE_ITEMSIZE, picture_bytes, prototype_bytes
from memflow_cli.cli.batch import Batch
from memflow_cli.cli.prompt_lengths import LostTokens, lost_tokens, warn_of_lost_tokens
from memflow_cli.cli.stories import Story, read_stories, without_traces
from memflow_cli.cli.story_warnings import warn_of_texts
from memflow_cli.cli.talk import result, result_json
from memflow_cli.cli.words import beside, count, shorten
from memflow_cli.errors import UsageError
from memflow_cli.machine.amounts import size_text
from memflow_cli.memory.options import RECALLING
from memflow_cli.models.footprint import card_use, least_bytes, place
from memflow_cli.models.identity import files_below
from memflow_cli.story.calls import Called, calls_of, source_in_words
from memflow_cli.story.texts import clock, one_line

if TYPE_CHECKING:
    from memflow_cli.models.entry import ModelEntry
    from memflow_cli.story.plan import FilmPlan

_BITS_PER_PIXEL = 0.25  # of the encoded film: above what theatre's films take, so that the estimate is on the safe side
_LATENT_ITEMSIZE = 4
_LARGE_CARD = 3 << 30  # bytes


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


@options.with_options
def plan(
    storyboards: options.Storyboards,
    story_options: options.StoryOptions,
    meaning: Annotated[
        bool, typer.Option("--meaning", help="Also show what the model takes each prompt to mean: who, what, where.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show what a storyboard will become: chunks, rounding, length, memory and disk needed.

    No model is loaded and nothing is written. Pictures and sound are read, as far as to know that they can be.
    """
    from memflow_cli.studio.needs import check_given

    overrides = story_options.overrides()
    batch = Batch(as_json, len(storyboards))
    for path in without_traces(storyboards):
        with batch.attempt(path):
            for story in read_stories(path, story_options.segment_seconds, overrides):
                with batch.attempt(path):
                    check_given(story.planned)
                    print_plan(story, as_json, meaning)
    batch.finish()


def print_plan(story: Story, as_json: bool, meaning: bool = False) -> None:
    lost = lost_tokens(story)
    meanings = _meanings(story) if meaning else None
    if as_json:
        document = plan_to_json(story, lost)
        for segment, meant in zip(document["segments"], meanings or ()):
            segment["meaning"] = meant
        result_json(document)
    else:
        result(plan_to_text(story))
        if meanings is not None:
            result("\n".join([*_numbered(f"what {story.entry.name} takes it to mean", meanings), ""]))
    warn_of_texts(story)
    warn_of_lost_tokens(story, lost)


def _meanings(story: Story) -> list[str]:
    """What each segment is taken to mean. Raises UsageError for a model that is given the prompts as they are written."""
    from memflow_cli.models.family import family_of

    segments = story.plan.segments
    cuts = [segment.transition == "cut" for segment in segments]
    prompts, pictured = [segment.prompt for segment in segments], story.storyboard.pictured_descriptions
    found = family_of(story.entry).meanings(story.entry, prompts, cuts, pictured)
    if found is None:
        raise UsageError(
            f"--meaning: {story.entry.name} is given the prompts as they are written", "leave the option out"
        )
    return found


def plan_to_json(story: Story, lost: LostTokens) -> dict[str, Any]:
    """The plan as one JSON document. Its keys are stable. `lost_tokens` is null where it cannot be told."""
    plan, entry, storyboard = story.plan, story.entry, story.storyboard
    rate, calls = plan.fps, _calls(story)
    return {
        "storyboard": str(story.path),
        "title": plan.title,
        "model": entry.name,
        "memory": memory_to_json(story),
        "width": plan.width,
        "height": plan.height,
        "fps": rate,
        "seed": storyboard.seed,
        "chunks": plan.num_chunks,
        "frames": plan.num_frames,
        "seconds": round(plan.seconds, 4),
        "needs": estimate_needs(story),
        "segments": [
            {
                "index": segment.index + 1,
                "prompt": segment.prompt,
                "requested_seconds": segment.requested_seconds,
                "start_seconds": round(segment.start_frame / rate, 4),
                "seconds": round(segment.num_frames / rate, 4),
                "start_chunk": segment.start_chunk,
                "chunks": segment.num_chunks,
                "start_frame": segment.start_frame,
                "frames": segment.num_frames,
                "seed": segment.seed if storyboard.seed is not None else storyboard.segments[segment.index].seed,
                "transition": segment.transition,
                "lost_tokens": lost.of_segment[segment.index] if lost.is_exact else None,
                "meaning": None,
                "calls": [
                    {
                        "name": called.name,
                        "source": called.source,
                        "segment": None if called.segment is None else called.segment + 1,
                    }
                    for called in calls[segment.index]
                ],
                "remember": list(storyboard.segments[segment.index].remember),
                "forget": list(storyboard.segments[segment.index].forget),
            }
            for segment in plan.segments
        ],
    }


def memory_to_json(story: Story) -> dict[str, Any]:
    """The memory's options, the model's own defaults among them."""
    memory = story.storyboard.memory
    return {
        "policy": memory.policy,
        "bank": memory.bank,
        "activate": memory.activate,
        "archive_bytes": memory.archive_bytes,
        "record_interval": memory.record_interval,
        "kv": memory.kv,
    }


def estimate_needs(story: Story) -> dict[str, int]:
    """Bytes: the cache (sink, bank and window), the archive at the film's end, the model's files, the disk."""
    plan, geometry, memory = story.plan, story.plan.geometry, story.storyboard.memory
    bank, activate, kv = memory.num_recalled, memory.num_chosen, memory.kv
    remembered = prototype_bytes(story)
    prototypes = -(-plan.num_chunks // (memory.record_interval or 1)) if memory.knows_names else 0
    latents = plan.num_latent_frames * geometry.latent_bytes_per_frame(plan.width, plan.height, _LATENT_ITEMSIZE)
    pictures = picture_bytes(story)
    archive = max(min(memory.archive_bytes, prototypes * remembered + pictures), pictures)
    film = round(plan.num_frames * plan.width * plan.height * _BITS_PER_PIXEL / 8)
    return {
        "cache_bytes": card_use(story.entry, plan.width, plan.height, bank, CACHE_ITEMSIZE, activate, kv).cache,
        "archive_bytes": archive,
        "model_bytes": _model_bytes(story.entry),
        "card_bytes": place(
            story.entry, plan.width, plan.height, bank, sys.maxsize, activate=activate, kv=kv
        ).num_bytes,
        "least_card_bytes": least_bytes(story.entry, plan.width, plan.height, bank, activate=activate, kv=kv),
        # While rendering: latents, the parts, the film stitched from them; and on a CPU the archive.
        "disk_bytes": latents + 2 * film + archive,
    }


def _model_bytes(entry: "ModelEntry") -> int:
    if entry.folder is None:
        return entry.num_bytes
    return entry.num_bytes + sum(path.stat().st_size for path in files_below(entry.folder))


def plan_to_text(story: Story) -> str:
    plan, storyboard, geometry = story.plan, story.storyboard, story.plan.geometry
    memory, needs = storyboard.memory, estimate_needs(story)
    policy = str(memory.policy)
    if policy in RECALLING:
        policy += f", {count(memory.bank, 'frame')} recalled"
        policy += f", {memory.activate} read by each head" if memory.activate else ""
    policy += ", keys and values in eight bits" if memory.kv == "int8" else ""
    chunk_frames = len(geometry.chunk_frame_range(1))
    chunk = f"{count(plan.num_chunks, 'chunk')} of {chunk_frames} frames ({chunk_frames / plan.fps:g} s)"
    if len(geometry.chunk_frame_range(0)) != chunk_frames:
        chunk += f", the first of {len(geometry.chunk_frame_range(0))}"
    room = f"about {size_text(needs['cache_bytes'] + needs['archive_bytes'])} of memory for cache and archive"
    about = {
        "model": story.entry.name,
        "memory": policy,
        "picture": f"{plan.width}x{plan.height}, {plan.fps} frames a second",
        "length": f"{clock(plan.seconds)} = {count(plan.num_frames, 'frame')} = {chunk}",
        "seed": "drawn when the film is made" if storyboard.seed is None else str(storyboard.seed),
        "needs": f"{room}, {size_text(needs['model_bytes'])} of model, {size_text(needs['disk_bytes'])} of disk",
        **_card(story.entry, needs),
    }
    lines = [
        beside("", one_line(plan.title)),
        *(beside(f"  {name:7}  ", one_line(text)) for name, text in about.items()),
        "",
    ]
    return "\n".join([*lines, *_segments_to_lines(plan), *_calls_to_lines(story)]) + "\n"


def _segments_to_lines(plan: "FilmPlan") -> list[str]:
    rows: list[tuple[str, ...]] = [("#", "start", "length", "asked", "chunks", "prompt")]
    for segment in plan.segments:
        lengths = (f"{seconds:.2f} s" for seconds in (segment.num_frames / plan.fps, segment.requested_seconds))
        cut = "(cut) " if segment.transition == "cut" else ""
        prompt = cut + shorten(one_line(segment.prompt), 72)
        start = clock(segment.start_frame / plan.fps)
        rows.append((str(segment.index + 1), start, *lengths, str(segment.num_chunks), prompt))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        beside("".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths)) + "  ", prompt)
        for *cells, prompt in rows
    ]


def _calls(story: Story) -> list[tuple[Called, ...]]:
    """Whom each segment calls, as far as the film's memory knows who is who."""
    nobody: list[tuple[Called, ...]] = [()] * len(story.plan.segments)
    return calls_of(story.storyboard) if story.storyboard.memory.knows_names else nobody


def _calls_to_lines(story: Story) -> list[str]:
    """Who is called, and where their memory comes from; nothing where nobody is."""
    if not story.storyboard.memory.knows_names:
        return []
    texts = []
    for segment, calls in zip(story.storyboard.segments, _calls(story), strict=True):
        told = [f"{name}: forgotten when it begins" for name in segment.forget]
        told += [f"{called.name}: {source_in_words(called)}" for called in calls]
        told += ["nothing is recalled"] if segment.recall == () else []
        told += [f"{name}: remembered as at its end" for name in segment.remember]
        texts.append("; ".join(told))
    return ["", *_numbered("who is called, and where memory has them from", texts)] if any(texts) else []


def _numbered(heading: str, texts: Sequence[str]) -> list[str]:
    """A line for the text of each segment that has one."""
    width = len(str(len(texts)))
    lines = [beside(f"  {index:{width}}  ", one_line(text)) for index, text in enumerate(texts, start=1) if text]
    return [beside(f"  {'#':>{width}}  ", heading), *lines]


def _card(entry: "ModelEntry", needs: dict[str, int]) -> dict[str, str]:
    """What a GPU must have; nothing for a model that any has memory for."""
    if needs["card_bytes"] < _LARGE_CARD:
        return {}
    everything, least = size_text(needs["card_bytes"]), size_text(needs["least_card_bytes"])
    return {"card": f"about {everything} of a GPU's memory for all of {entry.name}; at least {least} (--vram)"}
