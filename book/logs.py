"""Gathers the logs of trainings that shared a GPU into one small file, which lesson 18 reads.

python book/logs.py out     from out/runs/NAME/log.jsonl, out/weights/NAME/card.json where a run has one, and out/watch.txt

`watch.txt` holds, every half minute, what `nvidia-smi` says and the last line that each training has written.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from course_utils.commands.cards import measured

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("images", "seconds", "loss", "images_per_second", "waiting", "utilisation", "watts", "memory_gb")
CARD = (
    "command",
    "machine",
    "images_seen",
    "seconds",
    "utilisation",
    "watts",
    "peak_memory_gb",
    "config",
    "before",
    "quality",
)
MOST = 60  # rows that are kept of a log


def thin(path: Path) -> dict[str, list[float | None]]:
    """At most MOST rows of a log, evenly spread and the last one among them: column → values, None where a row has none."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    every = -(-len(rows) // MOST)
    kept = rows[::-1][::every][::-1]
    return {name: [row.get(name) and float(f"{row[name]:.5g}") for row in kept] for name in COLUMNS}


def run(log: Path, weights: Path) -> dict[str, Any]:
    """One training: its log, and what its card says of it, the measured quality included, if there is one."""
    found: dict[str, Any] = {"log": thin(log)}
    if (weights / "card.json").exists():
        card = json.loads((weights / "card.json").read_text(encoding="utf-8"))
        found |= {name: card.get(name) for name in CARD}
    return found


def watched(path: Path) -> list[dict[str, Any]]:
    """Each look at the GPU: seconds since the first training began, share of the time busy, GB, watts, images/s of each run."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if look := re.match(r"\[(\d+)\] (\d+) %, (\d+) MiB, ([\d.]+) W", line):
            seconds, busy, mib, watts = map(float, look.groups())
            memory = round(mib * 2**20 / 1e9, 1)
            found.append({"seconds": seconds, "busy": busy / 100, "memory_gb": memory, "watts": watts, "rates": {}})
        elif line.startswith("== ") and (rates := re.findall(r"([\d,]+) images/s", line)):
            found[-1]["rates"][line.split()[1].removesuffix(".log:")] = int(rates[-1].replace(",", ""))
    return found


def main(folder: Path) -> None:
    """Writes book/results/emoji-gpu.json."""
    logs = sorted(folder.glob("runs/*/log.jsonl"))
    found = {
        "measured": measured("python book/logs.py out", {}),
        "runs": {log.parent.name: run(log, folder / "weights" / log.parent.name) for log in logs},
        "watched": watched(folder / "watch.txt"),
    }
    text = json.dumps(found, ensure_ascii=False)
    (RESULTS / "emoji-gpu.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
