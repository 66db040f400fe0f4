"""The display room: crisp sheets, captions that never collide, Chinese without missing glyphs, flipbooks, widgets."""

import asyncio
import html
import io
import re
import runpy
import sys
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
from course_utils.generators import load
from course_utils.measure.judge import Judge
from course_utils.show import interactive
from course_utils.show.style import FONT, WIDTH
from course_utils.worlds.captioned import world
from course_utils.worlds.captions import parse, remarks

ENGLISH = "a tiny crimson outlined triangle to the left of a large blue striped square on a grey patterned background"
CHINESE = "一个红色的小圆在蓝色大方块的上面，左边还有一个黄色的大三角形，背景是灰色的棋盘格。"


@pytest.fixture(autouse=True)
def missing_glyphs_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, size, size), dtype=np.float32)


class Shelf:
    """A world as `browse` takes it: grey noise with these captions."""

    def __init__(self, *captions: dict, size: int = 64) -> None:
        self.told, self.size, self.asked = captions, size, []

    def __len__(self) -> int:
        return len(self.told)

    def captions(self, number: int) -> dict:
        return self.told[number]

    def images(self, numbers: list[int]) -> np.ndarray:
        self.asked.append(numbers)
        return pictures(len(numbers), self.size)[:, :1]


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
    assert width <= WIDTH


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
        (lambda: show.browse("emoji"), "shows a world.*it got 'str'"),
        (lambda: show.browse(Shelf()), "without pictures"),
        (lambda: show.browse(Shelf({"en": ["cat"]}), page=0), "page of at least 1"),
        (lambda: show.browse(Shelf({"en": ["cat"]}), 40), "as one text"),
        (lambda: show.browse(Shelf({"en": ["cat"]}, {"en": "dog"})), r"captions\(1\) must give lists"),
        (lambda: show.browse(Shelf({"en": ["cat"]}, {"en": [" "]})), "Picture 1 has no caption"),
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


def test_panels_share_their_x() -> None:
    x = [1, 2, 3]
    rows = {"share": {"a": (x, x, [0, 1, 2], [2, 3, 4]), "b": (x, x)}, "loss": {"c": (x, x)}}
    figure = show.panels(rows, x="images seen", titles=["Up", "Up too"], limits={"share": (0, 9)}, marks={"loss": 2.0})
    drawn(figure)
    upper, lower = figure.axes
    assert upper.get_ylim() == (0, 9) and upper.get_xlim() == lower.get_xlim()
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("share", "loss", "images seen")
    assert len(upper.lines) == 2 and len(upper.collections) == 1 and upper.get_legend() and not lower.get_legend()
    assert list(lower.lines[1].get_ydata()) == [2.0, 2.0]
    with pytest.raises(CourseError, match="1 titles"):
        show.panels(rows, x="x", titles=["Up"])
    with pytest.raises(CourseError, match="one length"):
        show.panels({"y": {"a": (x, [1])}}, x="x", titles=["Up"])


