"""inspect-memory on a long film: seconds, peak memory, size of the page, and whether it scrolls smoothly.

    python -m benchmarks.long_trace --minutes 60 --folder /tmp/long

Makes a film of drawn paper theatre and a trace as `nam` would write it: a bank that changes within every segment, and
every archived frame's score at the start of each segment, then those of the new ones. Needs no model.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from memflow_cli.film.stitching import stitch
from memflow_cli.film.trace import TraceHeader, TraceWriter
from memflow_cli.film.video import PartWriter
from memflow_cli.geometry import Geometry
from memflow_cli.memory.record import ChunkRecord, Recalled
from memflow_cli.story.plan import FilmPlan, SegmentPlan
from training.drawing import render
from training.world import sample_story

GEOMETRY = Geometry(192, 16, 4, 4, (1, 2, 2), num_layers=6, num_heads=4, head_dim=64)
WIDTH, HEIGHT, FPS = 224, 128, 16
CHUNKS_A_SEGMENT = 14  # 10.5 s
NUM_SCENES = 12  # drawn and encoded once each, then repeated


def make_plan(minutes: float) -> FilmPlan:
    frames = GEOMETRY.num_frames(CHUNKS_A_SEGMENT)
    count = max(1, round(minutes * 60 * FPS / frames))
    segments = tuple(
        SegmentPlan(
            index=index,
            prompt=f"Scene {index % NUM_SCENES + 1}: somebody comes back after a long time away.",
            start_chunk=index * CHUNKS_A_SEGMENT,
            num_chunks=CHUNKS_A_SEGMENT,
            start_frame=index * frames,
            num_frames=frames,
            seed=index,
            transition="cut" if index % 3 == 0 else "smooth",
            requested_seconds=frames / FPS,
        )
        for index in range(count)
    )
    return FilmPlan(f"{minutes:g} minutes", WIDTH, HEIGHT, FPS, 7, GEOMETRY, segments)


def make_film(plan: FilmPlan, film: Path) -> None:
    scenes = []
    for number in range(min(NUM_SCENES, len(plan.segments))):
        scenes.append(film.with_name(f"scene-{number}.mp4"))
        frames, _ = render(sample_story(number), num_latents=CHUNKS_A_SEGMENT * GEOMETRY.chunk)
        with PartWriter(scenes[-1], WIDTH, HEIGHT, FPS) as part:
            part.write(frames)
    parts = [scenes[segment.index % len(scenes)] for segment in plan.segments]
    stitch(parts, film, FPS, plan.num_frames, {"title": plan.title})
    for scene in scenes:
        scene.unlink()


def make_trace(plan: FilmPlan, path: Path) -> None:
    rng = np.random.default_rng(0)
    archive: list[int] = []
    with TraceWriter(path, TraceHeader("benchmark", "theatre", "nam", plan)) as writer:
        for chunk in range(plan.num_chunks):
            segment = plan.segment_of_chunk(chunk)
            entered = ((chunk - 3) * 3,) if chunk > 3 else ()
            archive += entered
            scored = archive if chunk == segment.start_chunk else entered
            scores = rng.normal(0.2, 0.05, len(scored)).tolist()
            best = rng.choice(archive, min(3, len(archive)), replace=False).tolist() if archive else []
            frames = GEOMETRY.chunk_frame_range(chunk)
            writer.write(
                ChunkRecord(
                    chunk=chunk,
                    segment=segment.index,
                    prompt=segment.prompt,
                    start_seconds=frames.start / FPS,
                    end_seconds=frames.stop / FPS,
                    sink=(0, 1, 2) if chunk else (),
                    window=tuple(range(max(3, chunk * 3 - 6), chunk * 3)),
                    bank=tuple(Recalled(frame, 0.3, float(rng.random())) for frame in best),
                    sink_use=(0.5, 0.3, 0.2) if chunk else (),
                    candidates=dict(zip(scored, scores)),
                    archived=entered,
                )
            )


def smoothness(page: Path) -> str:
    """Scrolls through the page in a headless Chromium. The milliseconds between its frames, by themselves."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from browser import Page, find_chromium

    chromium = find_chromium()
    if chromium is None:
        return "not measured: no Chromium here"
    browser = Page(chromium, page.parent / "profile")
    try:
        before = time.perf_counter()
        browser.open(page.as_uri(), 1280)
        opened = time.perf_counter() - before
        gaps = browser.run(
            "new Promise(done => { const gaps = []; let last = performance.now(), y = 0; const step = now => {"
            "gaps.push(now - last); last = now; window.scrollTo({top: y += 12, behavior: 'instant'});"
            "gaps.length < 120 ? requestAnimationFrame(step) : done(gaps.slice(2)); }; requestAnimationFrame(step); })"
        )
        strip = browser.run(
            "new Promise(done => { const gaps = [], nav = document.querySelector('nav'); let last = performance.now();"
            "const step = now => { gaps.push(now - last); last = now; nav.scrollLeft += 160;"
            "gaps.length < 120 ? requestAnimationFrame(step) : done(gaps.slice(2)); }; requestAnimationFrame(step); })"
        )
    finally:
        browser.close()
    measured = (("page", gaps), ("strip", strip))
    spans = [f"{what} {np.median(found):.0f} ms (95%: {np.quantile(found, 0.95):.0f})" for what, found in measured]
    return f"opened in {opened:.1f} s; between frames while scrolling: {', '.join(spans)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    film = arguments.folder / "film.mp4"
    plan = make_plan(arguments.minutes)
    make_film(plan, film)
    make_trace(plan, film.with_suffix(".memory.jsonl"))
    trace_bytes = film.with_suffix(".memory.jsonl").stat().st_size
    print(
        f"{plan.num_frames} frames, {len(plan.segments)} segments, {plan.num_chunks} chunks, trace {trace_bytes / 1e6:.1f} MB"
    )
    before = time.perf_counter()
    command = [sys.executable, "-m", "memflow_cli", "inspect-memory", str(film), "-f", "png", "-f", "html"]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - before
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = arguments.folder / "film.inspect" / "index.html"
    print(
        f"inspect-memory: {seconds:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of processor), "
        f"peak {usage.ru_maxrss / 1024:.0f} MiB, page {page.stat().st_size / 1e6:.1f} MB"
    )
    print(smoothness(page))


if __name__ == "__main__":
    main()
