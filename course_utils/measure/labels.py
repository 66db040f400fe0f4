"""Pictures that were labelled by eye, against which the automatic judges are held; `data/labels` and `data/labels-emoji` have their cards.

The scene that a picture should show is what the world's `parse` makes of `label.caption`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from course_utils.common import DATA, CourseError, atomic_path
from course_utils.measure.intervals import wilson

FOLDERS = {"shapes": DATA / "labels", "emoji_scenes": DATA / "labels-emoji"}  # of each world
SIDES = {"shapes": 32, "emoji_scenes": 64}  # pixels of a side of a picture
COLUMNS = 20  # of the grid of pictures
ANSWERS, HALVES = ("right", "wrong", "doubtful"), ("choose", "report")


@dataclass(frozen=True)
class Label:
    """What the eye says of picture `number`: does it show its caption? `reason`: why not. `half`: see `load_labels`."""

    number: int
    caption: str
    source: str
    answer: str
    reason: str
    half: str


def files(world: str) -> tuple[Path, Path]:
    """The pictures of a world and their labels: a PNG and a JSON file."""
    return FOLDERS[world] / "pictures.png", FOLDERS[world] / "labels.json"


def load_labels(world: str = "shapes") -> tuple[Tensor, list[Label]]:
    """The pictures (N, 3, S, S) float32 in [0, 1] of a world, and the label of each.

    Thresholds are chosen on the half "choose", numbers reported on the half "report": the pictures of each source and answer
    go to the two in turns. Raises CourseError if the files are missing or damaged, or a picture is not the one labelled.
    """
    (pictures, answers), side = files(world), SIDES[world]
    try:
        entries = json.loads(answers.read_text(encoding="utf-8"))
        grid = np.asarray(Image.open(pictures).convert("RGB")).reshape(-1, side, COLUMNS, side, 3)
        cells = np.ascontiguousarray(grid.swapaxes(1, 2)).reshape(-1, side, side, 3)[: len(entries)]
        labels: list[Label] = []
        for number, entry in enumerate(entries):
            if hashlib.sha256(cells[number].tobytes()).hexdigest() != entry["sha256"]:
                raise ValueError(f"picture {number} is not the one that was labelled")
            group = entry["source"], entry["answer"]
            half = HALVES[sum(group == (label.source, label.answer) for label in labels) % 2]
            labels.append(Label(number, entry["caption"], *group, entry["reason"], half))
    except (OSError, ValueError, LookupError) as error:
        raise CourseError(
            f"Cannot read the labelled pictures ({error}); `git checkout -- data/{FOLDERS[world].name}`."
        ) from error
    return torch.from_numpy(cells).permute(0, 3, 1, 2).float() / 255, labels


def save_pictures(pictures: Tensor, rows: Sequence[tuple[str, str]], old: Sequence[dict[str, Any]], world: str) -> None:
    """Writes pictures (N, 3, S, S) in [0, 1] as a grid, and an entry for each: `old` ones as they are, then captions and sources
    of the others, with an empty answer.
    """
    pixels = (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()
    side = SIDES[world]
    sheet = Image.new("RGB", (side * COLUMNS, side * -(-len(pixels) // COLUMNS)))
    for i, part in enumerate(pixels):
        sheet.paste(Image.fromarray(part), (side * (i % COLUMNS), side * (i // COLUMNS)))
    new = [
        {
            "number": i,
            "sha256": hashlib.sha256(pixels[i].tobytes()).hexdigest(),
            "caption": text,
            "source": source,
            "answer": None,
            "reason": "",
        }
        for i, (text, source) in enumerate(rows, len(old))
    ]
    grid, answers = files(world)
    with atomic_path(grid) as path:
        sheet.save(path, optimize=True)
    with atomic_path(answers) as path:
        path.write_text(json.dumps([*old, *new], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def agreement(verdicts: Sequence[bool], labels: Sequence[Label]) -> dict[str, Any]:
    """How a judge's verdicts (True: the picture shows its caption) agree with the eye, over all and by source.

    agreement: of the pictures that are not doubtful, those with the eye's verdict; wrong_accepted, right_accepted,
    doubtful_accepted: of the pictures with this answer, those with verdict True. Each has count, of, share (None if of nothing)
    and its 95 % Wilson interval. Raises ValueError unless there is one verdict for each label.
    """
    pairs = [(bool(verdict), label) for verdict, label in zip(verdicts, labels, strict=True)]
    sources = sorted({label.source for label in labels})
    return _shares(pairs) | {"sources": {s: _shares([p for p in pairs if p[1].source == s]) for s in sources}}


def _shares(pairs: list[tuple[bool, Label]]) -> dict[str, dict[str, Any]]:
    rows = {f"{a}_accepted": [verdict for verdict, label in pairs if label.answer == a] for a in ANSWERS}
    rows["agreement"] = [*rows["right_accepted"], *(not verdict for verdict in rows["wrong_accepted"])]
    return {name: _share(sum(row), len(row)) for name, row in rows.items()}


def _share(k: int, n: int) -> dict[str, Any]:
    return {"count": k, "of": n, "share": k / n if n else None, "interval": wilson(k, n)}
