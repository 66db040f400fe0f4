"""Logs of a GPU, gathered for lesson 18: what is thinned keeps its end, and what was watched is read as it was written."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from course_utils.common import ROOT

LOGS = runpy.run_path(str(ROOT / "book" / "logs.py"))


def test_a_thinned_log_is_short_and_keeps_its_last_row(tmp_path: Path) -> None:
    rows = [{"images": 256 * n, "seconds": n / 3, "loss": 1 / n} for n in range(1, 283)]
    rows[-1]["watts"] = 568.968
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kept = LOGS["thin"](tmp_path / "log.jsonl")
    assert len({len(column) for column in kept.values()}) == 1 and 30 < len(kept["images"]) <= LOGS["MOST"]
    assert kept["images"][-1] == rows[-1]["images"] and kept["watts"][-2:] == [None, 568.97]
    assert kept["images"] == sorted(kept["images"]) and kept["loss"][-1] == float(f"{1 / 282:.5g}")


def test_a_short_log_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"images": 1, "waiting": 0.0}\n{"images": 2, "waiting": 0.5}\n')
    kept = LOGS["thin"](tmp_path / "log.jsonl")
    assert kept["images"] == [1, 2] and kept["waiting"] == [0, 0.5]


def test_only_those_that_train_have_a_rate(tmp_path: Path) -> None:
    (tmp_path / "watch.txt").write_text(
        "[30] 98 %, 1000 MiB, 551.66 W\n"
        "== full.log:  13%|██▋    | 119k/900k images, loss 0.0874, 950 images/s, 00:26 left\n"
        "== sib.log: making pictures:   1%|▏     | 11/782 [00:04<02:54,  4.42batch/s]\n"
        "[60] 0 %, 10 MiB, 100.00 W\n"
        "== full.log: wrote weights\n"
        "== sib.log:  13%|██▋    | 12k/900k images, loss 0.9, 9,500 images/s, 01:00 left 15%| 13k, 9,600 images/s\n"
    )
    first, second = LOGS["watched"](tmp_path / "watch.txt")
    assert first == {"seconds": 30, "busy": 0.98, "memory_gb": 1.0, "watts": 551.66, "rates": {"full": 950}}
    assert second["rates"] == {"sib": 9600} and second["watts"] == 100
