"""Crowds on their way from noise to data: paths of numbers over time, and points in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from course_utils.common import CourseError
from course_utils.show.style import INK, use_style

ABOVE, BELOW = "#0072B2", "#D55E00"


def paths(
    times: Sequence[float],
    values: Any,
    *,
    title: str,
    density: tuple[Any, Any] | None = None,
    lines: tuple[Any, Any] | None = None,
    arrived: tuple[Any, str] | None = None,
    y: str = "x",
    size: tuple[float, float] = (7, 3.4),
) -> Figure:
    """Paths of single numbers over time; those that end above 0 are blue, the others orange.

    Args:
        times, values: (T,) and (T, N).
        density: (xs (X,), p (T, X)): how dense the crowd is at each time, drawn as a grey map behind the paths.
        lines: (starts (M,), ends (M,)) of straight lines from the first time to the last, drawn in grey.
        arrived: (numbers, title) for a histogram at the right, over which the last density is drawn.

    Returns a Figure that pyplot does not know. Raises CourseError if lengths do not fit.
    """
    use_style()
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or len(values) != len(times):
        raise CourseError(f"paths needs values (T, N) for {len(times)} times; these have the shape {values.shape}.")
    figure = Figure(figsize=size)
    if arrived:
        axes, side = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    else:
        axes = figure.add_subplot()
    if density is not None:
        grid, p = (np.asarray(part, dtype=float) for part in density)
        axes.pcolormesh(times, grid, p.T, cmap="Greys", vmax=1.6 * p.max(), shading="gouraud", rasterized=True)
    if lines is not None:
        axes.plot([times[0], times[-1]], np.stack([np.asarray(end, dtype=float) for end in lines]), lw=0.5, color="0.7")
    for line in values.T:
        axes.plot(times, line, lw=0.8, color=ABOVE if line[-1] > 0 else BELOW)
    axes.set(xlabel="time t, from noise to data", ylabel=y)
    axes.set_title(title, wrap=True)
    if arrived:
        numbers, words = arrived
        side.hist(np.asarray(numbers, dtype=float), bins=60, density=True, orientation="horizontal", color="0.8")
        if density is not None:
            side.plot(p[-1], grid, color=INK, lw=1.5)
        side.set(xlabel="density at t = 1")
        side.set_title(words, wrap=True)
    return figure


def points(
    panels: Mapping[str, Any],
    *,
    title: str | None = None,
    columns: int = 4,
    limit: float = 3.0,
    labels: tuple[str, str] = ("", ""),
    side: float | None = None,
) -> Figure:
    """Crowds of points in a plane, a panel each.

    Args:
        panels: title → points (N, 2), or (points, places (M, 2), arrows (M, 2)) with arrows drawn at the places.
        columns: panels side by side. limit: the axes go from -limit to limit. labels: of the two axes.
        side: height of a panel in inches; chosen from the columns if left out.

    Returns a Figure that pyplot does not know. Raises CourseError if a panel holds something else.
    """
    use_style()
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(7, rows * (side or 6.6 / columns + 0.3) + (0.4 if title else 0)))
    every = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in every.flat[len(panels) :]:
        axes.axis("off")
    for axes, (name, panel) in zip(every.flat, panels.items(), strict=False):
        parts = [np.asarray(part, dtype=float) for part in (panel if isinstance(panel, tuple) else (panel,))]
        if len(parts) not in (1, 3) or any(part.ndim != 2 or part.shape[1] != 2 for part in parts):
            shapes = ", ".join(str(part.shape) for part in parts)
            raise CourseError(f"The panel {name!r} needs points (N, 2), or points, places and arrows; it has {shapes}.")
        axes.scatter(*parts[0].T, s=2, color="0.55" if len(parts) == 3 else ABOVE, alpha=0.6, linewidths=0)
        if len(parts) == 3:
            axes.quiver(*parts[1].T, *parts[2].T, color=BELOW, angles="xy", width=0.006)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        axes.set_title(name, size=9)
    for axes in every[-1]:
        axes.set_xlabel(labels[0])
    for axes in every[:, 0]:
        axes.set_ylabel(labels[1])
    if title:
        figure.suptitle(title, size=11)
    return figure
