"""From which size on sparse activation saves time: `python -m benchmarks.sparse`.

One layer's attention over a chunk's passes, once memory is full, with random queries, keys and values in a real cache: each
head reads all frames of sink and bank, or chooses half of them in the chunk's first pass and halfway, as films do. Nothing else
of a model is computed, so that one layer at 832x480 is a matter of seconds. Both are timed in turn, pass by pass; a table in
markdown: milliseconds a chunk, of which choosing takes how much, and the time over that of reading all, median and quartiles.
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from memflow_cli.attention_context import FrameState
from memflow_cli.geometry import Geometry
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.machine.device import fast_dtype
from memflow_cli.memory.activation import TopFrames
from memflow_cli.models.catalog import find_model
from memflow_cli.models.wan.attention import attend, rotary_table, rotate

CPU = torch.device("cpu")
CASES = (("theatre", (224, 128), 9), ("memflow-1.3b", (416, 240), 5), ("memflow-1.3b", (832, 480), 5))
"""Model, size of the film, passes a chunk: its steps, and the clean one."""
FILM_FRAMES = 60  # latent frames before the chunk at hand


@dataclass(frozen=True)
class Chunk:
    """What a layer is given in one pass, each [1, F, N, H, D]."""

    query: Tensor
    key: Tensor
    value: Tensor


def random_chunk(geometry: Geometry, num_tokens: int, dtype: torch.dtype) -> Chunk:
    shape = (1, geometry.chunk, num_tokens, geometry.num_heads, geometry.head_dim)
    return Chunk(*(torch.randn(shape, dtype=dtype) for _ in range(3)))


def full_cache(geometry: Geometry, size: tuple[int, int], count: int | None, dtype: torch.dtype) -> KVCache:
    """One layer's cache in the middle of a film: sink, bank and window are full. `count`: of the frames that a head reads."""
    grid = geometry.grid_size(*size)
    num_tokens = grid[0] * grid[1]

    def turn(key: Tensor, positions: list[int]) -> Tensor:
        return rotate(key, rotary_table(tuple(positions), grid, geometry.head_dim, CPU))

    cache = KVCache(
        CacheShape(
            num_layers=1,
            num_heads=geometry.num_heads,
            head_dim=geometry.head_dim,
            num_tokens=num_tokens,
            sink=geometry.sink,
            window=geometry.window,
            bank=geometry.bank,
            memory_places=geometry.sink + geometry.bank,
        ),
        rotate=turn,  # type: ignore[arg-type]
        activation=None if count is None else TopFrames(count),
        dtype=dtype,
    )
    for first in range(0, FILM_FRAMES, geometry.chunk):
        chunk = random_chunk(geometry, num_tokens, dtype)
        cache.begin(range(first, first + geometry.chunk))
        cache.gather(0, chunk.query, chunk.key, chunk.value)
        cache.commit()
    state = (1, 1, num_tokens, geometry.num_heads, geometry.head_dim)
    recalled = [geometry.sink + index for index in range(geometry.bank)]
    cache.load_bank([FrameState(frame, *(torch.randn(state, dtype=dtype) for _ in range(2))) for frame in recalled])
    return cache


def attend_over(cache: KVCache, chunk: Chunk) -> tuple[float, float]:
    """One pass: seconds of gathering what is read, and of reading it."""
    started = time.perf_counter()
    keys, values = cache.gather(0, chunk.query, chunk.key, chunk.value)
    gathered = time.perf_counter()
    attend(chunk.query.flatten(1, 2), keys, values)
    return gathered - started, time.perf_counter() - gathered


def chunk_seconds(caches: list[KVCache], chunk: Chunk, frames: range, num_passes: int) -> list[tuple[float, float]]:
    """Of each cache, for all passes of a chunk: seconds of gathering and of reading. The caches take turns, pass by pass."""
    spent = [(0.0, 0.0)] * len(caches)
    for cache in caches:
        cache.begin(frames, keep=False)
    for number in range(num_passes):
        for index, cache in enumerate(caches):
            if number == num_passes - 1:
                cache.begin(frames, keep=True)
            elif number == (num_passes - 1) // 2:
                cache.choose_again()
            took = attend_over(cache, chunk)
            spent[index] = (spent[index][0] + took[0], spent[index][1] + took[1])
    return spent


def row(name: str, size: tuple[int, int], num_passes: int, rounds: int, dtype: torch.dtype) -> str:
    geometry = find_model(name).geometry
    count = (geometry.sink + geometry.bank) // 2
    caches = [full_cache(geometry, size, each, dtype) for each in (None, count)]
    grid = geometry.grid_size(*size)
    chunk = random_chunk(geometry, grid[0] * grid[1], dtype)
    frames = range(FILM_FRAMES, FILM_FRAMES + geometry.chunk)
    chunk_seconds(caches, chunk, frames, num_passes)
    taken = [chunk_seconds(caches, chunk, frames, num_passes) for _ in range(rounds)]
    totals = [[1000 * sum(each[which]) for each in taken] for which in (0, 1)]
    choosing = statistics.median(1000 * (each[1][0] - each[0][0]) for each in taken)
    ratios = [sparse / full for full, sparse in zip(*totals, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    full, sparse = map(statistics.median, totals)
    kept = geometry.window + count
    frames_read = f"{geometry.window + geometry.sink + geometry.bank} and {kept}"
    return (
        f"| `{name}` | {size[0]}x{size[1]} | {grid[0] * grid[1]} | {frames_read} | {full:.1f} | {sparse:.1f} | {choosing:+.1f} "
        f"| {middle:.3f} ({low:.3f} - {high:.3f}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="chunks that are timed")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    dtype = fast_dtype(CPU)
    print(f"{dtype}, {torch.get_num_threads()} threads", flush=True)
    print("| model | size | tokens a frame | frames read | all, ms | chosen, ms | gathering | chosen / all |")
    print("|---|---|---|---|---|---|---|---|")
    for name, size, num_passes in CASES:
        print(row(name, size, num_passes, options.rounds, dtype), flush=True)


if __name__ == "__main__":
    main()
