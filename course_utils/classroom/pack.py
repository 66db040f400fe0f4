"""Figures are stored with a palette of 256 colours: hardly a difference to the eye, and a third of the size.

All stored lessons share 18 MiB, and a sheet of noisy pictures in full colour takes 100 KiB of them.
"""

from __future__ import annotations

import base64
import io

from PIL import Image

from course_utils.classroom.tidy import Notebook, code_cells, text

COLOURS = 256


def packed(png: bytes) -> bytes:
    """The PNG with a palette that covers its colours, of 8 bits a pixel; as it was if that is not smaller, or it is transparent."""
    image = Image.open(io.BytesIO(png))
    alpha = image.convert("RGBA").getchannel("A").getextrema()
    if alpha != (255, 255):
        return png
    kind = Image.Quantize.MAXCOVERAGE  # keeps rare colours, such as thin frames, and k-means brings the others near
    few = image.convert("RGB").quantize(COLOURS, method=kind, kmeans=3, dither=Image.Dither.NONE)
    memory = io.BytesIO()
    few.save(memory, "PNG", optimize=True)
    return min(png, memory.getvalue(), key=len)


def pack_figures(notebook: Notebook) -> Notebook:
    """The notebook with every figure of its outputs packed, in place; pictures inside HTML stay as they are."""
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                small = packed(base64.b64decode(text(data["image/png"])))
                data["image/png"] = base64.b64encode(small).decode()
    return notebook
