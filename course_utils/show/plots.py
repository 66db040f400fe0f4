"""Curves with intervals, and clouds of points."""

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


def clouds(
    panels: Mapping[str, Mapping[str, Any]],
    *,
    limit: float,
    columns: int | None = None,
    title: str | None = None,
    size: float = 2.3,
    arrows: Mapping[str, tuple[Any, Any]] | None = None,
) -> Figure:
    """Clouds of points in the plane, in square panels side by side.

    Args:
        panels: title of a panel → label → points (N, 2); a label has one colour in all panels.
        limit: both axes go from -limit to limit.
        columns: panels in a row; all in one if left out.
        title: one sentence that says what the panels show.
        size: of a panel, in inches.
        arrows: title of a panel → (starts (N, 2), moves (N, 2)), drawn to scale.

    Raises CourseError if points are not (N, 2).
    """
    use_style()
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(size * columns, (size + 0.2) * rows + 0.5))
    every = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in every[len(panels) :]:
        axes.remove()
    for axes, (name, series) in zip(every, panels.items(), strict=False):
        for n, (label, points) in enumerate(series.items()):
            points = np.asarray(points)
            if points.ndim != 2 or points.shape[1] != 2:
                raise CourseError(f"The cloud {label!r} needs points (N, 2); it has the shape {points.shape}.")
            axes.scatter(points[:, 0], points[:, 1], s=5, marker="ox+"[n % 3], lw=0.5, label=label, rasterized=True)
        if arrows and name in arrows:
            starts, moves = map(np.asarray, arrows[name])
            axes.quiver(*starts.T, *moves.T, angles="xy", scale_units="xy", scale=1, width=0.006, color="0.3")
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        axes.set_title(name, size=9)
    if max(map(len, panels.values())) > 1:
        every[0].legend(loc="center", fontsize=7, markerscale=2)
    if title:
        figure.suptitle(title, wrap=True)
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
