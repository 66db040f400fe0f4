"""Makes the pictures that stand in the book beside the lessons.

python book/figures.py                 the README's two, from the shipped weights
python book/figures.py frontier        time against quality, from the stored speed ladder, and its pictures
python book/figures.py methods FOLDER  students of several methods at the same budget, from the folder of their weights
python book/figures.py my_pictures     that of "Your own pictures", from the folder and the weights of its example
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from course_utils import show
from course_utils.commands.cards import measured
from course_utils.common import DATA
from course_utils.generators import load
from course_utils.loaded import watch_loaded
from course_utils.worlds.captioned import world

RESULTS = Path(__file__).parent / "results"
PROMPTS = (
    "a small red circle above a large blue square",
    "一个红色的小圆在蓝色大方块的上面",
    "a large striped green moon on a black background",
    "a small pink star to the left of a large outlined yellow heart",
    "two large purple crosses on a white background",
    "三个橙色的小爱心，黑色背景",
    "a large cyan diamond in the top right corner",
    "a big orange triangle over a checkered background",
)
EMOJI = (
    "a large sunflower in a meadow",
    "a big rocket at sunset",
    "a large robot in the city",
    "a cat under a tree at night",
    "雪地里，一只大企鹅",
    "海滩上，一颗大星星",
    "森林里，一朵大蘑菇",
    "草地上，一只狗在一个球的右边",
)
OWN = ("red heart", "green heart", "grinning face", "cat face", "blue book", "pizza", "red book", "green cat face")


def first_pictures() -> None:
    """One picture for each prompt, the first seed, none chosen: by each of the generators that ship."""
    for name, prompts, file in (("flow-shapes", PROMPTS, "first_pictures"), ("flow-emoji", EMOJI, "emoji_pictures")):
        with watch_loaded() as weights:
            drawn = load(name)(prompts, seed=0)
        title = f"Drawn by `{name}`, which ships with the course: first seed, none chosen"
        sheet = show.grid(drawn.images, prompts, columns=4, title=title)
        save(sheet, f"{file}.png", measured("python book/figures.py", weights))


def frontier() -> None:
    """The rungs of the speed ladder: milliseconds against accuracy and fidelity."""
    rows = RESULTS / "ladder-cpu.json"
    sheet = show.frontier(json.loads(rows.read_text(encoding="utf-8")))
    weights = json.loads(rows.read_text(encoding="utf-8"))[0]["measured"]["weights"]
    save(sheet, "frontier.png", measured("python book/figures.py frontier", weights, rows))
    students(rows)


def students(ladder: Path) -> None:
    """What the milliseconds of a ladder buy: eight prompts at the naive start, at the fair one, and by the students that ship."""
    rows = {row["rung"]: row for row in json.loads(ladder.read_text(encoding="utf-8"))}
    ways = {"naive start": "flow-shapes", "fair start": "flow-shapes"}
    ways |= {f"student {name}": name for name in ("flow-shapes-4", "flow-shapes-1")}
    with watch_loaded() as weights:
        drawn = [load(name, "cpu")(PROMPTS, steps=rows[rung]["steps"], seed=0).images for rung, name in ways.items()]
    times = [f"{rung.removeprefix('student flow-')} {rows[rung]['ms_batch1']:,.0f}" for rung in ways]
    title = "The same prompt and noise in each column; under each picture its milliseconds on one core"
    sheet = in_rows(times, drawn, title)
    save(sheet, "students.png", measured("python book/figures.py frontier", weights, ladder))


def methods(folder: Path) -> None:
    """Eight prompts by the teacher, and by students that learned from it for equally long, in four jumps and in one."""
    with watch_loaded() as weights:
        rows = {"teacher": load("flow-shapes", "cpu")(PROMPTS, seed=0).images}
        for steps in (4, 1):
            for name in ("reflow", "shortcut", "meanflow", "consistency"):
                student = load(folder / f"flow-shapes-{name}", "cpu")
                rows[f"{name} {steps}"] = student(PROMPTS, steps=steps, seed=0).images
    title = "The same prompt and noise in each column; each student learned for a quarter of an hour"
    sheet = in_rows(list(rows), list(rows.values()), title)
    save(sheet, "students-budget.png", measured("python book/figures.py methods FOLDER", weights))
    finishes(folder)


def finishes(folder: Path) -> None:
    """The same prompts by the student of one jump, before and after five more minutes of four kinds."""
    ways: dict[str, str | Path] = {"teacher": "flow-shapes", "before": "flow-shapes-1"}
    ways |= {"more reflow": folder / "flow-shapes-1-on"}
    ways |= {part: folder / f"flow-shapes-dmd-{part}" for part in ("both", "matching", "guidance")}
    with watch_loaded() as weights:
        drawn = [load(name, "cpu")(PROMPTS, seed=0).images for name in ways.values()]
    title = "One jump, before and after five more minutes; the same prompt and noise in each column"
    sheet = in_rows(list(ways), drawn, title)
    save(sheet, "students-finish.png", measured("python book/figures.py methods FOLDER", weights))


def in_rows(names: list[str], drawn: list[torch.Tensor], title: str) -> Any:
    """A row of pictures of all PROMPTS for each name."""
    labels = [name for name in names for _ in PROMPTS]
    return show.grid(torch.cat(drawn), labels, columns=len(PROMPTS), title=title)


def own_pictures(folder: str) -> None:
    """For each of some captions the folder's own picture, where it has one, and two that were drawn."""
    mine = world("folder", "all", path=folder, size=32)
    numbers = {mine.caption(i): i for i in range(len(mine))}
    with watch_loaded() as weights:
        generator = load("flow-folder")
    drawn = [generator(OWN, seed=seed).images for seed in (0, 1)]
    real = [mine.images(numbers[name]) if name in numbers else torch.ones(3, 32, 32) for name in OWN]
    captions = [*(name if name in numbers else "(none)" for name in OWN), *OWN, *OWN]
    title = f"First row: in the folder. Below: drawn, two seeds, after {generator.card['images_seen']:,} images"
    sheet = show.grid(torch.cat([torch.stack(real), *drawn]), captions, columns=8, title=title)
    emoji = DATA / "emoji" / "emoji.zip"
    save(sheet, "own_pictures.png", measured("python book/figures.py my_pictures", weights, emoji))


def save(sheet: Any, name: str, made: dict[str, Any]) -> None:
    """Writes a picture to book/results, with what it was made by and from inside it."""
    sheet.savefig(RESULTS / name, dpi=110, metadata={"Measured": json.dumps(made)})


if __name__ == "__main__":
    if sys.argv[1:] == ["frontier"]:
        frontier()
    elif sys.argv[1:2] == ["methods"] and len(sys.argv) == 3:
        methods(Path(sys.argv[2]))
    elif len(sys.argv) > 1:
        own_pictures(sys.argv[1])
    else:
        first_pictures()
