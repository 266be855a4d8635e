"""One chunk of a large model with random weights, whatever the machine: `python -m benchmarks.one_chunk`.

For machines too small for `memflow bench`, which needs a film of 15 chunks: shapes and memory are real, only the weights
are not. The chunk is a film's first, so attention sees its 3 latent frames and nothing before them; the cache is
allocated whole. Prints a JSON line for each stage when it is done: its seconds, and the most memory held so far.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence

import torch

from memflow_cli.bench.speed import bench_plan
from memflow_cli.machine.device import fast_dtype
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.memory.policies import make_policy
from memflow_cli.models.catalog import ModelEntry, find_model
from memflow_cli.models.wan.random_weights import random_model, random_prompts
from memflow_cli.pipeline import Walk, generate_chunks, planned_shots

CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="memflow-1.3b")
    parser.add_argument("--policy", default="nam")
    options = parser.parse_args(arguments)
    for line in measure(find_model(options.model), options.policy):
        print(json.dumps(line), flush=True)


def measure(entry: ModelEntry, policy: str) -> Iterator[dict[str, object]]:
    """A line for each stage: weights made, chunk generated, and each of its latent frames decoded."""
    dtype = fast_dtype(CPU)
    started = time.perf_counter()
    backbone = random_model(entry, CPU, dtype)
    yield stage("load", started, dtype=str(dtype).removeprefix("torch."))
    plan = bench_plan(backbone.geometry, (entry.width, entry.height), 1)
    memory = make_policy(MemoryOptions(policy=policy), backbone.geometry)
    embeds = list(random_prompts(entry, 1))
    started = time.perf_counter()
    (chunk,) = generate_chunks(Walk(backbone, plan.size, plan.fps, memory), planned_shots(plan, embeds))
    spent = {name: round(seconds, 2) for name, seconds in chunk.seconds.items()}
    yield stage("chunk", started, latents=list(chunk.latents.shape), steps=len(backbone.sampling.steps), **spent)
    decoder = backbone.decoder()
    decoder.reset()
    for latent_frame in chunk.latents[0].unsqueeze(1):
        started = time.perf_counter()
        yield stage("decode", started, frames=list(decoder.decode(latent_frame).shape))


def stage(name: str, started: float, **more: object) -> dict[str, object]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "stage": name,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_gib": round(peak / 2**30, 2),
        **more,
    }


if __name__ == "__main__":
    main()
