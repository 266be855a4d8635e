"""Draws the pictures of storyboards/cast.yaml, makes its film, and sets both side by side: docs/cast.jpg.

    python -m docs.cast_picture

Left the pictures that were given, each on its plain ground; right their characters in the film, whom no prompt describes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from docs.pictures import DOCS, GAP, TEXT_HEIGHT, WIDTH, frames_of, plan_of
from memflow_cli.film.video_reader import read_frames
from training.beats import Act, Beat
from training.drawing import render
from training.world import Puppet, Story

STORYBOARD = DOCS.parent / "storyboards" / "cast.yaml"
PICTURES = STORYBOARD.parent / "cast"
CAST = {
    "fox": (Puppet("fox", "blue", "hat", "yellow"), (236, 232, 220)),
    "robot": (Puppet("robot", "pink", "scarf", "white"), (190, 205, 210)),
}
FRAMES_A_ROW = 4
SCALE = 2  # of the drawn world's pixels


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for name, (puppet, ground) in CAST.items():
        Image.fromarray(portrait(puppet, ground)).save(PICTURES / f"{name}.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        command = [sys.executable, "-m", "memflow_cli", "generate", str(STORYBOARD), "-o", str(film)]
        subprocess.run(command, check=True)
        sheet(film, plan_of(STORYBOARD)).save(DOCS / "cast.jpg", quality=88)


def portrait(puppet: Puppet, ground: tuple[int, int, int]) -> np.ndarray:
    """The puppet standing on a plain ground: [height, width, 3] uint8."""
    story = Story(0, "free", (puppet,), (Beat(1, "meadow", 0, {0: Act("stand")}),))
    frames, masks = (each[0] for each in render(story, 0, 1, SCALE))
    cover = masks[..., None]
    return (frames * cover + np.array(ground) * (1 - cover)).round().astype(np.uint8)


def sheet(film: Path, segments: list[dict]) -> Image.Image:
    """A row for each segment that calls somebody who has a picture."""
    rows = [segment for segment in segments if segment["calls"]]
    numbers = frames_of(rows, FRAMES_A_ROW)
    frames = [Image.fromarray(frame) for _, frame in read_frames(film, numbers)]
    height = round(frames[0].height * WIDTH / frames[0].width)
    row_height, left = TEXT_HEIGHT + height + 2 * GAP, WIDTH + 6 * GAP
    picture = Image.new("RGB", (left + FRAMES_A_ROW * (WIDTH + GAP) - GAP, row_height * len(rows)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for row, segment in enumerate(rows):
        y, name = row * row_height, segment["calls"][0]["name"]
        given = Image.open(PICTURES / f"{name}.png").resize((WIDTH, height), Image.Resampling.LANCZOS)
        picture.paste(given, (0, y + TEXT_HEIGHT))
        draw.text((0, y + 3), f"given: {name}", fill="black", font=font)
        draw.text((left, y + 3), segment["prompt"], fill="black", font=font)
        for column in range(FRAMES_A_ROW):
            frame = frames[row * FRAMES_A_ROW + column].resize((WIDTH, height), Image.Resampling.LANCZOS)
            picture.paste(frame, (left + column * (WIDTH + GAP), y + TEXT_HEIGHT))
    return picture


if __name__ == "__main__":
    main()
