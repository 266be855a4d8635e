"""`memflow bench`: how fast a model is here, and what its memory costs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli import options
from memflow_cli.cli.acceleration import Accelerate, parse_accelerations, speed_up
from memflow_cli.cli.device import check_names, choose_device, choose_dtype
from memflow_cli.cli.progress import chunk_bar
from memflow_cli.cli.talk import note, result, result_json
from memflow_cli.cli.words import beside, count, table
from memflow_cli.errors import UsageError
from memflow_cli.machine.amounts import size_text

if TYPE_CHECKING:
    from memflow_cli.bench.speed import BenchReport

PROMPTS = ("a red fox walks to the right in a meadow", "the fox jumps")


def register(app: typer.Typer) -> None:
    app.command("bench")(bench)


@dataclass(frozen=True)
class BenchOptions:
    """As they stand on the command line; the methods say what they mean. Each raises UsageError for what cannot be."""

    model: options.Model = "theatre"
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Random numbers in the model's shape: nothing to download.")
    ] = False
    policies: Annotated[
        str,
        typer.Option(
            "--policies",
            metavar="LIST",
            help="Policies to compare; add +sma to one for sparse reading, +int8 for keys and values in eight bits.",
        ),
    ] = "window,sink,nam,nam+sma,official"
    chunks: Annotated[int, typer.Option("--chunks", metavar="N", help="Length of each film; the first 12 warm up.")] = (
        40
    )
    kv: options.Kv = None
    size: options.Size = None
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    accelerate: Accelerate = ""
    overlap: Annotated[
        bool | None,
        typer.Option(
            "--overlap/--no-overlap",
            help="Also measure decode and encode beside the denoising.  [where generate does so]",
        ),
    ] = None
    as_json: options.Json = False

    def names(self) -> list[str]:
        """The policies to compare, each with what is asked of all."""
        names = [name.strip() for name in self.policies.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise UsageError(
                f"--policies {self.policies[:80]}: name each policy once", "for example window,sink,nam+sma"
            )
        for_all = "+int8" if self.kv is not None and self.kv.value == "int8" else ""
        return [name if for_all and name.endswith(for_all) else name + for_all for name in names]

    def accelerations(self) -> tuple[str, ...]:
        return parse_accelerations(self.accelerate)

    def width_and_height(self) -> tuple[int, int] | None:
        """None: the model's own."""
        if not self.size:
            return None
        width, times, height = self.size.lower().partition("x")
        if not (times and width.isdecimal() and height.isdecimal()):
            raise UsageError(f"--size {self.size[:40]}: not of the form WIDTHxHEIGHT", "for example --size 224x128")
        return int(width), int(height)


@options.with_options
def bench(given: BenchOptions) -> None:
    """Measure frames a second, end to end, and the cost of memory.

    All policies make a film at the same time, a chunk each in turn; ratios are taken chunk by chunk, those of overlap
    over blocks of 8 chunks.
    """
    check_names(given.device, given.dtype)
    for option in (given.names, given.accelerations, given.width_and_height):
        option()  # a wrong one is told before anything heavy is imported
    what, report = _measure(given)
    note(f"{what}, {count(given.chunks, 'chunk')} a policy")
    if given.as_json:
        result_json(report.to_json() | {"what": what})
    else:
        result(tables(report))


def _measure(given: BenchOptions) -> "tuple[str, BenchReport]":
    """What was measured, in words, and how fast it was."""
    from memflow_cli.bench.speed import num_chunks, run_bench
    from memflow_cli.machine.out_of_memory import memory_errors
    from memflow_cli.models.catalog import find_model
    from memflow_cli.models.load import load_model, random_model
    from memflow_cli.models.wan.random_weights import random_prompts

    names, accelerations = given.names(), given.accelerations()
    entry = find_model(given.model or "theatre")
    place = choose_device(given.device)
    load = random_model if given.random_weights else load_model
    width, height = given.width_and_height() or (entry.width, entry.height)
    prompts = random_prompts(entry, len(PROMPTS)) if given.random_weights else PROMPTS
    overlapped = entry.policy if entry.policy in names else names[0]
    total = num_chunks(entry.geometry, given.chunks, given.overlap is not False)
    with (
        memory_errors(f"at {width}x{height}", "fewer --policies at a time, or a smaller --size, need less"),
        chunk_bar(total, f"loading {entry.name}", shown=not given.as_json) as on_chunk,
    ):
        backbone = load(entry, place, choose_dtype(given.dtype, place))
        speed_up(entry, backbone, accelerations)
        report = run_bench(backbone, (width, height), names, given.chunks, prompts, on_chunk, overlapped, given.overlap)
    what = f"{entry.name} {width}x{height} on {place}, {str(backbone.dtype).removeprefix('torch.')}"
    what += "".join(f", {name}" for name in accelerations)
    return what, report


def tables(report: "BenchReport") -> str:
    """The report for people: speed and stages, work against what the machine can do, and the cost of memory."""
    content = report.to_json()
    policies, ceilings, overlap = content["policies"], content["ceilings"], content["overlap"]
    stages = [["ms a chunk", "frames/s", "all", *policies[0]["stages"]]]
    work = [["while the model computes", "TFLOP/s", "GB/s"]]
    for item in policies:
        spent = [item["chunk_seconds"], *item["stages"].values()]
        rate = f"{item['frames_per_second']:.1f}"
        stages.append([item["policy"], rate, *(f"{1000 * seconds:.1f}" for seconds in spent)])
        flops = _rate(item["flops_per_second"], ceilings["flops"], 1e12)
        work.append([item["policy"], flops, _rate(item["bytes_per_second"], ceilings["bytes_per_second"], 1e9)])
    work.append(
        ["this machine", f"{ceilings['flops'] / 1e12:.3g} (100%)", f"{ceilings['bytes_per_second'] / 1e9:.3g} (100%)"]
    )
    ratios = [["time of", "over", "median", "quartiles"]]
    for ratio in [*content["ratios"], *([overlap] if overlap else [])]:
        low, high = ratio["quartiles"]
        ratios.append([ratio["policy"], ratio["to"], f"{ratio['median']:.3f}", f"{low:.3f} - {high:.3f}"])
    memory = f"{size_text(content['peak_bytes'])} of memory for all policies together"
    notes = [f"first frames after {content['first_frame_seconds']:.2f} s; {memory}"]
    if overlap:
        notes.append(f"{overlap['policy']}: {overlap['frames_per_second']:.1f} frames/s")
    notes = [beside("", text) for text in notes]
    return "\n\n".join([table(stages), table(work), *([table(ratios)] if len(ratios) > 1 else []), *notes])


def _rate(rate: int | None, ceiling: int, unit: float) -> str:
    """Work a second while the model computes, and its share of what the machine can do."""
    return "-" if rate is None else f"{rate / unit:.3g} ({rate / ceiling:.0%})"
