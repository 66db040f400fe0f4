"""Makes the picture of the README from the shipped weights.

python book/figures.py
"""

from __future__ import annotations

from pathlib import Path

from course_utils import show
from course_utils.generators import load

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


def pictures() -> None:
    """One picture for each prompt, the first seed, none chosen."""
    drawn = load("flow-shapes")(PROMPTS, seed=0)
    title = "Drawn by the text-to-image model that ships with the course, first seed, none chosen"
    show.grid(drawn.images, PROMPTS, columns=4, title=title).savefig(RESULTS / "first_pictures.png", dpi=110)


if __name__ == "__main__":
    pictures()
