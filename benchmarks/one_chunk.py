"""One chunk of a large model with random weights, whatever the machine: `python -m benchmarks.one_chunk`.

For machines too small for `memflow bench`, which needs a film of 15 chunks: shapes and memory are real, only the weights
are not. Prints, as JSON lines while it goes, the seconds of every stage and the most memory held.
"""

import argparse
import json
import resource
import time

import torch

from memflow_cli.bench import bench_plan
from memflow_cli.catalog import find_model
from memflow_cli.cli.device import choose_dtype
from memflow_cli.memory.policies import make_policy
from memflow_cli.pipeline import generate_chunks
from memflow_cli.storyboard import MemoryOptions
from memflow_cli.wan.random_weights import random_model, random_prompts


def report(stage: str, started: float, **more: object) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = {"stage": stage, "seconds": round(time.perf_counter() - started, 1), "peak_gib": round(peak, 2)}
    print(json.dumps(line | more), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="memflow-1.3b")
    parser.add_argument("--policy", default="nam")
    options = parser.parse_args()
    entry = find_model(options.model)
    started = time.perf_counter()
    place = torch.device("cpu")
    backbone = random_model(entry, place, choose_dtype("auto", place))
    report("load", started, dtype=str(backbone.dtype).removeprefix("torch."), device=str(backbone.device))
    plan = bench_plan(backbone.geometry, (entry.width, entry.height), 1)
    memory = make_policy(MemoryOptions(policy=options.policy), backbone.geometry)
    embeds = list(random_prompts(entry, 1))
    started = time.perf_counter()
    (chunk,) = generate_chunks(backbone, plan, memory, embeds, synchronize=True)
    spent = {name: round(seconds, 1) for name, seconds in chunk.seconds.items()}
    report("chunk", started, latents=list(chunk.latents.shape), passes=len(backbone.sampling.steps) + 1, **spent)
    started = time.perf_counter()
    decoder = backbone.decoder()
    decoder.reset()
    for frame in chunk.latents[0].unsqueeze(1):
        report("decode", started, frames=list(decoder.decode(frame).shape))


if __name__ == "__main__":
    main()
