"""What memory is worth, measured on theatre, whose world is known: `python -m benchmarks.memory --out DIR`.

Held-out stories are generated under each memory policy and looked at by the judge (`benchmarks.judge`, trained on true
frames only). Writes memory.json and memory.md.

identity: a puppet that was away for longer than the window returns under a prompt that names its species only; does the
    judge see the colour and accessory that it had before? *one puppet*: the story begins without it, so that the sink
    cannot help. *right one of two*: two puppets came and went in turn, and one is called back.
recall: is a frame that shows the puppet in the bank when it returns?
fidelity: does the first chunk of a film show what its prompt says?
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.judge import Judge, Seen, Verdict, load_judge
from memflow_cli.catalog import find_model
from memflow_cli.geometry import plan_film
from memflow_cli.memory.policies import make_policy
from memflow_cli.pipeline import Backbone, generate_chunks
from memflow_cli.storyboard import MemoryOptions, Segment, Storyboard
from memflow_cli.wan.checkpoints import load_model
from training.captions import captions
from training.data import sample_picture, visibility
from training.world import FIRST_HELD_OUT_SEED, FPS, FRAMES_PER_CHUNK, Puppet, Story, sample_story

POLICIES = {
    "window": MemoryOptions(policy="window"),
    "sink": MemoryOptions(policy="sink"),
    "official": MemoryOptions(policy="official"),
    "nam": MemoryOptions(policy="nam"),
    "nam + SMA": MemoryOptions(policy="nam", activate=3),
}
KINDS = ("one puppet", "right one of two")


@dataclass(frozen=True)
class Return:
    """One return of a puppet, as the judge saw it before and after; None: no such species in view."""

    policy: str
    kind: str
    story_seed: int
    film_seed: int
    before: Seen | None
    after: Seen | None
    truth: tuple[str, str | None, str | None]  # colour, accessory, its colour
    recalled: bool  # a bank frame shows it
    frames_per_second: float

    @property
    def same(self) -> bool:
        return self.before is not None and self.before == self.after


def to_storyboard(story: Story, memory: MemoryOptions, seed: int) -> Storyboard:
    """The story as its author would write it: looks are said once."""
    lines = captions(story, np.random.default_rng(story.seed), said_again=0.0)
    seconds_per_chunk = FRAMES_PER_CHUNK / FPS
    segments = [
        Segment(line, beat.num_chunks * seconds_per_chunk, transition="cut" if beat.cut else "smooth")
        for line, beat in zip(lines, story.beats, strict=True)
    ]
    return Storyboard(title=story.kind, segments=tuple(segments), seed=seed, memory=memory)


def film_frames(backbone: Backbone, storyboard: Storyboard, size: tuple[int, int]) -> Iterator[tuple]:
    """A film chunk by chunk: (record, frames uint8 [12, height, width, 3])."""
    plan = plan_film(storyboard, backbone.geometry, size)
    policy = make_policy(storyboard.memory, plan.geometry)
    embeds = [backbone.encode_prompts([segment.prompt])[0] for segment in plan.segments]
    decoder = backbone.decoder()
    decoder.reset()
    for chunk in generate_chunks(backbone, plan, policy, embeds):
        yield chunk.record, (decoder.decode(chunk.latents[0]) * 255).round().byte().numpy()


def majority(verdicts: Sequence[Verdict], species: str) -> Seen | None:
    """What most frames say of a species; None if most do not show it."""
    seen = [verdict.of(species) for verdict in verdicts]
    return max(set(seen), key=seen.count)


def watch_return(
    backbone: Backbone, judge: Judge, policy: str, story: Story, seed: int, size: tuple[int, int]
) -> Return:
    """Generate a story and compare the returning puppet with what it was."""
    beats = story.beats
    puppet_index = next(iter(beats[-1].acts))
    puppet = story.puppets[puppet_index]
    starts = story.beat_starts
    entered = next(i for i, beat in enumerate(beats) if puppet_index in beat.acts)
    returned = len(beats) - 2
    # it walks for two chunks, then stands; looked at from there to the beat's end, and after its return to the film's
    before = range(starts[entered] + 2, starts[entered] + beats[entered].num_chunks)
    after = range(starts[returned] + 2, story.num_chunks)
    shown = visibility(story)[puppet_index]
    views: dict[str, list[Verdict]] = {"before": [], "after": []}
    recalled, started = False, time.perf_counter()
    for record, frames in film_frames(backbone, to_storyboard(story, POLICIES[policy], seed), size):
        for name, chunks in (("before", before), ("after", after)):
            if record.chunk in chunks:
                views[name] += judge.verdicts(frames[1::4])
        if record.chunk == starts[returned]:
            recalled = any(bool(shown[item.frame // backbone.geometry.chunk]) for item in record.bank)
    return Return(
        policy,
        story.kind,
        story.seed,
        seed,
        majority(views["before"], puppet.species),
        majority(views["after"], puppet.species),
        (puppet.colour, puppet.accessory, puppet.accessory_colour),
        recalled,
        story.num_chunks * FRAMES_PER_CHUNK / (time.perf_counter() - started),
    )


def watch_opening(
    backbone: Backbone, judge: Judge, story: Story, seed: int, size: tuple[int, int]
) -> dict[str, list[bool]]:
    """Generate one chunk of an opening scene: which of the prompt's words came true?"""
    line = captions(story, np.random.default_rng(story.seed))[0]
    storyboard = Storyboard("opening", (Segment(line, FRAMES_PER_CHUNK / FPS),), seed=seed, memory=POLICIES["sink"])
    (_, frames), *_ = film_frames(backbone, storyboard, size)
    verdict = judge.verdicts(frames[5:6])[0]
    wanted = {puppet.species: puppet for puppet in story.puppets}
    right: dict[str, list[bool]] = {
        "setting": [verdict.setting == story.beats[0].setting],
        "species": [{seen.species for seen in verdict.puppets} == set(wanted)],
        "colour": [],
        "accessory": [],
    }
    for species, puppet in wanted.items():
        seen = verdict.of(species)
        right["colour"].append(seen is not None and seen.colour == puppet.colour)
        right["accessory"].append(seen is not None and seen.accessory == worn_by(puppet))
    return right


