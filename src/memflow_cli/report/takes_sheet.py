"""Takes of one segment side by side: a row of frames each. Drawn with Pillow."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from memflow_cli.film.video_reader import probe, read_frames
from memflow_cli.report.pictures import GAP, INK, MARGIN, MUTED, PAPER, SHEET_WIDTH, fit, font_for

COLUMNS = 5
_LABEL_HEIGHT = 30


def draw_takes(takes: Sequence[tuple[str, str, Path]]) -> Image.Image:
    """`takes`: (name, what there is to say of it, film). Of each, frames from its first to its last."""
    width = (SHEET_WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS
    infos = [probe(film) for _, _, film in takes]
    height = max(8, round(width * infos[0].height / infos[0].width))
    row_height = _LABEL_HEIGHT + height + GAP
    sheet = Image.new("RGB", (SHEET_WIDTH, 2 * MARGIN + row_height * len(takes)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, ((name, about, film), info) in enumerate(zip(takes, infos)):
        y = MARGIN + row * row_height
        bold, (about, small) = font_for(name, 18)[1], font_for(about, 15)
        draw.text((MARGIN, y), name, INK, bold)
        left = MARGIN + round(draw.textlength(name, bold)) + 14
        draw.text((left, y + 3), fit(about, small, SHEET_WIDTH - MARGIN - left), MUTED, small)
        wanted = [round(column * (info.num_frames - 1) / (COLUMNS - 1)) for column in range(COLUMNS)]
        frames = dict(read_frames(film, wanted, info))
        for column, frame in enumerate(wanted):
            picture = Image.fromarray(frames[frame]).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(picture, (MARGIN + column * (width + GAP), y + _LABEL_HEIGHT))
    return sheet
