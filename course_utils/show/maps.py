"""Tables of numbers as shades, with words at their sides: who looks at whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from course_utils.common import CourseError
from course_utils.show.style import use_style


def maps(panels: Mapping[str, Any], rows: Sequence[str], columns: Sequence[str], *, title: str | None = None) -> Figure:
    """Matrices of weights from 0 (light) to 1 (dark), side by side, the large ones written in.

    Args:
        panels: title of a panel → weights (R, C) in [0, 1], such as who (row) looks at whom (column).
        rows, columns: R and C words for the sides; all panels share them.
        title: one sentence that says what the panels show.

    Returns a Figure that pyplot does not know (see `grid`). Raises CourseError if shapes or values do not fit.
    """
    use_style()
    shape = (len(rows), len(columns))
    width = 7 / len(panels)
    figure = Figure(figsize=(7, width * shape[0] / shape[1] + 0.9))
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, panel) in zip(every, panels.items(), strict=True):
        weights = np.asarray(panel, dtype=float)
        if weights.shape != shape or not (weights.min() >= 0 and weights.max() <= 1 + 1e-6):
            raise CourseError(
                f"The map {name!r} needs weights in [0, 1] of the shape {shape}, one for each row and column; it has {weights.shape}."
            )
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for r, c in np.argwhere(weights >= 0.25):
            axes.text(
                c,
                r,
                f"{weights[r, c]:.1f}",
                ha="center",
                va="center",
                size=7,
                color="w" if weights[r, c] > 0.6 else "k",
            )
        axes.set_xticks(range(shape[1]), columns, rotation=60, ha="right", size=8)
        axes.set_yticks(range(shape[0]), rows, size=8)
        axes.grid(False)
        axes.set_title(name, size=9)
    if title:
        figure.suptitle(title, wrap=True)
    return figure
