"""Sheets of pictures: with captions and marks as a figure, or plain as a PNG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from course_utils.common import CourseError, atomic_path
from course_utils.show.style import FRAME, INK, RIGHT, WIDTH, WRONG, use_style

GAP, MARGIN = 12, 8  # pixels between cells, and around the sheet
LINE, TITLE_LINE = 15, 19  # pixels from one line of text to the next
CAPTION_SIZE, TITLE_SIZE = 8.5, 11  # points
MOST_LINES = 7  # a longer caption ends in …
NARROW = 150  # pixels: a caption gets at least this width, if the sheet has it

_WORD = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|[^\s\u3000-\u9fff\uff00-\uffef]+|\s+")
_CHINESE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")
_NOT_FIRST = frozenset(
    "，。、；：！？）】》」』”’…%"
)  # no Chinese line begins with these: the character before goes along


def grid(
    images: Any,
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    title: str | None = None,
    scale: int | None = None,
    right: Sequence[bool | None] | None = None,
) -> Figure:
    """Draws pictures as a sheet, each pixel a crisp square, with captions wrapped under them.

    Args:
        images: (N, 3, H, W), (N, 1, H, W) or one (3, H, W), values in [0, 1]; a tensor or an array.
        captions: N texts, English or Chinese.
        columns: pictures side by side; chosen from N if left out.
        title: one sentence over the sheet that says what it shows.
        scale: screen pixels per picture pixel, a whole number; the largest that fits the book's width if left out.
        right: N judgements: True draws a green frame and ✓, False a red one and ✗, None neither.

    Returns a Figure that pyplot does not know: it shows as a cell's last value, or by `display(...)`; elsewhere use its
    `savefig`. Raises CourseError if shapes, counts or values do not fit.
    """
    use_style()
    pictures = to_array(images)
    count, height, width, _ = pictures.shape
    for name, given in (("captions", captions), ("judgements (right=)", right)):
        if given is not None and (isinstance(given, str) or len(given) != count):
            raise CourseError(
                f"grid got {count} pictures and {len(given)} {name}; it needs one for each picture, as a list."
            )
    columns = _columns(count) if columns is None else columns
    if columns < 1 or (scale is not None and scale < 1):
        raise CourseError(f"grid needs columns and scale of at least 1; it got columns={columns}, scale={scale}.")
    columns = min(columns, count)
    room = (WIDTH - 2 * MARGIN + GAP) // columns - GAP  # pixels for one cell
    scale = max(1, min(room // width, 192 // width)) if scale is None else scale
    cell = max(width * scale, min(room, NARROW if count > 1 else 2 * NARROW)) if captions else width * scale

    texts = (
        [_wrap(caption, cell, 14 if right else 0) for caption in captions] if captions else [[] for _ in range(count)]
    )
    if right and not captions:
        texts = [[""] if mark is not None else [] for mark in right]
    rows = range(math.ceil(count / columns))
    text_heights = [max(len(text) for text in texts[row * columns : (row + 1) * columns]) * LINE + 5 for row in rows]
    sheet_width = max(columns * (cell + GAP) - GAP + 2 * MARGIN, min(WIDTH, 2 * NARROW) if title else 0)
    title_lines = _wrap(title, sheet_width - 2 * MARGIN, 0, TITLE_SIZE) if title else []
    top = MARGIN + len(title_lines) * TITLE_LINE + (4 if title else 0)
    sheet_height = top + sum(height * scale + text + GAP for text in text_heights) - GAP + MARGIN

    figure = Figure(figsize=(sheet_width / 100, sheet_height / 100), dpi=100)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))  # its units are screen pixels, (0, 0) at the top left
    axes.axis("off")
    sheet = np.ones((sheet_height, sheet_width, 3), dtype=np.float32)
    for n, line in enumerate(title_lines):
        axes.text(MARGIN, MARGIN + n * TITLE_LINE, line, size=TITLE_SIZE, color=INK, va="top")
    left = (sheet_width - columns * (cell + GAP) + GAP) // 2 if columns == 1 else MARGIN
    for row in rows:
        for n in range(row * columns, min((row + 1) * columns, count)):
            x = left + (n % columns) * (cell + GAP)
            picture_x = x + (cell - width * scale) // 2
            mark = right[n] if right else None
            _frame(sheet, picture_x, top, width * scale, height * scale, mark)
            big = pictures[n].repeat(scale, axis=0).repeat(scale, axis=1)
            sheet[top : top + height * scale, picture_x : picture_x + width * scale] = big
            _caption(axes, texts[n], x + cell / 2, top + height * scale + 6, mark)
        top += height * scale + text_heights[row] + GAP
    axes.imshow(sheet, extent=(0, sheet_width, sheet_height, 0), interpolation="nearest", aspect="auto")
    axes.set(xlim=(0, sheet_width), ylim=(sheet_height, 0))
    return figure


def to_png(images: Any, path: str | Path | None = None, *, columns: int | None = None, scale: int = 1) -> bytes:
    """The PNG of a plain sheet of pictures, side by side with a gap; also written to `path` if one is given.

    `images` as for `grid`; `scale` is screen pixels per picture pixel. Raises CourseError if shapes or values do not fit
    or the file cannot be written.
    """
    pictures = to_array(images)
    count, height, width, _ = pictures.shape
    columns = min(columns or _columns(count), count)
    gap = 2 if count > 1 else 0
    rows = math.ceil(count / columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), dtype=np.float32)
    for n, picture in enumerate(pictures):
        y, x = n // columns * (height + gap), n % columns * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    memory = io.BytesIO()
    Image.fromarray((sheet * 255).round().astype(np.uint8)).save(memory, format="PNG", optimize=True)
    if path is not None:
        with atomic_path(path) as part:
            part.write_bytes(memory.getvalue())
    return memory.getvalue()


def to_array(images: Any) -> np.ndarray:
    """Pictures as an array (N, H, W, 3) of float32 in [0, 1], from a tensor or array of the shapes that `grid` takes.

    Raises CourseError if shape or values do not fit; values up to 1/255 outside of [0, 1] are clipped.
    """
    array = images.detach().cpu().float().numpy() if hasattr(images, "detach") else np.asarray(images, dtype=np.float32)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise CourseError(
            f"Pictures to show have the shape (N, 3, H, W) or (N, 1, H, W); these have {tuple(array.shape)}."
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -1 / 255 and high <= 1 + 1 / 255):
        hint = " Models work in [-1, 1]: show (images + 1) / 2." if -1.2 < low < 0 else ""
        raise CourseError(f"Pictures to show have values in [0, 1]; these go from {low:.3g} to {high:.3g}.{hint}")
    return np.broadcast_to(array, (len(array), 3, *array.shape[2:])).transpose(0, 2, 3, 1).clip(0, 1)


def _columns(count: int) -> int:
    """A count of columns that makes a sheet wider than high: 4 pictures in a row, 9 and 16 in a square, 64 as 8 x 8."""
    return count if count <= 4 else min(8, math.ceil(math.sqrt(count)))


def _frame(sheet: np.ndarray, x: int, y: int, width: int, height: int, mark: bool | None) -> None:
    """Paints a line around the place of a picture: a hairline, or a thick one in the mark's colour."""
    line = 1 if mark is None else 4
    colour = FRAME if mark is None else RIGHT if mark else WRONG
    sheet[y - line : y + height + line, x - line : x + width + line] = to_rgb(colour)


