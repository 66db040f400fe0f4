"""The display room: crisp sheets, captions that never collide, Chinese without missing glyphs, flipbooks, the prompt box."""

import io
import runpy
import types
import warnings

import numpy as np
import pytest
from fontTools import ttLib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from course_utils import show
from course_utils.common import ROOT, CourseError
from course_utils.show.style import FONT

ENGLISH = "a tiny crimson outlined triangle to the left of a large blue striped square on a grey patterned background"
CHINESE = "一个红色的小圆在蓝色大方块的上面，左边还有一个黄色的大三角形，背景是灰色的棋盘格。"


@pytest.fixture(autouse=True)
def missing_glyphs_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, size, size), dtype=np.float32)


def drawn(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def test_the_shipped_font_has_every_character_of_the_course() -> None:
    wanted = runpy.run_path(str(ROOT / "data" / "fonts" / "make_subset.py"))["wanted"]()
    there = ttLib.TTFont(FONT).getBestCmap()
    missing = "".join(character for character in wanted if ord(character) not in there)
    assert not missing, f"the font lacks {missing}: run data/fonts/make_subset.py"
    assert FONT.stat().st_size < 500_000


def test_a_missing_glyph_would_be_noticed() -> None:
    with pytest.raises(UserWarning, match="missing from font"):
        drawn(show.grid(pictures(1), title="龘"))


@pytest.mark.parametrize("count", [1, 2, 4, 9, 16, 20])
@pytest.mark.parametrize("marks", [False, True])
def test_captions_never_collide_nor_leave_the_sheet(count: int, marks: bool) -> None:
    captions = [(ENGLISH, CHINESE, "x" * 90, "t = 0.25", "")[n % 5] for n in range(count)]
    right = [(True, False, None)[n % 3] for n in range(count)] if marks else None
    figure = show.grid(pictures(count), captions, title=f"{ENGLISH} {CHINESE}", right=right)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    width, height = figure.bbox.size
    boxes = [artist.get_window_extent(renderer) for artist in figure.axes[0].texts if artist.get_text()]
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    for n, a in enumerate(boxes):
        assert a.x0 >= 0 and a.y0 >= 0 and a.x1 <= width and a.y1 <= height, "inside the sheet"
        under = sheet[int(height - a.y1) + 1 : int(height - a.y0), int(a.x0) + 1 : int(a.x1)]
        assert under.min() == 1, "on white paper, not on a picture"
        for b in boxes[n + 1 :]:
            assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1, "no two collide"
    assert width <= 700


@pytest.mark.parametrize("right", [None, [True, False, None]])
def test_every_pixel_of_a_picture_is_a_whole_square(right: list | None) -> None:
    images = pictures(3, 16)
    sheet = drawn(show.grid(images, columns=3, scale=5, right=right))
    for n in range(3):
        x = 8 + n * (80 + 12)
        expected = (images[n].transpose(1, 2, 0) * 255).repeat(5, 0).repeat(5, 1)
        assert abs(sheet[8:88, x : x + 80] - expected).max() <= 1


def test_marks_differ_in_colour_and_symbol() -> None:
    figure = show.grid(pictures(3, 16), columns=3, scale=5, right=[True, False, None])
    assert [artist.get_text() for artist in figure.axes[0].texts if artist.get_text()] == ["✓", "✗"]
    sheet = drawn(figure)
    assert len({tuple(sheet[40, 8 + n * (80 + 12) - 1]) for n in range(3)}) == 3


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: show.grid(pictures(2) * 2 - 1), "Models work in"),
        (lambda: show.grid(pictures(2) * 255), "values in"),
        (lambda: show.grid(pictures(2) * np.nan), "values in"),
        (lambda: show.grid(pictures(2)[:, :2]), "shape"),
        (lambda: show.grid(pictures(0)), "shape"),
        (lambda: show.grid(pictures(2), ["one"]), "2 pictures and 1 captions"),
        (lambda: show.grid(pictures(3), "one"), "as a list"),
        (lambda: show.grid(pictures(2), right=[True]), "2 pictures and 1 judgements"),
        (lambda: show.grid(pictures(2), columns=0), "at least 1"),
        (lambda: show.curve({"a": ([1, 2], [1])}, x="x", y="y"), "'a' needs"),
        (lambda: show.flipbook(pictures(2), ["one"], "dots"), "2 frames and 1 labels"),
        (lambda: show.flipbook(pictures(1), ["one"], " "), "alt text"),
    ],
)
def test_wrong_input_is_one_clear_sentence(call, words: str) -> None:
    with pytest.raises(CourseError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_curve_draws_bands_and_labels() -> None:
    x = [1, 2, 3]
    figure = show.curve(
        {"有": (x, x, [0, 1, 2], [2, 3, 4]), "b": (x, x)}, x="images seen", y="准确率", title="Ends at 3", log="x"
    )
    axes = figure.axes[0]
    drawn(figure)
    assert len(axes.collections) == 1 and axes.get_xscale() == "log" and axes.get_ylabel() == "准确率"
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 2


def test_to_png(tmp_path) -> None:
    images = pictures(4, 8)
    data = show.to_png(images, tmp_path / "sheet.png", columns=2, scale=3)
    sheet = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert (tmp_path / "sheet.png").read_bytes() == data and sheet.shape == (54, 54, 3)
    assert abs(sheet[:24, 30:] - (images[1].transpose(1, 2, 0) * 255).repeat(3, 0).repeat(3, 1)).max() <= 1
    with pytest.raises(CourseError, match="Cannot write"):
        show.to_png(images, tmp_path / "sheet.png" / "below.png")


def test_flipbook_is_one_self_contained_page() -> None:
    labels = ["start", 'a "middle"', "<end>"]
    page = show.flipbook(pictures(3), labels, "noise becomes a picture").html
    assert page == show.flipbook(pictures(3), labels, "noise becomes a picture").html, "the same each time"
    assert page.count("<img") == page.count('alt="noise becomes a picture (') == 3 and page.count("display:none") == 2
    assert "<script" not in page and "http" not in page and " id=" not in page
    assert "<end>" not in page and "&lt;end&gt;" in page and 'max="2"' in page
    figures = [show.curve({"": ([0, n], [0, 1])}, x="x", y="y") for n in (1, 2)]
    assert show.flipbook(figures, ["1", "2"], "a line").html.count("data:image/png") == 2


def test_prompt_box_draws_and_says_what_went_wrong() -> None:
    pytest.importorskip("ipywidgets")
    asked = []

    def generator(prompts, *, steps, guidance, seed, n):
        asked.append((prompts, steps, guidance, seed, n))
        if not prompts:
            raise CourseError("The prompt is empty: type what to draw.")
        if prompts == "bug":
            raise ZeroDivisionError("division by zero")
        return types.SimpleNamespace(
            images=pictures(n), seconds=0.5, evaluations=32, warnings=["unknown word: <zebra>"]
        )

    box = show.prompt_box(generator, ["a circle", "一个圆"], n=2)
    text, examples, settings, words, picture = box.children
    assert asked == [("a circle", 16, 2.0, 0, 2)] and picture.value.count("<img") == 2
    assert "2 pictures in 0.5 s, 32 evaluations" in words.value and "unknown word: &lt;zebra&gt;" in words.value
    draw = settings.children[-1]
    draw.click()
    assert len(asked) == 1, "the same request is not drawn twice"
    settings.children[0].value = 7
    draw.click()
    examples.children[1].click()
    assert asked[1:] == [("a circle", 16, 2.0, 7, 2), ("一个圆", 16, 2.0, 7, 2)]
    text.value = ""
    assert "The prompt is empty" in words.value and picture.value == "" and "Traceback" not in words.value
    text.value = "bug"
    assert "ZeroDivisionError: division by zero" in words.value
