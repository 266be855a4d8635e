"""What every known model needs at full size, by count: `python -m benchmarks.full_size`.

Nothing is downloaded or computed. Bytes are what `memflow plan` says for 16 bits (with keys and values in eight beside it); work
is counted on the meta device: the floating-point operations of a chunk once memory is full, all passes of its schedule and
its clean one, and those of a second of film: what a machine must do in a second to keep up.
"""

import argparse
import sys
from dataclasses import dataclass

import torch

from memflow_cli.memory.options import REBUILT, MemoryOptions
from memflow_cli.models.catalog import published_models
from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.footprint import GIB, CardUse, card_use, least_bytes, place
from memflow_cli.models.wan.model import WanModel
from memflow_cli.models.wan.random_weights import transformer_sizes
from memflow_cli.models.wan.transformer import CausalWanTransformer

SIZES = ((832, 480), (1280, 704))


@dataclass(frozen=True)
class Needs:
    """Of a model at a size: bytes on the card, and floating-point operations by count."""

    use: CardUse
    int8_cache: int
    everything: int
    least: int
    flops_a_chunk: float
    frames_a_chunk: int


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(
        "| model | size | transformer | cache | in int8 | decoder | all of it | at least | TFLOP a chunk | a second of film |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for entry in published_models():
        for width, height in SIZES:
            needs = needs_of(entry, width, height)
            sizes = (needs.use.transformer, needs.use.cache, needs.int8_cache, needs.use.decoder)
            cells = [f"{size / GIB:.1f}" for size in (*sizes, needs.everything, needs.least)]
            per_second = needs.flops_a_chunk * entry.fps / needs.frames_a_chunk
            cells += [f"{needs.flops_a_chunk / 1e12:.0f}", f"{per_second / 1e12:.0f}"]
            print(f"| `{entry.name}` | {width}x{height} | {' | '.join(cells)} |")


def needs_of(entry: ModelEntry, width: int, height: int) -> Needs:
    """With its own memory policy and a bank of three where that recalls frames."""
    geometry, bank = entry.geometry, MemoryOptions(policy=entry.policy).num_recalled
    use = card_use(entry, width, height, bank)
    with torch.device("meta"):
        transformer = CausalWanTransformer(transformer_sizes(entry)).to(torch.bfloat16)
    model = WanModel(transformer, geometry, entry.sampling, "absolute", _nothing, _nothing)
    in_view = geometry.sink + geometry.window + bank
    flops, _ = model.work_of_pass(geometry.grid_size(width, height), in_view)
    clean = (geometry.window - geometry.chunk) // geometry.chunk if entry.policy == REBUILT else 1
    return Needs(
        use,
        card_use(entry, width, height, bank, kv="int8").cache,
        place(entry, width, height, bank, sys.maxsize).num_bytes,
        least_bytes(entry, width, height, bank),
        flops * (len(entry.sampling.steps) + clean),
        len(geometry.chunk_frame_range(1)),
    )


def _nothing(*_: object) -> None:
    raise AssertionError("on the meta device nothing is made")


if __name__ == "__main__":
    main()
