"""Figures of speed: the ladder with its price in quality, its frontier, what students lose, and the roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from course_utils.common import CourseError
from course_utils.show.style import INK, use_style


def ladder(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Rungs from top to bottom: milliseconds for one picture on the left, caption accuracy with its interval on the right.

    rows: those of book/results/ladder-cpu.json. Rungs that failed are named, without a bar. Starts are dark.
    """
    use_style()
    timed = [row for row in rows if row["ms_batch1"] is not None]
    if not timed:
        raise CourseError("No rung of this ladder was timed; measure it with `python -m course_utils bench`.")
    figure = Figure(figsize=(7, 0.34 * len(rows) + 1.3))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, row in enumerate(rows):
        if row["ms_batch1"] is None:
            left.text(0, place, " failed: the reason stands below the table", va="center", size=8)
            continue
        left.barh(place, row["ms_batch1"], color=INK if row["start"] else "C0", height=0.6)
        left.text(row["ms_batch1"], place, f" {row['ms_batch1']:.0f}", va="center", size=8)
        if row["accuracy"] is not None:
            low, high = row["intervals"]["accuracy"]
            right.plot([low, high], [place, place], color=INK if row["start"] else "C0")
            right.plot(row["accuracy"], place, "o", color=INK if row["start"] else "C0")
    left.set_yticks(range(len(rows)), [f"{row['rung']}, {row['steps']}" for row in rows])
    left.invert_yaxis()
    left.set(xlabel="ms for one picture, alone")
    left.set_xlim(0, 1.15 * max(row["ms_batch1"] for row in timed))
    right.set(xlabel="caption accuracy", xlim=(0, 1))
    # Whoever draws other pictures pays with quality, and is read beside its accuracy, not praised in the title.
    fair = [row for row in timed if row["start"]][-1]
    alike = {fair["rung"], fair["quality_of"]} - {None}
    best = min((row for row in timed if row["quality_of"] in alike or row is fair), key=lambda row: row["ms_batch1"])
    figure.suptitle(
        f"The fair start's pictures: {fair['ms_batch1']:.0f} ms become {best['ms_batch1']:.0f} by “{best['rung']}”, "
        f"a factor of {best['factor_from_fair']:.2f}",
        wrap=True,
    )
    return figure


