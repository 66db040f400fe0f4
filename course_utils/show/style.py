"""The course's one look: a style file, a Chinese font, and figures in notebooks at exactly the size they were made."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
from matplotlib import font_manager

from course_utils.common import DATA, CourseError

STYLE = Path(__file__).with_name("course.mplstyle")
FONT = DATA / "fonts" / "NotoSansCJKsc-subset.otf"

WIDTH = 768  # pixels: the width of the book's text, as in course.css
RIGHT, WRONG, INK, FRAME = "#009E73", "#D55E00", "#222222", "#BBBBBB"


@functools.cache
def use_style() -> None:
    """Makes the course's style the default of matplotlib: readable at book width, safe for colour blindness, with Chinese.

    In a notebook it also makes figures show once, when they are a cell's last value, and uncropped. Functions of this room
    call it; call it yourself before drawing with matplotlib directly. Only the first call acts: later changes are kept.
    Raises CourseError if the shipped font is missing.
    """
    if not FONT.exists():
        raise CourseError(
            f"The font {FONT} is missing; it ships with the course: get it back with `git checkout data/fonts`."
        )
    font_manager.fontManager.addfont(FONT)
    mpl.style.use(STYLE)
    _prepare_notebook()


def _prepare_notebook() -> None:
    """Tells IPython, if we are in a notebook, to show figures that pyplot does not know, and not to crop any."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        return
    import matplotlib.pyplot as plt
    from matplotlib_inline.config import InlineBackend

    plt.switch_backend(mpl.get_backend())  # loads the notebook's backend, which tells IPython how to show a Figure
    settings = InlineBackend.instance(parent=shell)
    settings.set_trait("print_figure_kwargs", {"bbox_inches": None})