def test_paths_are_coloured_by_where_they_end() -> None:
    values = np.array([[0.2, -0.1, 0.0], [1.0, -1.0, 0.5]])
    figure = show.paths([0, 1], values, title="Two ways", lines=([0, 1], [1, 0]), density=([-1, 1], [[1, 2], [2, 1]]))
    lines = figure.axes[0].lines
    assert [line.get_color() for line in lines[-3:]] == ["#0072B2", "#D55E00", "#0072B2"] and len(lines) == 5
    figure = show.paths([0, 1], values, title="Two ways", arrived=(values[-1], "arrived"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Two ways", "arrived"]
    with pytest.raises(CourseError, match=r"values \(T, N\) for 3 times; these have the shape \(2, 3\)"):
        show.paths([0, 0.5, 1], values, title="")


def test_points_have_a_panel_each_and_arrows_where_they_are_given() -> None:
    crowd = np.zeros((5, 2))
    figure = show.points({"a": crowd, "b": (crowd, crowd[:2], crowd[:2] + 1), "c": crowd}, columns=2, title="Crowds")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c", ""]
    assert [len(axes.collections) for axes in figure.axes] == [1, 2, 1, 0]
    assert not figure.axes[3].axison and figure.axes[0].get_xlim() == (-3, 3)
    with pytest.raises(CourseError, match=r"The panel 'a' needs .*; it has \(5, 3\)"):
        show.points({"a": np.zeros((5, 3))})


def test_clouds_have_one_scale() -> None:
    points = np.array([[0.0, 1.0], [2.0, -1.0]])
    panels = {"one": {"real": points, "made": points + 1}, "two": {"real": points}, "three": {"real": points}}
    figure = show.clouds(panels, limit=3, columns=2, title="Apart", arrows={"two": (points, points / 2)})
    drawn(figure)
    assert [axes.get_title("left") for axes in figure.axes] == list(panels)
    assert all(axes.get_xlim() == axes.get_ylim() == (-3, 3) for axes in figure.axes)
    assert [len(axes.collections) for axes in figure.axes] == [2, 2, 1]
    assert np.allclose(figure.axes[0].collections[1].get_offsets(), points + 1)
    assert figure.axes[0].get_legend() and not figure.axes[1].get_legend()
    with pytest.raises(CourseError, match=r"needs points \(N, 2\)"):
        show.clouds({"one": {"real": points.T[:1]}, "two": {"real": points[0]}}, limit=1)


def test_maps_write_in_what_is_large() -> None:
    weights = np.array([[1.0, 0.0, 0.0], [0.7, 0.3, 0.0]])
    figure = show.maps({"layer 1": weights, "layer 2": weights}, ["red", "圆"], ["a", "b", "c"], title="They look back")
    first = figure.axes[0]
    assert [text.get_text() for text in first.texts] == ["1.0", "0.7", "0.3"] and len(figure.axes) == 2
    assert [label.get_text() for label in first.get_xticklabels()] == ["a", "b", "c"]
    for wrong in (weights.T, 2 * weights, -weights, weights * np.nan):
        with pytest.raises(CourseError, match="needs weights in"):
            show.maps({"one": wrong}, ["red", "圆"], ["a", "b", "c"])


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
    assert asked[1:] == [("a circle", 16, 2.0, 7, 2)], "a moved slider draws"
    examples.children[1].click()
    assert asked[2:] == [("一个圆", 16, 2.0, 7, 2)]
    text.value = ""
    assert "The prompt is empty" in words.value and picture.value == "" and "Traceback" not in words.value
    text.value = "bug"
    assert "ZeroDivisionError: division by zero" in words.value


def test_prompt_box_labels_what_was_never_seen_and_begins_at_the_generators_own_settings() -> None:
    widgets = pytest.importorskip("ipywidgets")
    asked = []

    class Own:
        steps, guidance = 8, 3.5

        def __call__(self, prompts, *, steps, guidance, seed, n):
            asked.append((prompts, steps, guidance))
            return types.SimpleNamespace(images=pictures(n), seconds=0.5, evaluations=8, warnings=[])

    row = show.prompt_box(Own(), ["a circle"], ["a red heart"]).children[1].children
    assert [type(part) for part in row] == [widgets.Button, widgets.HTML, widgets.Button]
    assert "never seen together" in row[1].value
    row[2].click()
    assert asked == [("a circle", 8, 3.5), ("a red heart", 8, 3.5)]
    assert len(show.prompt_box(Own(), ["a circle"], []).children[1].children) == 1


@pytest.mark.parametrize("widget", ["prompt_box", "explore"])
def test_sliders_that_are_dragged_draw_once_they_rest(widget: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr(interactive, "DEBOUNCE", 0.05)
    asked = []

    def generator(prompts, *, steps, guidance, seed, n):
        asked.append(seed)
        return types.SimpleNamespace(images=pictures(n), seconds=0.5, evaluations=8, warnings=[])

    def draw(seed):
        asked.append(seed)
        return pictures(1)

    box = show.prompt_box(generator) if widget == "prompt_box" else show.explore(draw, {"seed": (-4, 4)}, "a dot")
    slider = box.children[2 if widget == "prompt_box" else 0].children[0]

    async def drag() -> None:
        for seed in (1, 2, 3):
            slider.value = seed
        assert asked == [0]
        await asyncio.sleep(0.5)

    asyncio.run(drag())
    assert asked == [0, 3]


def test_examples_of_the_prompt_box_are_what_the_shipped_weights_can_draw() -> None:
    judge, generator = Judge.load(), load("flow-shapes")
    for prompt in interactive.EXAMPLES:
        assert not remarks(prompt), prompt
        asked = parse(prompt)
        said = [asked.background, *(value for thing in asked.things for value in vars(thing).values())]
        assert None not in said and (asked.relation or len(set(asked.things)) == 1), f"not complete: {prompt}"
        readings = judge.read(generator(prompt, seed=0, n=8).images)
        assert sum(reading.shows(asked) for reading in readings) >= 5, prompt  # of 8
    for prompt in interactive.NEVER_SEEN:
        assert "held out" in remarks(prompt)[0]


def looked_for(words: str, *captions: dict) -> list[str]:
    """What stands under the pictures that a search shows."""
    pytest.importorskip("ipywidgets")
    box, _, _, sheet = show.browse(Shelf(*captions)).children
    box.value = words
    return [html.unescape(name) for name in re.findall("<figcaption[^>]*>(.*?)</figcaption>", sheet.value)]


def framed(en: str, zh: str) -> dict:
    return {"en": [en, f"the emoji {en}"], "zh": [zh, f"表情符号：{zh}"]}


@pytest.mark.parametrize(
    "words, names",
    [
        ("", ["location", "red heart", "black cat", "Côte d’Ivoire", "male sign"]),
        ("HEART", ["red heart"]),
        ("heart  red", ["red heart"]),
        ("red cat", []),
        ("cat", ["black cat", "location"]),
        ("红", ["红心"]),
        ("\u3000黑猫 ", ["黑猫"]),
        ("心 red", ["red heart"]),
        ("cote d'i", ["Côte d’Ivoire"]),
        ("ＲＥＤ", ["red heart"]),
        ("the emoji", []),
        ("符号", ["男性符号"]),
        ("(", []),
    ],
)
def test_browse_finds_parts_of_words_in_both_languages(words: str, names: list[str]) -> None:
    both = [("location", "位置"), ("red heart", "红心"), ("black cat", "黑猫")]
    both += [("Côte d’Ivoire", "科特迪瓦"), ("male sign", "男性符号")]
    assert looked_for(words, *(framed(en, zh) for en, zh in both)) == names


def test_browse_finds_every_caption_that_says_more() -> None:
    told = {"en": ["a cat", "a tabby asleep", "a tabby asleep"]}, {"zh": ["一只狗"]}, {"en": ["a cat"], "zh": []}
    assert looked_for("tabby", *told) == ["a tabby asleep"] and looked_for("狗", *told) == ["一只狗"]
    assert looked_for("a", *told) == ["a cat", "a cat"]


def test_browse_turns_pages() -> None:
    pytest.importorskip("ipywidgets")
    shelf = Shelf(*({"en": [f"picture {n}{' odd' * (n % 2)}"]} for n in range(95)))
    box, said, turns, sheet = show.browse(shelf, page=40).children
    back, on, slider = turns.children
    assert said.value == "95 pictures, page 1 of 3" and (slider.min, slider.max) == (1, 3)
    assert sheet.value.count("<img") == 40 and back.disabled and not on.disabled
    on.click()
    on.click()
    assert slider.value == 3 and sheet.value.count("<img") == 15 and on.disabled and not back.disabled
    assert shelf.asked == [list(range(40)), list(range(40, 80)), list(range(80, 95))], "only what is shown is read"
    back.click()
    assert slider.value == 2 and "page 2 of 3" in said.value
    slider.value = 3
    box.value = "odd"
    assert said.value == "47 of 95 pictures, page 1 of 2" and (slider.value, slider.max) == (1, 2)
    assert shelf.asked[-1] == list(range(1, 80, 2)) and len(shelf.asked) == 6, "each page is read once"
    box.value = "picture 94"
    assert said.value == "1 of 95 pictures" and turns.layout.display == "none"
    box.value = "zebra"
    assert "Nothing is called that" in said.value and sheet.value == ""
    box.value = ""
    assert turns.layout.display is None and slider.max == 3 and sheet.value.count("<img") == 40


def test_browse_escapes_names() -> None:
    pytest.importorskip("ipywidgets")
    name = '<b>cats & "dogs"</b>'
    box, said, _, sheet = show.browse(Shelf({'"><i>': [name]}, {"zh": ["猫", "一只猫"]}), "<B>CATS &").children
    assert "<b>" not in sheet.value and "<i>" not in sheet.value and '"dogs"' not in sheet.value
    assert sheet.value.count(html.escape(name)) == 3, "under the picture, in its alt text, and in the tooltip"
    box.value = "<img src=x onerror=alert(1)>"
    assert "<img" not in sheet.value + said.value
    box.value = ""
    assert 'title="猫\n一只猫"' in sheet.value and 'alt="猫"' in sheet.value and 'lang="zh"' in sheet.value


def test_browse_enlarges_small_pictures_crisply_and_leaves_others() -> None:
    pytest.importorskip("ipywidgets")
    for size, width, enlarged in ((8, 64, True), (28, 56, True), (64, 64, False), (96, 96, False)):
        sheet = show.browse(Shelf({"en": ["seven"]}, size=size)).children[-1].value
        assert f'width="{width}"' in sheet and ("image-rendering:pixelated" in sheet) == enlarged


def test_browse_says_in_one_line_what_went_wrong() -> None:
    pytest.importorskip("ipywidgets")

    class Broken(Shelf):
        def images(self, numbers: list[int]) -> np.ndarray:
            if numbers == [1]:
                raise CourseError("The pictures <cannot>\nbe read.")
            if numbers == [2]:
                raise ZeroDivisionError("division by zero")
            return super().images(numbers)

    box, said, _, sheet = show.browse(Broken(*({"en": [name]} for name in ("one", "two", "three")))).children
    box.value = "two"
    assert ">The pictures &lt;cannot&gt; be read.</div>" in said.value and sheet.value == ""
    box.value = "three"
    assert "ZeroDivisionError: division by zero" in said.value and "Traceback" not in said.value
    box.value = "one"
    assert sheet.value.count("<img") == 1 and "Error" not in said.value


def test_browse_needs_ipywidgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(CourseError, match="ipywidgets is missing"):
        show.browse(Shelf({"en": ["cat"]}))


def test_search_box_shows_what_is_found_and_says_what_went_wrong() -> None:
    pytest.importorskip("ipywidgets")
    asked = []

    def find(words: str):
        asked.append(words)
        if words == "no":
            raise CourseError("Nothing is found: type other words.")
        if words == "bug":
            raise ZeroDivisionError("division by zero")
        return pictures(3), [f"{words} {n} <b>" for n in range(3)]

    box, examples, sheet = show.search_box(find, ["cat", "猫"]).children
    assert asked == ["cat"] and sheet.value.count("<img") == 3 and "cat 2 &lt;b&gt;" in sheet.value
    examples.children[1].click()
    assert asked == ["cat", "猫"] and box.value == "猫" and "猫 0" in sheet.value
    for words, said in (("no", "Nothing is found"), ("bug", "ZeroDivisionError: division by zero")):
        box.value = words
        assert said in sheet.value and "<img" not in sheet.value and "Traceback" not in sheet.value
    box.value = "  "
    assert sheet.value == "" and asked[-1] == "bug", "blanks look for nothing"
    empty = show.search_box(find).children
    assert empty[0].value == "" and empty[2].value == ""


def test_browse_shows_the_emoji() -> None:
    pytest.importorskip("ipywidgets")
    box, said, _, sheet = show.browse(world("emoji", "all")).children
    assert re.fullmatch(r"1,8\d\d pictures, page 1 of 4\d", said.value)
    assert sheet.value.count("<img") == 40 and len(sheet.value) < 400_000 and "pixelated" not in sheet.value
    box.value = "red heart"
    assert 'title="red heart\n红心"' in sheet.value and "红心</figcaption>" not in sheet.value
    box.value = "红心"
    assert "红心</figcaption>" in sheet.value and 'alt="red heart, 红心"' in sheet.value
