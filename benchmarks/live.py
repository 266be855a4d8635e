"""`memflow live` in a real Chromium, as a person uses it: how soon there is a picture, how it plays, when a prompt is seen.

    python -m benchmarks.live                     # theatre as live makes it: 60 s of film, some 75 s of clock
    python -m benchmarks.live --size 448x256

The command is started, the page opened and prompts typed into it: every few seconds one more, Enter and Shift+Enter in turn.
The browser tells of every frame that it shows. Printed are the time from the command to the page and to the first frame,
all stalls (stretches of clock in which no new frame was shown), and for each prompt: how long after Enter its first frame
was shown, and how much the picture changed there. Wants Chromium on the path and memflow-cli[live].
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browser import Page, find_chromium

PROMPTS = (
    "A red fox with a blue scarf stands in a meadow.",
    "The fox waves.",
    "A white owl with a yellow hat stands on a beach.",
    "The owl jumps.",
    "A purple rabbit stands in a forest.",
    "The rabbit says hello.",
    "A brown bear with a green hat stands in the snow.",
    "The bear turns around.",
    "The red fox with the blue scarf stands in the meadow.",
    "The fox leaves to the right.",
)
SHIFT = 8  # as the browser's protocol counts modifiers

WATCH = """(() => {
  const film = document.getElementById("film"), small = document.createElement("canvas");
  small.width = 32; small.height = 18;
  const context = small.getContext("2d", { willReadFrequently: true });
  const seen = (window.benchSeen = []), entered = (window.benchEntered = []);
  let before = null;
  const note = (now, about) => {
    context.drawImage(film, 0, 0, 32, 18);
    const pixels = context.getImageData(0, 0, 32, 18).data;
    let change = 0;
    if (before) for (let index = 0; index < pixels.length; index += 4)
      for (let channel = 0; channel < 3; channel += 1) change += Math.abs(pixels[index + channel] - before[index + channel]);
    before = pixels;
    seen.push([performance.timeOrigin + performance.now(), about.mediaTime, change / (32 * 18 * 3)]);
    film.requestVideoFrameCallback(note);
  };
  film.requestVideoFrameCallback(note);
  document.getElementById("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter") entered.push([performance.timeOrigin + performance.now(), film.currentTime]);
  }, true);
})()"""


@dataclass(frozen=True)
class Frame:
    """One that the browser showed. `clock`: seconds since the epoch; `film`: its film time; `change`: of 255, a channel."""

    clock: float
    film: float
    change: float


@dataclass(frozen=True)
class Played:
    """Seconds since the command's start: of the page, and when each prompt was entered. `record`: the film's."""

    page: float
    started: float
    frames: list[Frame]
    entered: list[float]
    record: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", help="the film's, such as 448x256; default: live's own")
    parser.add_argument("--seconds", type=float, default=60, help="of film")
    parser.add_argument("--model", default="theatre")
    parser.add_argument(
        "--most-clock", type=float, default=170, help="seconds of clock after which it is over in any case"
    )
    arguments = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium on the path: apt-get install chromium")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--size", arguments.size] if arguments.size else []
        played = play(chromium, Path(folder), ["--model", arguments.model, *options], arguments)
    tell(played)


def play(chromium: str, folder: Path, options: list[str], arguments: argparse.Namespace) -> Played:
    memflow = shutil.which("memflow", path=str(Path(sys.executable).parent)) or "memflow"
    film = folder / "film.mp4"
    page = Page(chromium, folder / "profile")
    started = time.time()
    command = [memflow, "live", "-o", str(film), "--no-browser", "--seed", "7", *options]
    made = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert made.stderr is not None, "it was asked for"
        page.open(next(line.split(" at ")[1].strip() for line in made.stderr if "play it at" in line), 1280)
        page.wait_for("document.activeElement.id === 'prompt'")
        page_seconds = time.time() - started
        page.run(WATCH)
        steps = arguments.seconds / len(PROMPTS)
        for number, prompt in enumerate(PROMPTS):
            wait_until(page, number * steps, started + arguments.most_clock)
            type_in(page, prompt, is_cut=number % 2 == 0 and number > 0)
        wait_until(page, arguments.seconds, started + arguments.most_clock)
        seen, entered = page.run("window.benchSeen"), page.run("window.benchEntered")
        page.click("#finish")
        made.wait(60)
        assert not page.errors, page.errors
    finally:
        page.close()
        made.kill()
    frames = [Frame(clock / 1000, at, change) for clock, at, change in seen]
    record = json.loads(film.with_suffix(".json").read_text())
    return Played(page_seconds, started, frames, [clock / 1000 for clock, _ in entered], record)


def wait_until(page: Page, film_seconds: float, deadline: float) -> None:
    while page.run("document.getElementById('film').currentTime") < film_seconds and time.time() < deadline:
        time.sleep(0.05)


def type_in(page: Page, prompt: str, is_cut: bool) -> None:
    for letter in prompt:
        page.press(letter, letter)
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", modifiers=SHIFT if is_cut else 0)


def tell(played: Played) -> None:
    frames, record = played.frames, played.record
    fps = record["storyboard"]["fps"]
    story, first = record["storyboard"], frames[0]
    print(f"{story['width']}x{story['height']} at {fps} frames/s, {record['seconds']:.2f} s of film")
    since = first.clock - played.started
    typed = played.entered[0] - played.started
    print(f"from the command: page {played.page:.2f} s, first prompt {typed:.2f} s, first frame {since:.2f} s")
    gaps = sorted((after.clock - before.clock, before.film) for before, after in pairwise(frames))
    stalls = [(gap, at) for gap, at in gaps if gap > 0.25]
    whole = frames[-1].clock - first.clock
    shown = (frames[-1].film - first.film) / whole
    print(f"{len(frames)} frames shown in {whole:.1f} s of clock, the film at {shown:.2f} of its speed")
    print(
        f"longest stall {gaps[-1][0]:.2f} s; over 0.25 s: {len(stalls)}, over 0.5 s: {sum(gap > 0.5 for gap, _ in stalls)}"
    )
    tell_prompts(played, fps)


def tell_prompts(played: Played, fps: float) -> None:
    geometry = played.record["recipe"]["common"]["geometry"]
    chunk_seconds = geometry["chunk"] * geometry["temporal_stride"] / fps
    usual = statistics.median(frame.change for frame in played.frames)
    start, waits = 0, []
    for number, (segment, entered) in enumerate(zip(played.record["recipe"]["segments"], played.entered)):
        at = start * chunk_seconds
        start += segment["num_chunks"]
        shown = next(
            (frame for frame in played.frames if frame.film >= at - 0.5 / fps and frame.clock >= entered), None
        )
        if shown is None or number == 0:
            continue
        waits.append(shown.clock - entered)
        change = max(frame.change for frame in played.frames if 0 <= frame.film - at + 0.5 / fps < chunk_seconds)
        print(
            f"  {segment['transition']:<6} from {at:6.2f} s: seen {waits[-1]:.2f} s after Enter; "
            f"the picture changes by up to {change:.1f} of 255 a frame (usually {usual:.1f}): {segment['prompt'][:48]}"
        )
    middle, most = statistics.median(waits), max(waits)
    print(
        f"a prompt is seen {middle:.2f} s after Enter (median), at most {most:.2f} s; two chunks are {2 * chunk_seconds:.2f} s"
    )


if __name__ == "__main__":
    main()