def frontier(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """What a picture costs against what it is worth: milliseconds, and caption accuracy and fidelity with their 95 % intervals.

    rows: those of book/results/ladder-cpu.json. Of rungs that draw the same pictures the fastest is shown; starts always are, dark. The line goes
    through what no faster rung is as good as. Raises CourseError if no rung has both a time and an accuracy.
    """
    use_style()
    known = [row for row in rows if row["ms_batch1"] is not None and row["accuracy"] is not None]
    if not known:
        raise CourseError(
            "No rung of this ladder has a time and an accuracy; measure it with `python -m course_utils bench`."
        )
    known.sort(key=lambda row: row["ms_batch1"])
    alike: dict[str, Mapping[str, Any]] = {}
    for row in known:
        alike.setdefault(row["quality_of"] or row["rung"], row)
    shown = [row for row in known if row["start"] or row in alike.values()]
    figure = Figure(figsize=(7, 3.4 + 0.16 * -(-len(shown) // 2)))
    panels = figure.subplots(1, 2)
    for axes, name, better in zip(panels, ("accuracy", "fidelity"), (max, min), strict=True):
        best = list(accumulate((row[name] for row in shown), better))
        axes.step([row["ms_batch1"] for row in shown], best, where="post", color=INK, lw=0.8, ls=":")
        for number, row in enumerate(shown):
            mark, colour = "os^Dv<>PX*hd"[number % 12], INK if row["start"] else f"C{number % 8}"
            axes.plot([row["ms_batch1"]] * 2, row["intervals"][name], color=colour, lw=1)
            short = row["rung"].replace("student ", "").replace(": fewer steps", "")
            axes.plot(row["ms_batch1"], row[name], mark, color=colour, label=f"{short}, {row['steps']}")
        axes.set(xscale="log", xlabel="ms for one picture, alone")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
    panels[0].set(ylabel="caption accuracy", ylim=(0, None))
    panels[1].set(ylabel="fidelity, lower is better", yscale="log")
    panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1].yaxis.set_major_formatter(ScalarFormatter())
    panels[1].minorticks_off()
    names, labels = panels[0].get_legend_handles_labels()
    figure.legend(names, labels, loc="outside lower center", ncols=2, fontsize=7)
    naive = next(row for row in known if row["start"] and row["factor"] == 1)
    near = max((row for row in known if row["accuracy"] >= naive["accuracy"] - 0.03), key=lambda row: row["factor"])
    figure.suptitle(f"Within 3 points of the naive start the fastest is {near['factor']:.1f} times as fast")
    return figure


def losses(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """What ways of drawing lose of their teacher, attribute by attribute: paired differences in points, with their 95 % intervals.

    rows: label → a row of an entry of book/results/students-cpu.json, the one that the title speaks of first. On the left a picture of which the
    judge is unsure is wrong in all; on the right counts what it most likely sees. Raises CourseError if there are no rows.
    """
    use_style()
    if not rows:
        raise CourseError("losses got no rows; give label → row of an entry of students-cpu.json.")
    label, student = next(iter(rows.items()))
    names = list(student["most_likely"])
    figure = Figure(figsize=(7, 0.42 * len(names) + 2.2))
    panels = figure.subplots(1, 2, sharey=True)
    parts = {"attributes": "unsure is wrong", "most_likely": "as most likely seen"}
    for axes, (part, about) in zip(panels, parts.items(), strict=True):
        axes.axvline(0, color=INK, lw=1, ls="--")
        for number, (name, row) in enumerate(rows.items()):
            found = [[100 * v for v in row[part][attribute]["difference"]] for attribute in names]
            places = np.arange(len(names)) + 0.6 * ((number + 0.5) / len(rows) - 0.5)
            colour = f"C{number % 7}"
            axes.hlines(places, [low for _, low, _ in found], [high for *_, high in found], color=colour, lw=1.2)
            axes.plot([apart for apart, *_ in found], places, "os^Dv<>"[number % 7], color=colour, label=name, ms=5)
        axes.set_title(about)
        axes.set(xlabel="points from the teacher")
    panels[0].set_yticks(range(len(names)), [f"{name}, of {student['most_likely'][name]['of']:,}" for name in names])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    sure = {name: one["difference"] for name, one in student["most_likely"].items() if one["difference"][2] < 0}
    title = f"No attribute is surely worse: {label}"
    if sure:
        most = min(sure, key=lambda name: sure[name][0])
        title = f"As most likely seen, {label} loses most in {most}: {-100 * sure[most][0]:.1f} points"
    figure.suptitle(title, wrap=True)
    return figure


def few_steps(entries: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Students of several methods, each drawn in several numbers of steps, beside what as many evaluations buy their teacher.

    entries: of a file that `evaluate --beside` wrote, one for each method and number of steps; title: one sentence that says what they show. On the left
    caption accuracy by judge A with its 95 % interval, on the right fidelity with its own; dashed the teacher, dotted its controls.
    Raises CourseError if there are no entries.
    """
    use_style()
    if not entries:
        raise CourseError("few_steps got no entries; give those of book/results/students-budget-cpu.json.")
    figure = Figure(figsize=(7, 3.9))
    panels = figure.subplots(1, 2)
    teacher, floor = entries[0]["rows"][0], entries[0]["rows"][0]["fidelity_floor"]

    def accuracy(row: Mapping[str, Any]) -> list[float]:
        found = row["groups"]["all"]
        return [100 * v for v in (found["right"] / found["of"], *found["interval"])]

    def fidelity(row: Mapping[str, Any]) -> list[float]:
        return [row["fidelity"], *row["intervals"]["fidelity"]]

    controls: dict[str, dict[int, Any]] = {row["name"]: {} for row in entries[0]["rows"][2:]}
    methods: dict[str, dict[int, Any]] = {}
    for entry in entries:
        methods.setdefault(entry["method"], {})[entry["rows"][1]["evaluations"]] = entry["rows"][1]
        for row in entry["rows"][2:]:
            controls[row["name"]][row["evaluations"]] = row
    for axes, value in zip(panels, (accuracy, fidelity), strict=True):
        about = f"teacher, {teacher['evaluations']} evaluations"
        axes.axhline(value(teacher)[0], color=INK, lw=1, ls="--", label=about)
        for number, (name, rows) in enumerate({**methods, **controls}.items()):
            control = name in controls
            colour, label = (INK, name.replace("control", "teacher")) if control else (f"C{number % 7}", name)
            counts = sorted(rows)
            middle, low, high = zip(*(value(rows[n]) for n in counts), strict=True)
            # side by side, so that bars can be told apart
            places = [n * 1.03 ** (number - len(methods) / 2) for n in counts]
            axes.vlines(places, low, high, color=colour, lw=1)
            style = {"ls": ":", "mfc": "none"} if control else {"ls": "-"}
            axes.plot(places, middle, "os^Dv<>"[number % 7], color=colour, label=label, ms=5, lw=1, **style)
        axes.set(xscale="log", xlabel="evaluations for a picture")
        axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        axes.minorticks_off()
    panels[0].set(ylabel="judge A calls right, %", ylim=(0, None))
    panels[1].axhline(floor, color=INK, lw=0.6, label="floor: real against real")
    panels[1].set(ylabel="fidelity, lower is better", yscale="log")
    panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1].yaxis.set_major_formatter(ScalarFormatter())
    panels[1].minorticks_off()
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title, wrap=True)
    return figure


def race(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Rungs of the second ladder: images to the target, a dot for each seed, and how many times as fast as the start, with its interval.

    rows: those of book/results/time-to-accuracy-cpu.json; title: one sentence that says what they show. Rungs that were not run are left out; of those that
    did not reach the target the dots that there are stay, without a factor.
    """
    use_style()
    shown = [row for row in rows if row["images"]]
    if not any(any(row["images"]) for row in shown):
        raise CourseError("No rung reached the target; run `python -m course_utils race`.")
    figure = Figure(figsize=(7, 0.36 * len(shown) + 1.3))
    left, right = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(shown):
        if row["learns"] == "by itself":
            images = [n / 1000 for n in row["images"] if n is not None]
            left.plot(images, [place] * len(images), "o", color="C0", alpha=0.7, ms=5)
        if row["factor"] is None:
            word = (
                "1, by definition" if row is rows[0] else "not reached by all" if None in row["images"] else "not timed"
            )
            right.text(1.06, place, word, va="center", size=8)
            continue
        low, high = row["intervals"].get("factor", [row["factor"]] * 2)
        right.plot([low, high], [place, place], color="C1")
        right.plot(row["factor"], place, "D", color="C1", ms=5)
    left.set_yticks(range(len(shown)), [row["rung"] for row in shown])
    left.invert_yaxis()
    left.set(xlabel="thousand images to the target")
    left.set_xlim(0, 1.08 * max(n or 0 for row in shown for n in row["images"]) / 1000)
    right.axvline(1, color=INK, lw=1, ls="--")
    right.set(xlabel="times as fast as the start", xscale="log")
    right.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    right.minorticks_off()
    right.set_xlim(1 / 10, 10)  # with two seeds an interval is wider than any figure
    figure.suptitle(title, wrap=True)
    return figure


def roofline(
    machine: Mapping[str, Any], points: Mapping[str, tuple[float, float]], *, title: str, dtype: str = "fp32"
) -> Figure:
    """Speeds of kernels under the machine's roof, both axes logarithmic.

    Args:
        machine: what `measure.ceilings.ceilings` found.
        points: label → (operations for each byte, operations per second).
        title: one sentence that says what the points show.
    """
    use_style()
    if not points:
        raise CourseError("roofline got no points; give label → (operations for each byte, operations per second).")
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    xs = [x for x, _ in points.values()]
    peak, bandwidth = machine["gemm"][dtype], machine["bandwidth"]
    line = np.geomspace(min(min(xs), peak / bandwidth) / 2, max(max(xs), peak / bandwidth) * 2, 100)
    axes.plot(line, np.minimum(line * bandwidth, peak) / 1e9, color=INK, label="the roof")
    for number, (name, (x, y)) in enumerate(points.items()):
        axes.plot(x, y / 1e9, "os^Dv<>PX*hd"[number % 12], color=f"C{number % 8}", label=name, ms=7)
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="billion operations a second")
    axes.legend(fontsize=8, loc="lower right")
    axes.set_title(title, wrap=True)
    return figure
