"""Which step of the engine buys what: python -m benchmarks.steps

The same film is made by several engines at the same time, a block of chunks each in turn, so that a machine whose speed
drifts gives the same ratios. The first engine is the plain one: fp32, the prompt's keys computed in every pass, a commit pass
that goes to the end, rotation and attention by torch's own operators, blocks and painter layer by layer, all threads for each,
decode and encode in turn. Each of the others adds one step; the last one, which must be asked for, is added to the blocks that it
replaces. Prints a table in
markdown: frames a second, the time of a block over that of the step before (median and quartiles), over the plain engine's, and
whether the film is the step before's, byte for byte.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.chosen_model import add_model_options, load_chosen
from memflow_cli.attention_context import AttentionContext, PromptProjection
from memflow_cli.bench.speed import Lane, bench_plan, steady_after
from memflow_cli.cli.bench import PROMPTS
from memflow_cli.film.overlap import AHEAD
from memflow_cli.models.catalog import ModelEntry
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.painting import PaintedSizes
from memflow_cli.models.wan.acceleration import accelerate
from memflow_cli.models.wan.attention import attend_fused, rotate_by_parts
from memflow_cli.models.wan.model import WanModel

Load = Callable[[ModelEntry, torch.device, torch.dtype], WanModel]


def compute_prompt_keys_every_pass(model: WanModel) -> None:
    """The slow twin of projecting a prompt once a segment."""

    def whole_pass(latents: Tensor, timestep: float, prompt: PromptProjection, context: AttentionContext) -> Tensor:
        return plain(latents, timestep, model.project_prompt(prompt.embeds), context)

    plain = model.whole_pass
    model.whole_pass = whole_pass


def commit_by_a_whole_pass(model: WanModel) -> None:
    """The slow twin of `WanModel.stage`: the last block's tail and the head are computed, and thrown away."""

    def stage(latents: Tensor, timestep: float, prompt: PromptProjection, context: AttentionContext) -> None:
        model.predict(latents, timestep, prompt, context)

    model.stage = stage  # type: ignore[method-assign]


def rotate_part_by_part(model: WanModel) -> None:
    """The slow twin of rotating as complex numbers."""
    model.transformer.rotate = rotate_by_parts


def attend_by_fused_kernels(model: WanModel) -> None:
    """The slow twin, on a CPU, of attention spelled out."""
    model.transformer.attend = attend_fused


def run_plain_blocks(model: WanModel) -> None:
    """The slow twin of wan/fused.py."""
    model.transformer.parts = None


def paint_layer_by_layer(model: WanModel) -> None:
    """The slow twin of theatre/fused_painter.py."""
    sizes = getattr(model._make_decoder_at, "__self__", None)
    if isinstance(sizes, PaintedSizes):
        sizes.fused = None


PLAIN = (run_plain_blocks, paint_layer_by_layer)
ALL_SLOW = (
    commit_by_a_whole_pass,
    compute_prompt_keys_every_pass,
    rotate_part_by_part,
    attend_by_fused_kernels,
    *PLAIN,
)


@dataclass(frozen=True)
class Engine:
    """What makes a film; `slow`: the twins that it still runs, `ahead`: chunks decoded and encoded beside the denoising."""

    step: str
    dtype: torch.dtype = torch.bfloat16
    slow: tuple[Callable[[WanModel], None], ...] = ()
    all_threads: bool = True
    ahead: int = 0
    compiled: bool = False
    added_to: int = -1  # which engine it adds its step to, counted from its own place

    def load(self, load: Load, entry: ModelEntry, place: torch.device) -> WanModel:
        model = load(entry, place, self.dtype)
        for slow_down in self.slow:
            slow_down(model)
        if self.compiled:
            accelerate(model, ["compile"])
        return model


ENGINES = (
    Engine("plain, fp32", torch.float32, ALL_SLOW),
    Engine("bf16", slow=ALL_SLOW),
    Engine("the prompt's keys once a segment", slow=(ALL_SLOW[0], *ALL_SLOW[2:])),
    Engine("a commit pass without its end", slow=ALL_SLOW[2:]),
    Engine("rotation as complex numbers", slow=ALL_SLOW[3:]),
    Engine("attention spelled out", slow=PLAIN),
    Engine("blocks in fewer, larger steps", slow=PLAIN[1:]),
    Engine("the painter in fewer, larger steps"),
    Engine("one thread for a walk of small passes", all_threads=False),
    Engine("decode and encode beside the walk", all_threads=False, ahead=AHEAD),
    Engine("asked for: compiled blocks", slow=PLAIN, compiled=True, added_to=-5),
)


def time_blocks(
    models: list[WanModel], size: tuple[int, int], policy: str, blocks: int, length: int, folder: Path
) -> list[list[float]]:
    """Seconds of each block of `length` chunks, for each engine; the warm-up is not among them."""
    geometry = models[0].geometry
    warm_up = steady_after(geometry)
    plan = bench_plan(geometry, size, warm_up + blocks * length)
    embeds = torch.cat([models[0].encode_prompts([prompt]) for prompt in PROMPTS])
    lanes = [
        Lane(model, plan, policy, embeds, folder / f"{number}.mp4", synchronize=False)
        for number, model in enumerate(models)
    ]
    for lane, engine in zip(lanes, ENGINES):
        lane.threads = None if engine.all_threads else lane.threads
    seconds: list[list[float]] = [[] for _ in lanes]
    for block in range(-1, blocks):
        for number in sorted(range(len(lanes)), key=lambda n: (n + block) % len(lanes)):  # nobody is always first
            spent = lanes[number].block(warm_up if block < 0 else length, ENGINES[number].ahead)
            if block >= 0:
                seconds[number].append(spent)
    for lane in lanes:
        lane.close()
    return seconds


def ratio(times: list[float], baseline: list[float]) -> str:
    low, median, high = statistics.quantiles([a / b for a, b in zip(times, baseline, strict=True)], n=4)
    return f"{median:.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--policy", default="nam")
    parser.add_argument("--blocks", type=int, default=8, help="blocks of each engine that are timed")
    parser.add_argument("--length", type=int, default=6, help="chunks in a block")
    options = parser.parse_args()
    chosen = load_chosen(options)
    models = [engine.load(load_model, chosen.entry, chosen.place) for engine in ENGINES]  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="memflow-steps-") as name:
        folder = Path(name)
        seconds = time_blocks(models, chosen.size, options.policy, options.blocks, options.length, folder)
        films = [(folder / f"{number}.mp4").read_bytes() for number in range(len(ENGINES))]
    frames = options.length * len(models[0].geometry.chunk_frame_range(1))
    width, height = chosen.size
    print(f"{chosen.entry.name} {width}x{height}, {options.policy}, {torch.get_num_threads()} threads\n")
    print("| step | frames/s | time / the step before | time / plain | the same film |\n|---|---|---|---|---|")
    for number, engine in enumerate(ENGINES):
        before = number + engine.added_to
        gain = ratio(seconds[number], seconds[before]) if number else "-"
        same = "-" if not number else "yes" if films[number] == films[before] else "no"
        rate = frames / statistics.median(seconds[number])
        print(f"| {engine.step} | {rate:.1f} | {gain} | {ratio(seconds[number], seconds[0])} | {same} |")


if __name__ == "__main__":
    main()
