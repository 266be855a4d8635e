"""Peak resident memory of a long film against that of a short one, both made by the real command.

    python benchmarks/flat_memory.py                      # 10 minutes against 1, theatre
    python benchmarks/flat_memory.py --model FOLDER --seconds 20 60

Prints each film's peak and their ratio; exit code 1 if the ratio exceeds 1.1. The peak is that of the process that
generates, as the kernel counts it (ru_maxrss); the encoder's is its own and is printed beside it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_RATIO = 1.1
SEGMENT_SECONDS = 10
PROMPTS = (
    "a red fox with a blue scarf walks to the right in a meadow",
    "an empty meadow",
    "a white rabbit jumps on a beach",
    "the fox comes back from the left",
    "a blue robot waves in a city at night",
    "an empty desert",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="theatre")
    parser.add_argument("--seconds", type=int, nargs=2, default=(60, 600), metavar=("SHORT", "LONG"))
    arguments = parser.parse_args()
    peaks = [measure(arguments.model, seconds) for seconds in arguments.seconds]
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f} (at most {MAX_RATIO})")
    sys.exit(ratio > MAX_RATIO)


def measure(model: str, seconds: int) -> int:
    """Makes a film of this length. Returns the generating process's peak in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        story, film = Path(folder) / "story.yaml", Path(folder) / "film.mp4"
        story.write_text(storyboard(seconds), encoding="utf-8")
        command = [sys.executable, "-m", "memflow_cli", "generate", str(story), "-o", str(film)]
        process = subprocess.Popen([*command, "--model", model, "--progress", "none"], stdout=subprocess.DEVNULL)
        encoder_peak = 0
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            encoder_peak = max(encoder_peak, children_peak(process.pid))
            time.sleep(0.2)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise SystemExit(f"the command failed with code {process.returncode}")
        film_bytes = film.stat().st_size
    peak = usage.ru_maxrss * 1024
    print(
        f"{seconds:5} s of film: peak {peak / 2**20:7.1f} MiB, encoder {encoder_peak / 2**20:6.1f} MiB, "
        f"film {film_bytes / 2**20:.1f} MiB, {usage.ru_utime:.0f} s of computing",
        flush=True,
    )
    return peak


def children_peak(pid: int) -> int:
    """Peak resident bytes of a process's largest child that runs just now, from Linux's /proc; 0 elsewhere."""
    peak = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        except OSError:  # it has ended since
            continue
        if int(fields.get("PPid", 0)) == pid and "VmHWM" in fields:
            peak = max(peak, int(fields["VmHWM"].split()[0]) * 1024)
    return peak


def storyboard(seconds: int) -> str:
    count = max(1, round(seconds / SEGMENT_SECONDS))
    lines = ["title: flat memory", "seed: 1", "segments:"]
    for index in range(count):
        lines += [f"  - prompt: {PROMPTS[index % len(PROMPTS)]}", f"    duration: {seconds / count}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
