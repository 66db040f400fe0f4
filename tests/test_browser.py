"""Every page of the book in a browser, from the disk, and one of each kind from a server: what a reader would see go wrong, fails here."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sites
from browser import Visit, chromium

from course_utils.show.pictures import to_png
from course_utils.show.style import WIDTH

PHONE = 390  # pixels
LEAST_CONTRAST = 4.5  # of text against its ground, as WCAG 2 (level AA) asks; large text needs 3

# Waits until formulas and diagrams are drawn, then says what is wrong with them.
DRAWN = r"""async () => {
  const wrong = [];
  const article = document.querySelector('article') ?? document.body;
  if (window.MathJax?.startup) await MathJax.startup.promise;
  for (let wait = 0; wait < 100; wait++) {
    if ([...document.querySelectorAll('div.mermaid')].every(d => d.querySelector('svg'))) break;
    await new Promise(done => setTimeout(done, 100));
  }
  for (const math of document.querySelectorAll('.math')) {
    if (!math.querySelector('mjx-container svg')) wrong.push('formula not drawn: ' + math.textContent.slice(0, 60));
  }
  for (const formula of document.querySelectorAll('mjx-container svg')) {
    const box = formula.getBoundingClientRect(), frame = formula.closest('.math').getBoundingClientRect();
    let scrolls = formula.parentElement;
    while (scrolls && !(scrolls.scrollWidth > scrolls.clientWidth && getComputedStyle(scrolls).overflowX === 'auto'))
      scrolls = scrolls.parentElement;
    if (frame.width && (box.left < frame.left - 1 || (box.right > frame.right + 1 && !scrolls)))
      wrong.push('formula cut off: ' + formula.closest('.math').textContent.slice(0, 60));
  }
  for (const error of document.querySelectorAll('[data-mjx-error]'))
    wrong.push('formula with an error: ' + error.dataset.mjxError);
  for (const diagram of document.querySelectorAll('div.mermaid')) {
    if (!diagram.querySelector('svg') || diagram.querySelector('.error-icon'))
      wrong.push('diagram not drawn: ' + diagram.textContent.slice(0, 60));
  }
  const words = article.cloneNode(true);
  words.querySelectorAll('pre, code, mjx-container, script').forEach(node => node.remove());
  const raw = words.textContent.match(/.{0,30}(\$\$|\\\(|\\\[|\\begin\{).{0,30}/);
  if (raw) wrong.push('raw TeX on the page: ' + raw[0]);
  for (const image of article.querySelectorAll('img')) {
    if (image.complete && !image.naturalWidth) wrong.push('picture not shown: ' + (image.alt || image.src.slice(0, 60)));
  }
  return wrong;
}"""

# Text whose colour is too near that of the ground it stands on.
FAINT = r"""(least) => {
  document.getAnimations().forEach(animation => animation.finish());
  const colour = text => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
    canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const known = new Map();
  const read = text => known.get(text) ?? known.set(text, colour(text)).get(text);
  const over = (top, ground) => [0, 1, 2].map(i => top[i] * top[3] + ground[i] * (1 - top[3])).concat(1);
  const ground = node => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) {
      const layer = read(getComputedStyle(n).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
    if (!words || node.closest('script, style, noscript, svg, option') || !node.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    const box = node.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;  // for screen readers only
    const style = getComputedStyle(node), below = ground(node);
    const [a, b] = [light(over(read(style.color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : least)) found.add(`faint text (${ratio.toFixed(1)}): ${words.slice(0, 40)}`);
  }
  return [...found];
}"""

# What sticks out of a page that is too wide.
WIDE = r"""() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const out = [...document.querySelectorAll('article *')].filter(node => {
    const box = node.getBoundingClientRect(), open = getComputedStyle(node).overflowX === 'visible';
    return box.right > width + 1 || (open && box.left + node.scrollWidth > width + 1);
  });
  return ['sideways scroll: ' + (out[0]?.outerHTML ?? 'something').slice(0, 80)];
}"""


def look(visit: Visit, address: str) -> list[str]:
    """Opens a page and returns all that is wrong with it."""
    visit.complaints.clear()
    visit.page.goto(address, wait_until="load")
    wrong = visit.page.evaluate(DRAWN) + visit.page.evaluate(FAINT, LEAST_CONTRAST) + visit.page.evaluate(WIDE)
    return visit.complaints + wrong


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def book(browser: Any) -> Path:
    folder, said = sites.built()
    assert not said, said
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that writes nothing."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def server(book: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def pages(book: Path) -> list[str]:
    """All pages, relative to the book."""
    found = (path.relative_to(book) for path in sorted(book.rglob("*.html")))
    return [path.as_posix() for path in found if path.parts[0] != "_static"]


def look_at(visit: Visit, base: str, names: Iterable[str]) -> str:
    with visit:
        return "\n".join(f"{name}: {wrong}" for name in names for wrong in look(visit, f"{base}/{name}"))


def test_a_page_of_each_kind_from_a_server(browser: Any, book: Path, server: str) -> None:
    kinds = {name.rpartition("/")[0]: name for name in pages(book)}
    assert set(kinds) >= {"", "api", "notebooks", "parts"}
    assert look_at(Visit(browser), server, kinds.values()) == ""


def test_every_page_from_the_disk_on_a_phone_in_the_dark(browser: Any, book: Path) -> None:
    assert look_at(Visit(browser, width=PHONE, height=844, dark=True), book.as_uri(), pages(book)) == ""


def test_pages_with_formulas_and_diagrams_are_among_them(browser: Any, book: Path) -> None:
    with Visit(browser) as visit:
        assert not look(visit, (book / "notation.html").as_uri())
        assert visit.page.locator("mjx-container svg").count() > 20
        assert not look(visit, (book / "api" / "index.html").as_uri())
        assert visit.page.locator("div.mermaid svg").count() == 1


def test_the_dark_is_dark(browser: Any, book: Path) -> None:
    with Visit(browser, dark=True) as visit:
        assert not look(visit, (book / "notebooks" / "00_start_here.html").as_uri())
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert max(ground) < 64
        shown = visit.page.evaluate("getComputedStyle(document.querySelector('.cell_output img')).filter")
        assert shown == "none"  # pictures keep their colours


# Opens every fold and moves every flipbook of a page, and says which did not.
PLAY = r"""() => {
  const wrong = [];
  for (const fold of document.querySelectorAll('article details')) {
    const inside = fold.querySelector(':scope > *:not(summary)');
    if (inside.checkVisibility()) wrong.push('open already: ' + fold.textContent.slice(0, 60));
    fold.querySelector('summary').click();
    if (!inside.checkVisibility()) wrong.push('does not open: ' + fold.textContent.slice(0, 60));
  }
  for (const book of document.querySelectorAll('div.flipbook')) {
    const look = () => [...book.querySelectorAll('img.flipbook-page')].filter(page => page.checkVisibility());
    const [before, label] = [look()[0].src, book.querySelector('output').innerText];
    const slider = book.querySelector('input[type=range]');
    slider.stepUp();
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    if (look().length !== 1 || look()[0].src === before || book.querySelector('output').innerText === label)
      wrong.push('flipbook does not move: ' + label);
  }
  return wrong;
}"""


def test_folds_open_and_flipbooks_move(browser: Any, book: Path) -> None:
    with Visit(browser) as visit:
        for lesson in sorted((book / "notebooks").glob("*.html")):
            visit.page.goto(lesson.as_uri())
            assert visit.page.locator("article details").count() > 0
            assert visit.page.evaluate(PLAY) + visit.page.evaluate(WIDE) + visit.complaints == [], lesson.stem


def test_a_flipbook_moves_by_the_keyboard(browser: Any, book: Path) -> None:
    with Visit(browser) as visit:
        visit.page.goto((book / "notebooks" / "00_start_here.html").as_uri())
        flipbook = visit.page.locator("div.flipbook").first
        shown = flipbook.locator("img.flipbook-page:visible")
        before = shown.get_attribute("src")
        flipbook.locator("input[type=range]").focus()
        visit.page.keyboard.press("ArrowRight")
        assert shown.count() == 1 and shown.get_attribute("src") != before


@pytest.mark.parametrize("place", ["server", "disk"])
def test_search_finds_a_lesson(browser: Any, book: Path, server: str, place: str) -> None:
    with Visit(browser) as visit:
        base = server if place == "server" else book.as_uri()
        visit.page.goto(f"{base}/search.html?q=guidance")
        result = visit.page.locator("#search-results a[href*='00_start_here']").first
        result.wait_for(timeout=20_000)
        if place == "server":  # what stands around the word; from the disk a browser fetches no pages
            snippet = visit.page.locator("#search-results li:has(a[href*='00_start_here']) .context").first
            assert "guidance" in snippet.inner_text().lower()
        result.click()
        visit.page.wait_for_url("**/00_start_here.html*")
        assert not visit.complaints


def test_light_and_dark_can_be_switched(browser: Any, book: Path) -> None:
    with Visit(browser) as visit:
        look(visit, (book / "api" / "index.html").as_uri())
        before = visit.page.locator("div.mermaid svg").inner_html()
        visit.page.locator("button.theme-switch-button:visible").first.click()
        visit.page.locator("button.theme-change-button[data-mode=dark]:visible").first.click()
        assert visit.page.locator("html").get_attribute("data-theme") == "dark"
        visit.page.locator("body").click()  # the menu closes
        drawn = "before => (document.querySelector('div.mermaid svg')?.innerHTML ?? before) !== before"
        visit.page.wait_for_function(drawn, arg=before)  # the diagram has been drawn anew
        assert not visit.page.evaluate(DRAWN) + visit.page.evaluate(FAINT, LEAST_CONTRAST) + visit.complaints


# ------------------------------------------------------------------------------------------------- how a page is set

LINE = f"x = {'1' * 84}"  # 88 columns, as long as a line of a lesson may be
LONG = "course_utils/classroom/a_long_name_of_a_file_that_no_phone_shows_in_one_line.ipynb"


@pytest.fixture(scope="module")
def plain(small: Path) -> str:
    """Address of a page with headings, a line of code, a long name, and a figure that a cell has drawn."""
    return (small / "plain.html").as_uri()


def plain_page() -> str:
    figure = base64.b64encode(to_png(np.ones((1, 3, 20, WIDTH)))).decode()
    output = {"output_type": "display_data", "data": {"image/png": figure}, "metadata": {}}
    words = f"# One\n\n## Two\n\n### Three\n\nText with `{LONG}`.\n\n> **Predict.** What comes?"
    cells = [
        {"cell_type": "markdown", "source": words, "metadata": {}, "id": "a"},
        {"cell_type": "code", "source": LINE, "metadata": {}, "id": "b", "execution_count": 1, "outputs": [output]},
    ]
    about = {"language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5})


def style(visit: Visit, place: str, name: str) -> float:
    """A number of the style in which an element is shown: pixels, or a weight."""
    return float(visit.page.locator(f"article {place}").first.evaluate(f"e => parseFloat(getComputedStyle(e).{name})"))


def test_headings_go_down_and_code_is_nearly_as_large_as_the_text(browser: Any, plain: str) -> None:
    with Visit(browser) as visit:
        visit.page.goto(plain)
        for name, least in (("fontSize", 2), ("fontWeight", 0)):
            values = [style(visit, heading, name) for heading in ("h1", "h2", "h3")]
            assert all(a >= b + least for a, b in pairwise(values)), f"{name}: {values}"
        assert style(visit, "pre", "fontSize") >= 0.84 * style(visit, "p", "fontSize")
        assert style(visit, "pre", "lineHeight") >= 1.4 * style(visit, "pre", "fontSize")


@pytest.mark.parametrize("width", [1280, 1440])
def test_a_line_of_88_columns_and_a_figure_fit(browser: Any, plain: str, width: int) -> None:
    with Visit(browser, width=width) as visit:
        visit.page.goto(plain)
        code = visit.page.locator("div.cell_input pre")
        assert LINE in code.inner_text()
        assert code.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
        text, figure = (
            visit.page.locator(f"article {place}").first.bounding_box() for place in ("p", ".cell_output img")
        )
        assert figure["width"] == WIDTH == text["width"]


def test_a_long_name_breaks_between_its_words(browser: Any, plain: str) -> None:
    with Visit(browser, width=PHONE) as visit:
        visit.page.goto(plain)
        lines = visit.page.locator("article code.literal").first.evaluate(
            """code => {
              const texts = [...code.querySelectorAll('span.pre')].flatMap(e => [...e.childNodes]).filter(n => n.data);
              const range = document.createRange(), lines = {};
              for (const text of texts) for (let i = 0; i < text.length; i++) {
                range.setStart(text, i); range.setEnd(text, i + 1);
                const top = Math.round(range.getBoundingClientRect().top);
                lines[top] = (lines[top] ?? '') + text.data[i];
              }
              return Object.values(lines);
            }"""
        )
        assert "".join(lines) == LONG and len(lines) > 1
        assert all(line[-1] in "/_." for line in lines[:-1]), lines
        assert not visit.page.evaluate(WIDE)


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_a_figure_in_the_dark_lies_on_a_white_card_within_the_page(browser: Any, plain: str, width: int) -> None:
    with Visit(browser, width=width, dark=True) as visit:
        visit.page.goto(plain)
        assert style(visit, ".cell_output img", "borderTopWidth") >= 5
        colours = visit.page.locator("article .cell_output img").evaluate(
            "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).borderTopColor, getComputedStyle(e).filter]"
        )
        assert colours == ["rgb(255, 255, 255)", "rgb(255, 255, 255)", "none"]
        assert not visit.page.evaluate(WIDE)


# ------------------------------------------------------------------------------------------------- planted faults


@pytest.fixture(scope="module")
def small(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small book, built like the real one: a plain page, and others with a fault each that the builder cannot see."""
    planted = {
        "good.md": f"$$ x^2 $$\n\n$$ {' + '.join(['x'] * 60)} \\tag{{1}} $$\n\n```mermaid\nflowchart LR\n    a --> b\n```",
        "formula.md": "$$ \\sqrtt{x} $$",
        "inline.md": "Here $\\frac{1$ is.",
        "diagram.md": "```mermaid\nflowchart LR\n    a -->\n```",
        "long.md": f"$$ {' + '.join(['x'] * 60)} \\tag{{1}} $$\n\n<style>div.math > mjx-container.MathJax {{ min-width: 900px !important }}</style>",
        "outside.md": "<img src='https://example.org/picture.png' alt='far'>",
        "script.md": "<script>fetch('https://example.org/data.json').catch(() => 0)</script>",
        "error.md": "<script>undefined.name</script>",
        "gone.md": "<img src='gone.png' alt='gone'>",
        "wide.md": "<div style='width: 900px; height: 9px'></div>",
        "faint.md": "<p style='color: #999'>pale words</p>",
        "raw.md": "\\$\\$ x^2 \\$\\$",
    }
    folder = tmp_path_factory.mktemp("small")
    texts = {name: f"# Page\n\n{text}\n" for name, text in planted.items()}
    done = sites.small_book(folder, {"plain.ipynb": plain_page(), **texts})
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("good", ""),
        ("formula", "formula with an error: Undefined control sequence"),
        ("inline", "formula not drawn"),
        ("diagram", "diagram not drawn"),
        ("long", "formula cut off"),
        ("outside", "outside request: https://example.org/picture.png"),
        ("script", "outside request: https://example.org/data.json"),
        ("error", "script error"),
        ("gone", "request failed"),
        ("wide", "sideways scroll"),
        ("faint", "faint text (2.8): pale words"),
        ("raw", "raw TeX on the page"),
    ],
)
def test_a_planted_fault_is_seen(browser: Any, small: Path, name: str, complaint: str) -> None:
    with Visit(browser, width=PHONE) as visit:
        found = look(visit, (small / f"{name}.html").as_uri())
    assert bool(found) == bool(complaint), found
    assert any(complaint in one for one in found) or not complaint, found
