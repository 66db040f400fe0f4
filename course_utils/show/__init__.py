"""Pictures, curves, flipbooks and widgets, in one style."""

from course_utils.show.browsing import browse
from course_utils.show.flows import paths, points
from course_utils.show.interactive import Flipbook, explore, flipbook, prompt_box
from course_utils.show.pictures import grid, to_png
from course_utils.show.plots import clouds, curve, panels
from course_utils.show.searching import search_box
from course_utils.show.speed import ladder, roofline
from course_utils.show.style import use_style

__all__ = [
    "Flipbook",
    "browse",
    "clouds",
    "curve",
    "explore",
    "flipbook",
    "grid",
    "ladder",
    "panels",
    "paths",
    "points",
    "prompt_box",
    "roofline",
    "search_box",
    "to_png",
    "use_style",
]
