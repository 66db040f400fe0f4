"""Curves with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from course_utils.common import CourseError
from course_utils.show.style import use_style

DASHES = ("-", "--", "-.", ":")  # lines differ in more than colour


def curve(
    series: Mapping[str, Sequence[Any]],
    *,
    x: str,
    y: str,
    title: str | None = None,
    log: str = "",
    limits: tuple[float, float] | None = None,
    size: tuple[float, float] = (7, 3.6),
) -> Figure:
    """Draws labelled curves, with a band where an interval is given.

    Args:
        series: label (shown if there are several) → (xs, ys) or (xs, ys, lows, highs), each a sequence of the same length; NaN leaves a gap.
        x, y: the axes' labels, with units.
        title: one sentence that says what the curves show.
        log: the axes that are logarithmic: "x", "y" or "xy".
        limits: lowest and highest y.
        size: width and height in inches; the book's text is 7 wide.

    Returns a Figure that pyplot does not know (see `grid`). Raises CourseError if lengths do not fit.
    """
    use_style()
    figure = Figure(figsize=size)
    axes = figure.add_subplot()
    _draw(axes, series)
    axes.set(xlabel=x, ylabel=y)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    if limits:
        axes.set_ylim(*limits)
    if title:
        axes.set_title(title, wrap=True)
    return figure


def panels(
    rows: Mapping[str, Mapping[str, Sequence[Any]]],
    *,
    x: str,
    titles: Sequence[str],
    limits: Mapping[str, tuple[float, float]] | None = None,
    marks: Mapping[str, float] | None = None,
    height: float = 2.2,
) -> Figure:
    """Several plots of `curve`'s kind, one above another, over the same x.

    Args:
        rows: y label → what `curve` takes as `series`.
        x: the label of the axis that all share, with its unit.
        titles: for each row one sentence that says what it shows.
        limits: y label → lowest and highest y. marks: y label → where a dashed line is drawn across.
        height: of one row, in inches.

    Raises CourseError if lengths do not fit.
    """
    use_style()
    if len(titles) != len(rows):
        raise CourseError(f"panels got {len(rows)} rows and {len(titles)} titles; each row needs one.")
    figure = Figure(figsize=(7, height * len(rows)))
    every = figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
    for axes, (y, series), title in zip(every, rows.items(), titles, strict=True):
        _draw(axes, series)
        axes.set_ylabel(y)
        axes.set_title(title, wrap=True)
        if limits and y in limits:
            axes.set_ylim(*limits[y])
        if marks and y in marks:
            axes.axhline(marks[y], color="0.5", lw=1, ls="--", zorder=0)
    every[-1].set_xlabel(x)
    return figure


def _draw(axes: Any, series: Mapping[str, Sequence[Any]]) -> None:
    """Draws curves into axes, with a band where an interval is given and a legend where there are several."""
    for n, (label, values) in enumerate(series.items()):
        columns = [np.asarray(column, dtype=float) for column in values]
        if len(columns) not in (2, 4) or len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            shapes = ", ".join(str(column.shape) for column in columns)
            raise CourseError(
                f"The curve {label!r} needs (xs, ys) or (xs, ys, lows, highs) of one length; it has {shapes}."
            )
        xs, ys = columns[:2]
        dot = "o" if len(xs) <= 12 else None
        (line,) = axes.plot(xs, ys, DASHES[n % len(DASHES)], marker=dot, label=label)
        if len(columns) == 4:
            axes.fill_between(xs, columns[2], columns[3], color=line.get_color(), alpha=0.18, linewidth=0)
    if len(series) > 1:
        axes.legend()
