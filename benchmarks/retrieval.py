"""What retrieval costs in a long film: python -m benchmarks.retrieval [--prototypes 10000]

Fills the archive of theatre's shape in bf16, then times what the loop does: the first retrieval of a segment, which
estimates every prototype and compares the shortlist in full, those of the chunks after it, which compare one prototype
each, and the archiving of a prototype. `--folder` keeps the archive in a file there, as a film on a CPU does (4 GB for
10,000). `--shortlist` of the archive's length is the slow twin: everything is compared in full.
Prints JSON: milliseconds of each, median of `--repeats`.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.nam import SHORTLIST, NarrativeMemory
from memflow_cli.memory.scores import SCORES
from memflow_cli.models.catalog import find_model

PROMPT_TOKENS, TEXT_DIM = 16, 128
CHUNKS_PER_SEGMENT = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prototypes", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--scores", default=",".join(SCORES))
    parser.add_argument("--shortlist", type=int, default=SHORTLIST)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    figures = {name: time_score(name, options) for name in options.scores.split(",")}
    about = {"prototypes": options.prototypes, "shortlist": options.shortlist, "in a file": options.folder is not None}
    print(json.dumps(about | {"milliseconds": figures}, indent=2))


@torch.no_grad()
def time_score(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of a segment's first retrieval, of a later one, and of archiving a prototype."""
    entry = find_model("theatre")
    geometry = entry.geometry
    tokens = geometry.tokens_per_frame(entry.width, entry.height)
    shape = CacheShape(geometry.num_layers, geometry.num_heads, geometry.head_dim, tokens, 3, 9, 3, 6)
    score = SCORES[name]()
    memory = NarrativeMemory(
        3, 3, score, archive_bytes=2**62, archive_folder=options.folder, shortlist=options.shortlist
    )
    cache = KVCache(shape, rotate=lambda key, positions: key, dtype=torch.bfloat16)
    torch.manual_seed(0)
    size = (geometry.num_layers, 1, tokens, geometry.num_heads, geometry.head_dim)
    numbers = torch.randn(64, *size).bfloat16()  # states share storage: only the number of prototypes is under test

    def prompt() -> PromptProjection:
        keys = torch.randn(geometry.num_layers, 1, PROMPT_TOKENS, geometry.num_heads, geometry.head_dim)
        keys = keys.bfloat16().unbind(0)
        return PromptProjection(keys, keys, torch.ones(1, PROMPT_TOKENS) > 0, torch.randn(1, PROMPT_TOKENS, TEXT_DIM))

    made_under = prompt()

    def archive_one() -> None:
        nonlocal made_under
        chunk = len(memory.archive.prototypes) + 1
        if chunk % CHUNKS_PER_SEGMENT == 0:
            made_under = prompt()
        keys = numbers[3 * chunk % len(numbers)]
        memory.remember(FrameState(3 * chunk, keys, keys, keys), made_under)

    for _ in range(options.prototypes - options.repeats):
        archive_one()
    first, later, archive = [], [], []
    for _ in range(options.repeats):
        coming = prompt()
        memory.switch_prompt(coming)
        first.append(_milliseconds(lambda coming=coming: memory.recall(cache, coming)))
    for _ in range(options.repeats):
        archive.append(_milliseconds(archive_one))
        later.append(_milliseconds(lambda: memory.recall(cache, coming)))
    spent = {"first": first, "later": later, "archive": archive}
    return {what: round(statistics.median(times), 2) for what, times in spent.items()}


def _milliseconds(work) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
