"""Pictures, curves, flipbooks and widgets, in one style."""

from course_utils.show.browsing import browse
from course_utils.show.flows import paths, points
from course_utils.show.interactive import Flipbook, explore, flipbook, prompt_box
from course_utils.show.maps import maps
from course_utils.show.pictures import grid, to_png
from course_utils.show.plots import clouds, curve, panels
from course_utils.show.searching import search_box
from course_utils.show.speed import few_steps, frontier, ladder, losses, race, roofline
from course_utils.show.style import use_style
from course_utils.show.word_maps import word_map

__all__ = [
    "Flipbook",
    "browse",
    "clouds",
    "curve",
    "explore",
    "few_steps",
    "flipbook",
    "frontier",
    "grid",
    "ladder",
    "losses",
    "maps",
    "panels",
    "paths",
    "points",
    "prompt_box",
    "race",
    "roofline",
    "search_box",
    "to_png",
    "use_style",
    "word_map",
]
