"""Makes docs/live.jpg: `memflow live` in a real browser, steered by what is typed here. Wants Chromium, as the tests do."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))
from browser import Page, find_chromium  # noqa: E402 - the tests' own

PROMPTS = (
    ("A purple rabbit with a yellow hat comes hopping in from the left in a sunny meadow.", 4.2),
    ("It says hello to us.", 7.5),
    ("Then it leaves the way it came.", 12.0),
    ("Nothing moves in the grass.", 16.0),
    ("Look, the bunny is back!", 20.5),
)


def main() -> None:
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium on the path: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "memflow_cli", "live", "-o", str(Path(folder, "film.mp4"))]
        made = subprocess.Popen(
            [*command, "--no-browser", "--seed", "7", "--size", "448x256"], stderr=subprocess.PIPE, text=True
        )
        page = Page(chromium, Path(folder, "profile"))
        try:
            assert made.stderr is not None, "it was asked for"
            page.open(next(line.split(" at ")[1].strip() for line in made.stderr if "play it at" in line), 1280, 960)
            page.wait_for("document.activeElement.id === 'prompt'")
            for prompt, until in PROMPTS:
                for letter in prompt:
                    page.press(letter, letter)
                page.press("Enter")
                page.wait_for(f"document.getElementById('film').currentTime > {until}", 300)
            shot = Path(folder, "page.png")
            page.screenshot(shot, whole=False)
            picture = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")
            picture.save(DOCS / "live.jpg", quality=88, optimize=True)
        finally:
            page.close()
            made.kill()


if __name__ == "__main__":
    main()
