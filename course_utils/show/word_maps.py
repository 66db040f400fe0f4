"""Maps of words: points in a plane, coloured by what the words mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure

from course_utils.common import CourseError
from course_utils.show.style import INK, use_style

MARKERS = "osD^vPX"  # groups differ in more than colour


def word_map(
    panels: Mapping[str, tuple[Sequence[str], Any]],
    groups: Mapping[str, Sequence[str]],
    *,
    starred: Collection[str] = (),
    title: str | None = None,
) -> Figure:
    """Words as points, a panel for each map, one colour and marker for each group; one that is called "red" is red.

    Args:
        panels: title of a panel → (words, points (N, 2)).
        groups: label of a group → its words; words of no group are left out.
        starred: words that are drawn large, with their name.
        title: one sentence that says what the panels show.

    Raises CourseError if there is not a point (x, y) for each word.
    """
    use_style()
    figure = Figure(figsize=(7, 7 / len(panels) + 1.1))
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, (words, points)) in zip(every, panels.items(), strict=True):
        places = np.asarray(points, dtype=float)
        if places.shape != (len(words), 2):
            raise CourseError(f"The map {name!r} needs points ({len(words)}, 2); they have the shape {places.shape}.")
        where, middle = dict(zip(words, places, strict=True)), places.mean(0)
        named = [word for word in starred if word in where]
        for n, (label, members) in enumerate(groups.items()):
            here = [where[word] for word in members if word in where and word not in named]
            stars = [where[word] for word in members if word in named]
            other = "0.5" if any(map(is_color_like, groups)) else f"C{n}"
            colour, marker = label if is_color_like(label) else other, MARKERS[n % len(MARKERS)]
            look: dict[str, Any] = {"color": colour, "marker": marker, "edgecolor": INK, "linewidth": 0.6}
            axes.scatter(*np.reshape(here, (-1, 2)).T, s=24, label=label, alpha=0.8, **look)
            axes.scatter(*np.reshape(stars, (-1, 2)).T, s=110, **look)
        for k, word in enumerate(sorted(named, key=lambda word: where[word][1])):
            # names are spread over the height, so that those of neighbours can be read
            right = where[word][0] < middle[0]
            at = (0.98 if right else 0.02, (k + 0.5) / len(named))
            line = {"arrowstyle": "-", "color": "0.5", "lw": 0.6}
            align = {"ha": "right" if right else "left", "va": "center"}
            axes.annotate(word, where[word], at, textcoords="axes fraction", size=8, arrowprops=line, **align)
        axes.set_title(name, size=9, wrap=True)
        axes.set(xticks=[], yticks=[], xlabel="first direction", ylabel="second direction")
        axes.margins(0.12)
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(groups), fontsize=7)
    if title:
        figure.suptitle(title, wrap=True)
    return figure