def worn_by(puppet: Puppet) -> tuple[str, str] | None:
    return (puppet.accessory, puppet.accessory_colour) if puppet.accessory and puppet.accessory_colour else None


def share(values: Sequence[bool]) -> dict[str, float]:
    """Share of true with its 95% Wilson interval, in percent."""
    n, z = len(values), 1.96
    if not n:
        return {"n": 0, "percent": math.nan, "low": math.nan, "high": math.nan}
    p = sum(values) / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * spread) / (1 + z * z / n) for sign in (-1, 1))
    return {"n": n, "percent": round(100 * p, 1), "low": round(100 * low, 1), "high": round(100 * high, 1)}


def summarise(returns: Sequence[Return]) -> dict[str, dict]:
    """By policy and kind of story."""
    table: dict[str, dict] = {}
    for policy in dict.fromkeys(item.policy for item in returns):
        own = [item for item in returns if item.policy == policy]
        table[policy] = {"frames_per_second": round(float(np.median([item.frames_per_second for item in own])), 1)}
        for kind in KINDS:
            of_kind = [item for item in own if item.kind == kind]
            table[policy][kind] = {
                "identity": share([item.same for item in of_kind]),
                "colour kept": share(
                    [bool(item.before and item.after and item.before.colour == item.after.colour) for item in of_kind]
                ),
                "recall": share([item.recalled for item in of_kind]),
            }
    return table


def _cell(value: dict[str, float]) -> str:
    return f"{value['percent']:.0f} ({value['low']:.0f}-{value['high']:.0f})"


