"""Makes README's pictures from real films: a contact sheet, and the map of what memory recalled.

    python docs/pictures.py [STORYBOARD]

Renders the storyboard with theatre through the command line, then writes docs/contact-sheet.jpg and docs/memory-map.png.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from memflow_cli.film.video_reader import read_frames

DOCS = Path(__file__).parent
STORYBOARD = DOCS.parent / "storyboards" / "quickstart.yaml"
FRAMES_A_ROW = 6
WIDTH = 168  # of a frame on the sheet
GAP, TEXT_HEIGHT = 4, 22


def main() -> None:
    storyboard = Path(sys.argv[1]) if len(sys.argv) > 1 else STORYBOARD
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        command = [
            sys.executable,
            "-m",
            "memflow_cli",
            "generate",
            str(storyboard),
            "-o",
            str(film),
            "--inspect",
        ]
        subprocess.run(command, check=True)
        contact_sheet(film, plan_of(storyboard)).save(DOCS / "contact-sheet.jpg", quality=88)
        shutil.copyfile(Path(folder) / "film.inspect" / "memory-map.png", DOCS / "memory-map.png")


def plan_of(storyboard: Path) -> list[dict]:
    """The segments of `memflow plan --json`."""
    command = [sys.executable, "-m", "memflow_cli", "plan", str(storyboard), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["segments"]


def frames_of(segments: list[dict], frames_a_row: int) -> list[int]:
    """Numbers of frames evenly spaced over each segment."""
    return [
        segment["start_frame"] + (2 * column + 1) * segment["frames"] // (2 * frames_a_row)
        for segment in segments
        for column in range(frames_a_row)
    ]


def contact_sheet(film: Path, segments: list[dict]) -> Image.Image:
    """A row a segment: its prompt above frames evenly spaced over it."""
    numbers = frames_of(segments, FRAMES_A_ROW)
    frames = [Image.fromarray(frame) for _, frame in read_frames(film, numbers)]
    height = round(frames[0].height * WIDTH / frames[0].width)
    row_height = TEXT_HEIGHT + height + 2 * GAP
    sheet = Image.new("RGB", (FRAMES_A_ROW * (WIDTH + GAP) - GAP, row_height * len(segments)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for index, frame in enumerate(frames):
        row, column = divmod(index, FRAMES_A_ROW)
        picture = frame.resize((WIDTH, height), Image.Resampling.LANCZOS)
        sheet.paste(picture, (column * (WIDTH + GAP), row * row_height + TEXT_HEIGHT))
    for row, segment in enumerate(segments):
        seconds = segment["start_seconds"]
        label = f"{int(seconds // 60)}:{seconds % 60:05.2f}  {segment['prompt']}"
        draw.text((0, row * row_height + 3), label, fill="black", font=font)
    return sheet


if __name__ == "__main__":
    main()
