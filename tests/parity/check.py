"""Compare recordings of published code with this package: python tests/parity/check.py FILE.safetensors...

Each recording's weights, noise and prompts run through the product's own transformer, sampler, cache, memory and walk. One
line for each file: NAME max_abs_err=... mismatches=...; the exit code is 1 if an error exceeds 1e-4 or anything else that
was recorded (a bank, the frames attended to, their positions) differs.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import torch

from memflow_cli.bench import recordings

TOLERANCE = 1e-4


class Result(NamedTuple):
    max_abs_err: float
    mismatches: int

    @property
    def passed(self) -> bool:
        return self.max_abs_err <= TOLERANCE and self.mismatches == 0


def check(path: Path) -> Result:
    """Run one recording. Raises KeyError or ValueError if the file is not a recording."""
    recording = recordings.read(path)
    made = recordings.play(recording)
    error = (made.latents - recording.tensors["latents"]).abs().max().item()
    for name, tensor in made.others.items():
        error = max(error, (tensor - recording.tensors[name]).abs().max().item())
    return Result(error, made.mismatches)


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    torch.manual_seed(0)
    results = []
    for path in paths:
        result = check(Path(path))
        print(f"{Path(path).stem} max_abs_err={result.max_abs_err:.2e} mismatches={result.mismatches}")
        results.append(result)
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
