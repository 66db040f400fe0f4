"""A box in which words are typed that look for pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from course_utils.common import CourseError
from course_utils.extras import need
from course_utils.show.browsing import CELLS, captioned_html
from course_utils.show.interactive import debounced, line_html
from course_utils.show.style import WRONG


def search_box(
    find: Callable[[str], tuple[Any, Sequence[str]]], examples: Sequence[str] = (), *, placeholder: str = "type words"
) -> Any:
    """A box to type words into, and under it the pictures that `find` brings, the nearest first.

    Args:
        find: called with the text; returns pictures (N, C, H, W) in [0, 1] and N short texts to stand under them.
        examples: queries on buttons; the first is looked for at the start.
        placeholder: what the empty box says.

    What goes wrong is said in one line. Returns a widget; it needs a running kernel, so put ready answers beside it (a
    `flipbook`). Raises CourseError if ipywidgets is missing.
    """
    w = need("lab", "ipywidgets")
    box = w.Text(
        value=examples[0] if examples else "",
        description="find",
        placeholder=placeholder,
        style={"description_width": "auto"},
        layout=w.Layout(width="min(30em,98%)"),
    )
    row = [w.Button(description=text, tooltip=text, layout=w.Layout(width="auto")) for text in examples]
    sheet = w.HTML()

    def search(_: Any = None) -> None:
        if not box.value.strip():
            sheet.value = ""
            return
        try:
            images, names = find(box.value)
            cells = [captioned_html(image, name) for image, name in zip(images, names, strict=True)]
            sheet.value = f'<div style="{CELLS}">{"".join(cells)}</div>'
        except CourseError as error:
            sheet.value = line_html(str(error), WRONG)
        except Exception as error:
            sheet.value = line_html(f"{type(error).__name__}: {error}", WRONG)

    def choose(button: Any) -> None:
        box.value = button.description  # a new value searches

    box.observe(debounced(search), "value")
    for button in row:
        button.on_click(choose)
    search()
    return w.VBox([box, w.Box(row, layout=w.Layout(flex_flow="row wrap")), sheet])
