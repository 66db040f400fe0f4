"""A sheet of a world's pictures to search and to turn over, in English or Chinese."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from course_utils.common import CourseError
from course_utils.extras import need
from course_utils.show.interactive import image_html, line_html
from course_utils.show.pictures import to_png
from course_utils.show.style import WRONG

MOST = 6  # so many of a picture's captions in a language are searched: a face of CelebA has 60, all saying the same
CELLS = "display:grid;grid-template-columns:repeat(auto-fill,minmax(7.5em,1fr));gap:.8em .5em;padding-top:.4em;line-height:1.3"
_NAME = "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:4;overflow:hidden;overflow-wrap:anywhere"


def browse(world: Any, words: str = "", *, page: int = 40) -> Any:
    """A box to search a world's pictures by name, and a sheet of those found, with buttons and a slider to turn its pages.

    A picture is found if its captions contain every word, or part of a word, that is typed, in whichever language; capitals
    and accents do not matter, and pictures with the whole words come first. Under each stands the caption that was found,
    or its plainest; all of them show when the mouse rests on it. What goes wrong is said in one line.

    Args:
        world: such as `worlds.captioned.world("emoji")`, or any object that has `len(world)`; `images(numbers)`, which
            gives the pictures (B, C, H, W) in [0, 1] with these numbers, C = 1 or 3; and `captions(number)`, which gives
            a picture's texts by language, the plainest first: {"en": ["red heart"], "zh": ["红心"]}.
        words: what to search for at first; nothing shows all.
        page: pictures on a page.

    All captions are read at the start: at once for thousands of pictures, a minute for CelebA's 200,000. Returns a widget; it
    needs a running kernel. Raises CourseError if ipywidgets is missing, or an argument or a caption is not as said above.
    """
    if not isinstance(words, str) or not isinstance(page, int) or page < 1:
        raise CourseError(
            f"browse needs words as one text and a page of at least 1; it got {words!r} and page={page!r}."
        )
    names, w = _names(world), need("lab", "ipywidgets")
    texts = [_fold("\n".join(text for some in name.values() for text in some)) for name in names]
    short, auto = {"description_width": "auto"}, w.Layout(width="auto")
    wide = w.Layout(width="min(30em,98%)")
    box = w.Text(value=words, description="find", placeholder="a name, or part of one", style=short, layout=wide)
    back = w.Button(description="previous", icon="arrow-left", layout=auto)
    on = w.Button(description="next", icon="arrow-right", layout=auto)
    slider = w.IntSlider(1, 1, max(2, math.ceil(len(names) / page)), description="page", readout=False, style=short)
    turns = w.Box([back, on, slider], layout=w.Layout(flex_flow="row wrap"))
    said, sheet = w.HTML(), w.HTML()
    found: list[int] = []  # numbers of the pictures to show

    def turn(_: Any = None) -> None:
        pages, now = math.ceil(len(found) / page), slider.value
        back.disabled, on.disabled = now <= 1, now >= pages
        here = found[(now - 1) * page : now * page]
        try:
            images = world.images(here) if here else []
            cells = [_named(image, names[i], _fold(box.value).split()) for i, image in zip(here, images, strict=True)]
            sheet.value = f'<div style="{CELLS}">{"".join(cells)}</div>' if cells else ""
            said.value = _count(len(found), len(names), now, pages)
        except CourseError as error:
            sheet.value, said.value = "", line_html(str(error), WRONG)
        except Exception as error:
            sheet.value, said.value = "", line_html(f"{type(error).__name__}: {error}", WRONG)

    def search(_: Any = None) -> None:
        wanted = _fold(box.value).split()
        alone = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word in wanted]
        there = [i for i, text in enumerate(texts) if all(word in text for word in wanted)]
        found[:] = sorted(there, key=lambda i: sum(not word.search(texts[i]) for word in alone))
        pages = math.ceil(len(found) / page)
        turns.layout.display = None if pages > 1 else "none"
        first = slider.value == 1
        slider.value = 1  # a new value turns the page by itself
        slider.max = max(2, pages)
        if first:
            turn()

    def step(by: int) -> None:
        slider.value += by

    box.observe(search, "value")
    slider.observe(turn, "value")
    back.on_click(lambda _: step(-1))
    on.on_click(lambda _: step(1))
    search()
    return w.VBox([box, said, turns, sheet])


def _names(world: Any) -> list[dict[str, list[str]]]:
    """What each picture of a world is called, by language, without the sentences that only frame the plainest caption.

    "the emoji red heart" says no more than "red heart", and would be found by whoever types "the". A frame is one that most
    pictures have. Raises CourseError if the world is none, is empty, or lacks a caption.
    """
    if not all(callable(getattr(world, name, None)) for name in ("__len__", "images", "captions")):
        raise CourseError(
            'browse shows a world, such as worlds.captioned.world("emoji"): an object with len(), images(numbers) and '
            f"captions(number); it got {type(world).__name__!r}."
        )
    if not len(world):
        raise CourseError("browse got a world without pictures; open another, or another split.")
    names: list[dict[str, list[str]]] = []
    for i in range(len(world)):
        told = world.captions(i)
        if not isinstance(told, Mapping) or any(isinstance(some, str) for some in told.values()):
            raise CourseError(
                f"captions({i}) must give lists of texts by language, as {{'en': ['red heart']}}; got {told!r}."
            )
        names.append(
            {language: some[:MOST] for language, texts in told.items() if (some := [t for t in texts if t.strip()])}
        )
        if not names[-1]:
            raise CourseError(f"Picture {i} has no caption; each needs one in at least one language to be found by.")

    def frame(text: str, plainest: str) -> tuple[str, str] | None:
        before, there, after = text.partition(plainest)
        return (before, after) if there and text != plainest else None

    counts = Counter((language, frame(t, some[0])) for name in names for language, some in name.items() for t in some)
    frames = {key for key, count in counts.items() if key[1] and count > max(2, len(names) / 2)}
    return [
        {language: [t for t in some if (language, frame(t, some[0])) not in frames] for language, some in name.items()}
        for name in names
    ]


def _fold(text: str) -> str:
    """A text as it is compared in a search: without capitals, accents, full-width forms and curly apostrophes."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text).casefold().replace("’", "'")
    return "".join(character for character in plain if not unicodedata.combining(character))


