"""Contact sheets and the memory map, drawn with Pillow and the font it brings along."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from memflow_cli.report.summary import FilmMemory, SegmentMemory
from memflow_cli.story.texts import clock

PAPER, INK, MUTED, RULE = (251, 250, 247), (32, 30, 27), (128, 122, 112), (222, 217, 207)
SINK, WINDOW, ACCENT = (196, 189, 174), (225, 220, 209), (194, 62, 24)

MARGIN = 32
SHEET_WIDTH = 1280
GAP = 12
MAP_WIDTH, MAP_HEIGHT = 1600, 1000
HEAD_HEIGHT = 48
MAX_PROMPT_LINES = 4
OTHER_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msgothic.ttc")


@dataclass(frozen=True)
class Picture:
    """An image with the two lines under it."""

    image: Image.Image | None
    label: str
    detail: str = ""


def draw_sheet(
    segment: SegmentMemory, told: str, own: Sequence[Picture], recalled: Sequence[Picture], aspect: float
) -> Image.Image:
    """A segment's own frames above, what it recalled below. `told`: what memory did; `aspect`: width / height of the film."""
    columns = max(4, len(own))
    width = (SHEET_WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns
    height = max(8, round(width / aspect))
    text, heading = _font(17), _font(26)
    words, prompt_font = font_for(segment.plan.prompt[:2000], 17)
    prompt = _wrap(words, prompt_font, SHEET_WIDTH - 2 * MARGIN)
    row_height = height + 52
    rows = -(-len(recalled) // columns) if recalled else 0
    recalled_height = rows * row_height if rows else 40
    total = MARGIN + 40 + len(prompt) * 24 + 22 + row_height + 44 + recalled_height + MARGIN // 2
    sheet = Image.new("RGB", (SHEET_WIDTH, total), PAPER)
    draw = ImageDraw.Draw(sheet)
    y = MARGIN
    number = f"Segment {segment.plan.index + 1}"
    draw.text((MARGIN, y), number, INK, heading)
    times = f"{clock(segment.start_seconds)} to {clock(segment.end_seconds)}"
    draw.text((MARGIN + draw.textlength(number, heading) + 18, y + 8), times, MUTED, text)
    y += 42
    for line in prompt:
        draw.text((MARGIN, y), line, INK, prompt_font)
        y += 24
    y += 20
    _draw_row(sheet, draw, own, y, width, height, columns)
    y += row_height + 4
    draw.line((MARGIN, y, SHEET_WIDTH - MARGIN, y), RULE)
    told, told_font = font_for(told, 17)
    line = fit(told, told_font, SHEET_WIDTH - 2 * MARGIN)
    draw.text((MARGIN, y + 12), line, ACCENT if recalled else MUTED, told_font)
    y += 42
    for start in range(0, len(recalled), columns):
        _draw_row(sheet, draw, recalled[start : start + columns], y, width, height, columns)
        y += row_height
    return sheet


def _draw_row(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    pictures: Sequence[Picture],
    y: int,
    width: int,
    height: int,
    columns: int,
) -> None:
    for column, picture in enumerate(pictures):
        x = MARGIN + column * (width + GAP)
        if picture.image is None:
            draw.rectangle((x, y, x + width - 1, y + height - 1), outline=RULE)
            draw.text((x + width // 2, y + height // 2), "no picture", MUTED, _font(14), anchor="mm")
        else:
            sheet.paste(picture.image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + height + 6), picture.label, INK, _font(15))
        draw.text((x, y + height + 26), picture.detail, MUTED, _font(14))


def draw_map(memory: FilmMemory, heads: Mapping[int, Image.Image] = MappingProxyType({})) -> Image.Image:
    """The film as a map: across, the time being made; down, the time that is recalled; marks darker with use.

    `heads`: a picture of each segment, by its number, shown above it where there is room.
    """
    plan = memory.plan
    left, top, right, bottom = 92, 150, 36, 84
    width, height = MAP_WIDTH - left - right, MAP_HEIGHT - top - bottom
    area = _map_area(memory, width, height)
    picture = Image.new("RGB", (MAP_WIDTH, MAP_HEIGHT), PAPER)
    picture.paste(Image.fromarray(area), (left, top))
    draw = ImageDraw.Draw(picture)
    small, text = _font(15), _font(17)
    title, title_font = font_for(plan.title[:400], 26)
    draw.text((left, 24), fit(title, title_font, MAP_WIDTH // 2), INK, title_font)
    _draw_key(draw, MAP_WIDTH - right, 34)
    free = free_number = 0
    for segment in plan.segments:
        x = left + round(segment.start_chunk / plan.num_chunks * width)
        y = top + round(segment.start_chunk / plan.num_chunks * height)
        room = segment.num_chunks / plan.num_chunks * width
        if segment.index and (room > 3 or segment.index % 8 == 0):
            draw.line((x, top, x, top + height), RULE)
            draw.line((left, y, left + width, y), RULE)
        if x >= free_number:
            draw.text((x + 3, top - 22), str(segment.index + 1), MUTED, small)
            free_number = x + 26
        head = heads.get(segment.index)
        if head is not None and x >= free:
            head = ImageOps.contain(head, (max(HEAD_HEIGHT, round(room) - 4), HEAD_HEIGHT), Image.Resampling.LANCZOS)
            picture.paste(head, (x + 2, top - 26 - head.height))
            free = x + head.width + 2
        if room > 130:
            label, label_font = font_for(segment.prompt[:400], 15)
            draw.text((x + 32, top - 22), fit(label, label_font, room - 44), INK, label_font)
    draw.rectangle((left - 1, top - 1, left + width, top + height), outline=MUTED)
    for seconds in _ticks(plan.seconds):
        share = seconds / plan.seconds
        x, y = left + round(share * width), top + round(share * height)
        draw.line((x, top + height, x, top + height + 6), MUTED)
        draw.text((x, top + height + 10), clock(seconds, 0), MUTED, small, anchor="ma")
        draw.line((left - 7, y, left - 1, y), MUTED)
        draw.text((left - 12, y), clock(seconds, 0), MUTED, small, anchor="rm")
    draw.text((left + width / 2, MAP_HEIGHT - 34), "time being made", INK, text, anchor="mm")
    _draw_sideways(picture, "time looked back to", (26, top + height // 2), text)
    return picture


def _map_area(memory: FilmMemory, width: int, height: int) -> np.ndarray:
    """[height, width, 3] uint8: sink, window and chunk bands, and a mark where the bank is read."""
    num_frames = memory.plan.num_latent_frames
    num_chunks = memory.plan.num_chunks
    area = np.full((height, width, 3), PAPER, np.uint8)
    use = np.zeros((height, width), np.float32)

    def rows(frame: int, count: int, at_least: int) -> slice:
        start = int(frame / num_frames * height)
        return slice(start, max(start + at_least, int((frame + count) / num_frames * height)))

    for index, chunk in enumerate(memory.chunks):
        start = int(index / num_chunks * width)
        columns = slice(start, max(start + 1, int((index + 1) / num_chunks * width)))
        if chunk.sink:
            area[rows(0, chunk.sink, 2), columns] = SINK
        if chunk.window[1]:
            area[rows(*chunk.window, 1), columns] = WINDOW
        own = memory.plan.geometry.chunk
        area[rows(index * own, own, 1), columns] = SINK
        for item in chunk.bank:
            if item.frame < 0:  # a given picture has no place in the film
                continue
            mark = use[rows(item.frame, 1, 5), columns]
            # Even the least used mark is seen; the eye compares the rest.
            np.maximum(mark, 0.25 + 0.75 * min(1.0, max(0.0, item.use)), out=mark)
    shade = use[..., None]
    return (area * (1 - shade) + np.array(ACCENT, np.float32) * shade).round().astype(np.uint8)


def _draw_key(draw: ImageDraw.ImageDraw, right: int, y: int) -> None:
    font = _font(15)
    x = float(right)
    entries = (
        (ACCENT, "recalled, darker = used more"),
        (SINK, "the film's opening, and the moment itself"),
        (WINDOW, "the last seconds"),
    )
    for colour, label in reversed(entries):
        x -= draw.textlength(label, font)
        draw.text((x, y), label, INK, font, anchor="lm")
        x -= 22
        draw.rectangle((x, y - 7, x + 14, y + 7), fill=colour)
        x -= 26


def _draw_sideways(picture: Image.Image, text: str, centre: tuple[int, int], font: ImageFont.FreeTypeFont) -> None:
    box = font.getbbox(text)
    strip = Image.new("RGB", (int(box[2]) + 4, int(box[3]) + 6), PAPER)
    ImageDraw.Draw(strip).text((2, 2), text, INK, font)
    strip = strip.rotate(90, expand=True)
    picture.paste(strip, (centre[0] - strip.width // 2, centre[1] - strip.height // 2))


def _ticks(seconds: float) -> list[float]:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((step for step in steps if seconds / step <= 12), max(86400, seconds))
    return [index * step for index in range(int(seconds / step) + 1)]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


@cache
def _fonts(size: int) -> list[ImageFont.FreeTypeFont]:
    """Pillow's own font, which knows Latin letters, and what this machine has for all others."""
    fonts = [_font(size)]
    for name in OTHER_FONTS:
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return fonts


def font_for(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """The text and a font that can write it; letters that no font here knows become question marks."""
    text = drawable(text)
    font = min(_fonts(size), key=lambda font: sum(not _knows(font, letter) for letter in set(text)))
    return "".join(letter if _knows(font, letter) else "?" for letter in text), font


@cache
def _knows(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """At most MAX_PROMPT_LINES lines, the last one cut if there is more; the work does not grow with the text."""
    words = text.split()
    lines: list[str] = []
    line = ""
    for word in words:
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
        if len(lines) == MAX_PROMPT_LINES:
            break
    lines.append(line)
    if len(lines) > MAX_PROMPT_LINES:
        lines = lines[:MAX_PROMPT_LINES]
        lines[-1] += " ..."
    return [fit(line, font, width) for line in lines]


def fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle] + "...") <= width else (low, middle - 1)
    return text[:low].rstrip() + "..."


def drawable(text: str) -> str:
    """One line of text without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)
