"""What memory is worth, measured on theatre, whose world is known: `python -m benchmarks.memory --out DIR`.

Held-out stories are generated under each memory policy and looked at by the judge (`benchmarks.judge`, trained on true
frames only, its weights beside it). Writes memory.json, memory.md and identity.svg, all with 95% intervals.

identity (`benchmarks.returns`): a puppet that was away for longer than the window returns under a prompt that names its
    species only; does the judge see the colour and accessory that it had before? On stories of two puppets also with banks
    that ignore the prompt: *most recent* and *chance*.
recall: does a frame in the bank show the puppet when it returns? In these films, and on drawn stories for each retrieval
    score (`benchmarks.recall`).
fidelity (`benchmarks.openings`): do a film's first chunks show what the prompt says? Setting, actions and who is there also
    over whole films of every policy.
both at once (`benchmarks.both`): two puppets in one scene: does each keep its looks when both have left and are called back,
    and does the one act, alone, who is told to?
cuts (`benchmarks.cuts`): who is there after a cut, with its looks, and once?
drift (`benchmarks.drift`): fidelity and picture statistics at 60 s against 5 s.

Every film's result is a line of films-MODEL.jsonl, written as it comes: the same command goes on where it was stopped, more
stories or seeds add to it, and `--minutes` stops early; the tables tell how many there were. One thread a process; frames a
second are those of a film while the other processes make theirs.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors import safe_open

import memflow_cli
from benchmarks import both, cuts, drift, intervals, returns, summary, tables
from benchmarks.both import Together, watch_both
from benchmarks.cuts import watch_cut
from benchmarks.drift import Minute, watch_minute
from benchmarks.films import BASELINES, BY_DEFAULT, POLICIES, Studio, change_nam, film_frames
from benchmarks.judge import WEIGHTS, Seen, load_judge
from benchmarks.openings import COMBINATIONS, watch_opening
from benchmarks.recall import recall_of_story, summarise_recall
from benchmarks.returns import KINDS, Return, watch_return
from benchmarks.summary import (
    paired_differences,
    summarise_both,
    summarise_cuts,
    summarise_drift,
    summarise_openings,
    summarise_returns,
)
from benchmarks.tables import identity_plot, markdown
from memflow_cli.machine.device import fast_dtype
from memflow_cli.models.catalog import THEATRE_FOLDER, find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.autoencoder import PatchAutoencoder
from training import world

__all__ = ["POLICIES", "film_frames", "main"]


PACKAGE = Path(memflow_cli.__file__).parent
CODE = (
    PACKAGE,
    PACKAGE / "film",
    PACKAGE / "memory",
    PACKAGE / "models" / "theatre",
    PACKAGE / "models" / "wan",
    Path(__file__).parent,
    Path(world.__file__).parent,
)
TABLES = {Path(module.__file__) for module in (summary, tables, intervals)}  # what only reads rows


@dataclass(frozen=True)
class Settings:
    """What a row depends on, besides its own job."""

    judge: Path
    dtype: str
    score: str | None = None
    bank: int | None = None
    size: tuple[int, int] | None = None
    model: str = "theatre"
    guidance_scale: float | None = None

    def fingerprint(self) -> str:
        """Of the model's files, the judge's, all code that makes and judges films, and how it is run."""
        asked = f"{self.dtype} {self.score} {self.bank} {self.size} {self.guidance_scale}"
        digest = hashlib.sha256(asked.encode())
        folder = find_model(self.model).folder
        assert folder is not None, "--model is a folder"
        files = [path for path in folder.rglob("*") if path.is_file()] + [self.judge]
        for folder in CODE:
            files += folder.glob("*.py")
        for path in sorted(set(files) - TABLES):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:10]


@dataclass(frozen=True)
class Job:
    """One thing to measure; `name` is a policy, or a kind of combination."""

    part: str  # of PARTS
    number: int
    name: str = ""
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.part}/{self.number}/{self.seed}/{self.name}"


def plan_jobs(
    openings: int,
    cuts: int,
    recall: int,
    minutes: int,
    stories: int,
    seeds: int,
    policies: list[str],
    drifting: list[str],
    both: int = 0,
    first: int = 0,
) -> Iterator[Job]:
    """In the order in which they are done: all policies of a story together, so that stopping early leaves pairs. `first`:
    the number of each part's first story.
    """

    def numbers(count: int) -> range:
        return range(first, first + count)

    yield from (Job("opening", number, name) for number in numbers(openings) for name in COMBINATIONS)
    yield from (Job("cut", number) for number in numbers(cuts))
    yield from (Job("recall", number) for number in numbers(recall))
    yield from (Job("drift", number, policy) for number in numbers(minutes) for policy in drifting)
    for seed in range(seeds):
        yield from (
            Job("both", number, policy, seed) for number in numbers(both) for policy in policies if policy in POLICIES
        )
        for number in numbers(stories):
            asked = [p for p in policies if p not in BASELINES or KINDS[number % len(KINDS)] == "right one of two"]
            yield from (Job("return", number, policy, seed) for policy in asked)


def _measure_opening(studio: Studio, job: Job) -> dict:
    return {"combinations": job.name, "right": watch_opening(studio, job.number, job.name)}


def _measure_cut(studio: Studio, job: Job) -> dict:
    return watch_cut(studio, cuts.story_of(job.number))


def _measure_recall(studio: Studio, job: Job) -> dict:
    autoencoder = PatchAutoencoder.from_pretrained(THEATRE_FOLDER / "vae")
    return recall_of_story(studio.backbone, autoencoder, job.number)


def _measure_drift(studio: Studio, job: Job) -> dict:
    return asdict(watch_minute(studio, drift.story_of(job.number), job.name))


def _measure_return(studio: Studio, job: Job) -> dict:
    return asdict(watch_return(studio, returns.story_of(job.number), job.name, job.seed))


def _measure_both(studio: Studio, job: Job) -> dict:
    return asdict(watch_both(studio, both.story_of(job.number), job.name, job.seed))


PARTS: dict[str, Callable[[Studio, Job], dict]] = {
    "opening": _measure_opening,
    "cut": _measure_cut,
    "recall": _measure_recall,
    "drift": _measure_drift,
    "return": _measure_return,
    "both": _measure_both,
}


def to_return(row: dict) -> Return:
    """A row as it was before it became JSON."""
    looks = {name: _to_seen(row[name]) for name in ("before", "after", "told")}
    return Return(**(row | looks))  # type: ignore[arg-type]


def _to_seen(value: dict | None) -> Seen | None:
    if value is None:
        return None
    worn = value["accessory"]
    return Seen(value["species"], value["colour"], (worn[0], worn[1]) if worn else None)


def open_studio(settings: Settings) -> Studio:
    torch.set_num_threads(1)
    change_nam(settings.score, settings.bank)
    entry = find_model(settings.model)
    if settings.guidance_scale is not None:
        entry = replace(entry, sampling=replace(entry.sampling, guidance_scale=settings.guidance_scale))
    backbone = load_model(entry, dtype=getattr(torch, settings.dtype))
    return Studio(backbone, load_judge(settings.judge), settings.size or (entry.width, entry.height))


_studio: list[Studio] = []  # of a worker process


def _begin(settings: Settings) -> None:
    _studio.append(open_studio(settings))


def _measure(job: Job) -> tuple[Job, dict]:
    return job, PARTS[job.part](_studio[0], job)


def read_rows(path: Path) -> dict[str, dict]:
    """key -> row; a last line torn by a kill is left out."""
    rows = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row.pop("key")] = row
    return rows


@contextmanager
def _workers(processes: int, settings: Settings) -> Iterator[Callable[[list[Job]], Iterable[tuple[Job, dict]]]]:
    """Runs jobs: one process is this one, so that nothing is asked of the system that a small container may not have."""
    if processes == 1:
        _begin(settings)
        yield lambda jobs: map(_measure, jobs)
    else:
        with get_context("spawn").Pool(processes, _begin, (settings,)) as pool:
            yield lambda jobs: pool.imap_unordered(_measure, jobs, chunksize=1)


def measure(jobs: list[Job], settings: Settings, path: Path, processes: int, minutes: float | None) -> None:
    """Append a line for each job, until all are done or the time is over."""
    started = time.monotonic()
    if not jobs:
        return
    with _workers(processes, settings) as run, path.open("a") as file:
        for count, (job, row) in enumerate(run(jobs), 1):
            file.write(json.dumps({"key": job.key} | row) + "\n")
            file.flush()
            spent = (time.monotonic() - started) / 60
            if count % 20 == 0:
                print(f"{count} of {len(jobs)} done in {spent:.1f} minutes", flush=True)
            if minutes is not None and spent > minutes:
                print(f"time is over: {count} of {len(jobs)} done", flush=True)
                break


def summarise(rows: dict[str, dict], judge: Path) -> dict:
    """All tables, from rows by key."""
    parts: dict[str, list[dict]] = {part: [] for part in PARTS}
    for key in sorted(rows, key=_order):
        parts[key.split("/")[0]].append(rows[key])
    watched = [to_return(row) for row in parts["return"]]
    with safe_open(judge, "pt") as file:
        accuracy = json.loads((file.metadata() or {}).get("accuracy", "{}"))
    return {
        "returns": summarise_returns(watched),
        "differences": paired_differences(watched),
        "both": summarise_both([Together(**row) for row in parts["both"]]),
        "openings": summarise_openings(parts["opening"]) if parts["opening"] else {},
        "cuts": summarise_cuts(parts["cut"]),
        "drift": summarise_drift([Minute(**row) for row in parts["drift"]]),
        "recall": summarise_recall(parts["recall"]),
        "judge": accuracy,
    }


def _order(key: str) -> tuple:
    """Policies in the order of their names in POLICIES, stories in that of their numbers."""
    part, number, seed, name = key.split("/")
    names = [*POLICIES, *BASELINES, *COMBINATIONS, ""]
    return part, names.index(name), int(seed), int(number)


def _size(text: str) -> tuple[int, int]:
    width, height = (int(number) for number in text.split("x"))
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="what `python -m benchmarks.train_judge` wrote")
    parser.add_argument("--stories", type=int, default=100, help="held-out stories, half of each kind")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--first", type=int, default=0, help="number of each part's first story: others, to choose by, begin at 5000000"
    )
    parser.add_argument("--openings", type=int, default=100, help="prompts for fidelity, for each kind of combination")
    parser.add_argument("--both", type=int, default=40, help="stories of two at once")
    parser.add_argument("--cuts", type=int, default=60, help="films with a cut")
    parser.add_argument("--recall", type=int, default=60, help="drawn stories for recall by score")
    parser.add_argument("--drift", type=int, default=16, help="films of a minute")
    names = [*POLICIES, *BASELINES]
    parser.add_argument("--policies", nargs="+", choices=names, default=[*BY_DEFAULT, *BASELINES])
    parser.add_argument("--drift-policies", nargs="+", choices=names, default=["nam"])
    parser.add_argument("--model", default="theatre", help="a folder with other weights of theatre")
    parser.add_argument("--guidance-scale", type=float, help="of the sampling, 1: no guidance; default: the model's")
    parser.add_argument("--score", help="nam's retrieval score; default: the product's")
    parser.add_argument("--bank", type=int, help="latent frames in nam's bank; default: the product's")
    fast = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=fast, help="default: this CPU's fast one")
    parser.add_argument(
        "--size", type=_size, help="of the pictures that are judged, as 224x128; default: theatre's own"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after this time; the same command goes on")
    options = parser.parse_args()
    settings = Settings(
        options.judge, options.dtype, options.score, options.bank, options.size, options.model, options.guidance_scale
    )
    options.out.mkdir(parents=True, exist_ok=True)
    others = f"-from-{options.first}" if options.first else ""  # never in one table with the others
    path = options.out / f"films-{settings.fingerprint()}{others}.jsonl"
    names = ("openings", "cuts", "recall", "drift", "stories", "seeds", "policies", "drift_policies", "both", "first")
    jobs = plan_jobs(*(getattr(options, name) for name in names))
    done = read_rows(path)
    measure([job for job in jobs if job.key not in done], settings, path, options.processes, options.minutes)
    content = {
        "model": settings.fingerprint() + others,
        "size": "x".join(map(str, options.size)) if options.size else "theatre's own",
        "machine": {"cores": os.cpu_count(), "processes": options.processes, "threads": 1, "dtype": options.dtype},
    } | summarise(read_rows(path), options.judge)
    (options.out / "memory.json").write_text(json.dumps(content, indent=1) + "\n")
    (options.out / "memory.md").write_text(markdown(content))
    (options.out / "identity.svg").write_text(identity_plot(content["returns"]))
    print(markdown(content))


if __name__ == "__main__":
    main()