def markdown(table: dict[str, dict], fidelity: dict[str, dict]) -> str:
    """Percent, with 95% intervals."""
    lines = [
        "| policy | " + " | ".join(f"{kind}: {name}" for kind in KINDS for name in ("identity", "colour", "recall"))
    ]
    lines[0] += " | frames/s |"
    lines.append("|" + "---|" * (2 + 3 * len(KINDS)))
    for policy, row in table.items():
        cells = [_cell(row[kind][name]) for kind in KINDS for name in ("identity", "colour kept", "recall")]
        lines.append(f"| {policy} | " + " | ".join(cells) + f" | {row['frames_per_second']} |")
    if fidelity:
        questions = ("setting", "species", "colour", "accessory")
        lines += ["", "| prompts | " + " | ".join(questions) + " |", "|" + "---|" * (1 + len(questions))]
        for name, row in fidelity.items():
            lines.append(f"| {name} | " + " | ".join(_cell(row[question]) for question in questions) + " |")
    return "\n".join(lines) + "\n"


def measure_fidelity(backbone: Backbone, judge: Judge, count: int, size: tuple[int, int]) -> dict[str, dict]:
    """On combinations seen in training (scenes never seen), and on held-out combinations."""
    result: dict[str, dict] = {}
    for name in ("seen combinations", "held-out combinations") if count else ():
        answers: dict[str, list[bool]] = {"setting": [], "species": [], "colour": [], "accessory": []}
        for number in range(count):
            seed = FIRST_HELD_OUT_SEED + number
            scene = sample_picture(seed, held_out=name.startswith("held")).story
            for question, right in watch_opening(backbone, judge, scene, seed, size).items():
                answers[question] += right
        result[name] = {question: share(values) for question, values in answers.items()}
    return result


@dataclass(frozen=True)
class Bench:
    """Model and judge of one process."""

    backbone: Backbone
    judge: Judge
    size: tuple[int, int]

    @classmethod
    def load(cls, judge: Path, dtype: str, score: str | None) -> "Bench":
        torch.set_num_threads(1)
        if score:
            for name in ("nam", "nam + SMA"):
                POLICIES[name] = replace(POLICIES[name], score=score)
        entry = find_model("theatre")
        return cls(load_model(entry, dtype=getattr(torch, dtype)), load_judge(judge), (entry.width, entry.height))


_bench: list[Bench] = []  # of a worker process


def _begin(*settings) -> None:
    _bench.append(Bench.load(*settings))


def _watch(job: tuple[int, int, str]) -> Return:
    number, seed, policy = job
    story = sample_story(FIRST_HELD_OUT_SEED + number, KINDS[number % len(KINDS)])
    return watch_return(_bench[0].backbone, _bench[0].judge, policy, story, seed, _bench[0].size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True, help="what `python -m benchmarks.judge` wrote")
    parser.add_argument("--stories", type=int, default=100, help="held-out stories, half of each kind")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--openings", type=int, default=100, help="prompts for fidelity, for each kind of combination")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--score", help="nam's retrieval score; default: the product's")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    settings = options.judge, options.dtype, options.score
    jobs = [
        (number, seed, policy)
        for number in range(options.stories)
        for seed in range(options.seeds)
        for policy in options.policies
    ]
    with get_context("spawn").Pool(options.processes, _begin, settings) as pool:
        returns = pool.map(_watch, jobs, chunksize=1)
    bench = Bench.load(*settings)
    fidelity = measure_fidelity(bench.backbone, bench.judge, options.openings, bench.size)
    table = summarise(returns)
    rows = [asdict(item) | {"same": item.same} for item in returns]
    content = {"identity": table, "fidelity": fidelity, "returns": rows}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "memory.json").write_text(json.dumps(content, indent=2) + "\n")
    (options.out / "memory.md").write_text(markdown(table, fidelity))
    print(markdown(table, fidelity))


if __name__ == "__main__":
    main()