def _caption(axes: Any, lines: list[str], centre: float, top: float, mark: bool | None) -> None:
    """Lines of text centred under a picture, the mark's symbol before the first."""
    for n, line in enumerate(lines):
        y = top + n * LINE
        shift = 7 if n == 0 and mark is not None else 0
        axes.text(centre + shift, y, line, size=CAPTION_SIZE, color=INK, ha="center", va="top")
        if shift:
            x = centre + shift - _length(line, CAPTION_SIZE) / 2 - (3 if line else -7)
            axes.text(
                x, y, "✓" if mark else "✗", size=CAPTION_SIZE + 1, color=RIGHT if mark else WRONG, ha="right", va="top"
            )


def _wrap(text: str, width: float, indent: float, size: float = CAPTION_SIZE) -> list[str]:
    """Breaks a text into lines that fit `width` pixels: between words, or between Chinese characters; indents the first."""
    lines: list[str] = []
    line = ""
    for word in _WORD.findall(" ".join(str(text).split())):
        for piece in [word] if _length(word, size) <= width - indent else list(word):
            room = width - (0 if lines else indent)
            if line and _length((line + piece).rstrip(), size) > room:
                keep = -1 if piece in _NOT_FIRST and len(line) > 1 and _CHINESE.match(line[-1]) else len(line)
                lines.append(line[:keep].rstrip())
                line = line[keep:]
            line = (line + piece).lstrip()
    lines.append(line.rstrip())
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], lines[MOST_LINES - 1][:-1] + "…"]


_RENDERER = FigureCanvasAgg(Figure(figsize=(1, 1), dpi=100)).get_renderer()


def _length(text: str, size: float) -> float:
    """Width of a text in screen pixels."""
    if not text:
        return 0.0
    return _RENDERER.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]
