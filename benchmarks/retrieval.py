"""What retrieval costs in a long film: python -m benchmarks.retrieval [--prototypes 10000]

Fills the archive of theatre's shape, then times the two things that the loop does: the first retrieval of a segment, which
compares the new prompt with every prototype, and those of the chunks after it, which compare one prototype each. Prints
JSON: milliseconds a retrieval for each score, median of `--repeats`.
"""

import argparse
import json
import statistics
import time

import torch

from memflow_cli.attention_context import FrameState, PromptProjection
from memflow_cli.catalog import find_model
from memflow_cli.kv_cache import CacheShape, KVCache
from memflow_cli.memory.nam import NarrativeMemory
from memflow_cli.memory.scores import SCORES

PROMPT_TOKENS, TEXT_DIM = 16, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prototypes", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--scores", default="prompt,published,cross-attention,attention")
    options = parser.parse_args()
    figures = {name: time_score(name, options.prototypes, options.repeats) for name in options.scores.split(",")}
    print(json.dumps({"prototypes": options.prototypes, "milliseconds": figures}, indent=2))


@torch.no_grad()
def time_score(name: str, num_prototypes: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of a segment's first retrieval, and of a later one."""
    entry = find_model("theatre")
    geometry = entry.geometry
    tokens = geometry.tokens_per_frame(entry.width, entry.height)
    shape = CacheShape(geometry.num_layers, geometry.num_heads, geometry.head_dim, tokens, 3, 9, 3, 6)
    score = SCORES[name]()
    memory = NarrativeMemory(3, 3, score, archive_bytes=2**62)
    cache = KVCache(shape, rotate=lambda key, positions: key)
    torch.manual_seed(0)
    size = (geometry.num_layers, 1, tokens, geometry.num_heads, geometry.head_dim)
    numbers = torch.randn(64, *size)  # states share storage: only the number of prototypes is under test

    def prompt() -> PromptProjection:
        keys = torch.randn(geometry.num_layers, 1, PROMPT_TOKENS, geometry.num_heads, geometry.head_dim).unbind(0)
        return PromptProjection(keys, keys, torch.ones(1, PROMPT_TOKENS) > 0, torch.randn(1, PROMPT_TOKENS, TEXT_DIM))

    made_under = prompt()

    def archive_one() -> None:
        frame = 3 * (len(memory.archive.prototypes) + 1)
        keys = numbers[frame % len(numbers)]
        state = FrameState(frame, keys, keys, keys)
        memory.archive.add(state, score.features(state, made_under))
        memory._stale = True  # as leave() says it, for a frame that came through the cache

    for _ in range(num_prototypes - repeats):
        archive_one()
    first, later = [], []
    for _ in range(repeats):
        coming = prompt()
        memory.switch_prompt(coming)
        first.append(_milliseconds(lambda coming=coming: memory.recall(cache, coming)))
    for _ in range(repeats):
        archive_one()
        later.append(_milliseconds(lambda: memory.recall(cache, coming)))
    return {"first": round(statistics.median(first), 2), "later": round(statistics.median(later), 2)}


def _milliseconds(work) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