def _count(found: int, everything: int, page: int, pages: int) -> str:
    """How many pictures were found, and which page of them is shown."""
    if not found:
        return "Nothing is called that: try fewer words, or part of one."
    some = f"{found:,} of " if found < everything else ""
    return f"{some}{everything:,} pictures" + (f", page {page} of {pages}" if pages > 1 else "")


def _named(image: Any, names: Mapping[str, Sequence[str]], words: Sequence[str]) -> str:
    """A picture (C, H, W) as HTML with the caption under it that has all the words, or its plainest; the others in a tooltip."""
    every = [(language, text) for language, texts in names.items() for text in texts]
    hits = [(language, text) for language, text in every if all(word in _fold(text) for word in words)]
    language, text = (hits or every)[0]
    alt = ", ".join(texts[0] for texts in names.values())
    return captioned_html(image, text, language=language, alt=alt, tooltip="\n".join(text for _, text in every))


def captioned_html(image: Any, text: str, *, language: str = "en", alt: str = "", tooltip: str = "") -> str:
    """A picture (C, H, W) in [0, 1] as HTML, about 64 screen pixels wide, with a short text under it."""
    scale = max(1, round(64 / image.shape[-1]))
    picture = image_html(to_png(image), alt or text, width=scale * image.shape[-1], pixels=scale > 1)
    name = f'<figcaption lang="{html.escape(language)}" style="{_NAME}">{html.escape(text)}</figcaption>'
    title = f' title="{html.escape(tooltip)}"' if tooltip else ""
    return f'<figure{title} style="margin:0;text-align:center">{picture}{name}</figure>'
