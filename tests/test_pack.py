"""Stored figures: a third of the size, the same to the eye."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from course_utils.classroom.pack import pack_figures, packed
from course_utils.show import grid, to_png
from course_utils.worlds.render import render
from course_utils.worlds.scenes import scenes


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def sheet() -> bytes:
    """A figure as lessons store them: noisy pictures, text, thin frames in rare colours."""
    memory = io.BytesIO()
    images = render(scenes(7, 0, 12))
    grid(images, ["a caption"] * 12, right=[True, False, None] * 4).savefig(memory, format="png", dpi=100)
    return memory.getvalue()


def test_a_figure_becomes_small_and_stays_the_same_to_the_eye():
    before = sheet()
    after = packed(before)
    assert len(after) < 0.6 * len(before)
    difference = np.abs(pixels(after) - pixels(before))
    assert np.sqrt((difference**2).mean()) < 4 and difference.max() < 50, "of 255 grey levels"
    assert packed(after) == after or len(packed(after)) <= len(after)


def test_what_would_grow_or_is_transparent_stays_as_it_is():
    tiny = to_png(render(scenes(7, 0, 1))[:, :, :2, :2])
    assert len(packed(tiny)) <= len(tiny)
    memory = io.BytesIO()
    Image.new("RGBA", (40, 40), (255, 0, 0, 90)).save(memory, "PNG")
    assert packed(memory.getvalue()) == memory.getvalue()


def test_all_figures_of_a_notebook_are_packed():
    png = sheet()
    figure = {
        "output_type": "display_data",
        "data": {"image/png": base64.b64encode(png).decode() + "\n"},
        "metadata": {},
    }
    words = {"output_type": "stream", "name": "stdout", "text": "one"}
    cell = {"cell_type": "code", "id": "a", "source": "1", "metadata": {}, "outputs": [figure, words]}
    found = pack_figures({"cells": [cell], "metadata": {}})["cells"][0]["outputs"]
    assert base64.b64decode(found[0]["data"]["image/png"]) == packed(png) and found[1] == words
