"""The ladder as a table, made from the rows of book/results, never typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def cell(name: str, form: str, scale: float = 1.0) -> Callable[[Row], str]:
    """A column that shows a number with its 95 % interval (times: their quartiles)."""

    def shown(row: Row) -> str:
        if row[name] is None:
            return "–"
        low_high = [f"{scale * v:{form}}" for v in row["intervals"].get(name, [])]
        value = row[name] if scale == 1 else scale * row[name]
        return f"{value:{form}}" + (f" [{', '.join(low_high)}]" if low_high else "")

    return shown


COLUMNS: dict[str, Callable[[Row], str]] = {
    "rung": lambda row: f"**{row['rung']}**" if row["start"] else row["rung"],
    "steps": lambda row: str(row["steps"]),
    "evaluations": cell("evaluations", "d"),
    "GFLOP": cell("gflop", ".3g"),
    "ms at batch 1": cell("ms_batch1", ".0f"),
    "ms at batch 32": cell("ms_batch32", ".0f"),
    "peak MB": cell("peak_mb", ".1f"),
    "factor": cell("factor", ".2f"),
    "= fewer": cell("fewer_operations", ".2f"),
    "× faster operations": cell("faster_operations", ".2f"),
    "accuracy, %": cell("accuracy", ".1f", 100),
    "fidelity": cell("fidelity", ".1f"),
    "diversity": cell("diversity", ".2f"),
}


def markdown(rows: Sequence[Row]) -> str:
    """A table of Markdown, then a line for each rung that failed."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] * len(COLUMNS))} |"]
    lines += [f"| {' | '.join(shown(row) for shown in COLUMNS.values())} |" for row in rows]
    failed = [f"- {row['rung']}: {row['reason']}" for row in rows if row["reason"]]
    return "\n".join([*lines, *(["", "Rungs that failed:", "", *failed] if failed else [])])
