"""Where a chunk's time goes: python -m benchmarks.profile [--policy nam] [--chunks 8]

A film in its steady state, measured twice: as it is, by stage; then under torch's profiler, by part of the transformer and
by operator. The profiler slows everything that consists of small operators, so the stages' times are those to go by, and
of the rest only the shares. A small model's blocks on a CPU run fused, and only with --plain have parts that can be told
apart. Prints tables in markdown, milliseconds a chunk.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.chosen_model import add_model_options, load_chosen
from memflow_cli.bench.speed import STAGES, Lane, bench_plan, steady_after
from memflow_cli.cli.bench import PROMPTS
from memflow_cli.models.load import load_model
from memflow_cli.models.wan.random_weights import random_model, random_prompts

PART = "part: "  # marks our own records among the operators'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument(
        "--plain", action="store_true", help="the plain blocks, whose parts the profiler can tell apart"
    )
    parser.add_argument("--policy", default="nam")
    parser.add_argument("--chunks", type=int, default=8, help="chunks that are measured, twice")
    parser.add_argument("--top", type=int, default=16, help="parts and operators that are listed")
    options = parser.parse_args()
    chosen = load_chosen(options, random_model if options.random_weights else load_model)
    entry, place, backbone, size = chosen.entry, chosen.place, chosen.backbone, chosen.size
    if options.plain:
        backbone.transformer.parts = None
    embeds = (
        random_prompts(entry, 2)
        if options.random_weights
        else torch.cat([backbone.encode_prompts([p]) for p in PROMPTS])
    )
    warm_up = steady_after(backbone.geometry)
    plan = bench_plan(backbone.geometry, size, warm_up + 2 * options.chunks)
    with tempfile.TemporaryDirectory(prefix="memflow-profile-") as folder:
        film = Lane(backbone, plan, options.policy, embeds, Path(folder, "film.mp4"))
        for _ in range(warm_up):
            film.step(counted=False)
        for _ in range(options.chunks):
            film.step(counted=True)
        figures = film.figures
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (place.type == "cuda")
        with parts_recorded(getattr(backbone, "transformer", None)), profile(activities=activities) as profiler:
            for _ in range(options.chunks):
                film.step(counted=False)
        film.close()
    print(f"{entry.name} {size[0]}x{size[1]}, {options.policy}, on {place}, {torch.get_num_threads()} threads\n")
    print("| stage | ms a chunk | share |\n|---|---|---|")
    for stage in STAGES:
        spent = statistics.median(figures.stage_seconds[stage])
        print(f"| {stage} | {1000 * spent:.1f} | {spent / figures.seconds:.0%} |")
    print(f"| all | {1000 * figures.seconds:.1f} | |")
    print_operators(profiler.key_averages(), options.chunks, options.top, on_gpu=place.type == "cuda")


@contextmanager
def parts_recorded(transformer: nn.Module | None) -> Iterator[None]:
    """Records every call of the transformer's parts."""
    open_records: dict[nn.Module, list[record_function]] = defaultdict(list)

    def enter(module: nn.Module, arguments: object, name: str) -> None:
        record = record_function(PART + name)
        record.__enter__()
        open_records[module].append(record)

    def leave(module: nn.Module, arguments: object, result: object) -> None:
        open_records[module].pop().__exit__(None, None, None)

    with ExitStack() as hooks:
        for name, module in named_parts(transformer) if transformer is not None else ():
            before = module.register_forward_pre_hook(lambda m, a, name=name: enter(m, a, name))
            hooks.callback(before.remove)
            hooks.callback(module.register_forward_hook(leave).remove)
        yield


def named_parts(transformer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The transformer's own parts, and all parts of its blocks, by one name for all blocks. What is never called has no row."""
    for name, part in transformer.named_children():
        if isinstance(part, nn.ModuleList):
            for block in part:
                yield from ((f"{name}.{inner}", module) for inner, module in block.named_modules() if inner)
        else:
            yield name, part


def print_operators(averages, chunks: int, top: int, on_gpu: bool) -> None:
    """The profiler's table in short. On a GPU the time is that of its kernels, else the operators' own on the CPU."""
    of_part = "device_time_total" if on_gpu else "cpu_time_total"
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    parts = [event for event in averages if event.key.startswith(PART)]
    operators = [event for event in averages if not event.key.startswith(PART)]
    whole = sum(getattr(event, own) for event in averages)
    for title, events, value in (
        ("part (all that it calls)", parts, of_part),
        ("operator (its own time)", operators, own),
    ):
        print(f"\n| {title} | ms a chunk, profiled | share | calls a chunk |\n|---|---|---|---|")
        for event in sorted(events, key=lambda event: -getattr(event, value))[:top]:
            spent = getattr(event, value)  # microseconds
            name = event.key.removeprefix(PART)
            print(f"| {name} | {spent / 1000 / chunks:.1f} | {spent / whole:.0%} | {event.count / chunks:.0f} |")


if __name__ == "__main__":
    main()
