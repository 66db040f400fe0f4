"""The online book: it builds without a warning, every link leads somewhere, nothing comes from elsewhere, solutions are folded."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import sites
from sites import BOOK, ROOT

from course_utils.classroom.tidy import read, tags, text

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
sys.path.insert(0, str(BOOK))
import build  # noqa: E402
import vendor  # noqa: E402


@pytest.fixture(scope="module")
def book() -> Path:
    folder, said = sites.built()
    assert not said, said
    return folder


def notebook(*cells: dict[str, Any]) -> str:
    """A notebook's JSON."""
    full = [{"metadata": {}, **cell, "id": f"cell-{n}"} for n, cell in enumerate(cells)]
    return json.dumps(
        {"cells": full, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    )


def markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source}


def code(source: str, *tagged: str) -> dict[str, Any]:
    output = {"output_type": "stream", "name": "stdout", "text": f"printed by {source}"}
    metadata = {"tags": list(tagged)}
    return {"cell_type": "code", "source": source, "metadata": metadata, "execution_count": 1, "outputs": [output]}


# ---------------------------------------------------------------------------------------------------------- the book


def test_the_book_builds_without_a_warning(book: Path) -> None:
    names = "index using notation troubleshooting results bibliography search api/index parts/0_start notebooks/00_start_here"
    assert not [name for name in names.split() if not (book / f"{name}.html").is_file()]


def test_nothing_comes_from_elsewhere_and_links_lead_somewhere(book: Path) -> None:
    assert sites.faults(book) == []


def test_no_address_is_invented(book: Path) -> None:
    """Buttons that edit, report or launch need an address, and by default there is none."""
    pages = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    buttons = re.compile(r"(btn-(source|launch)|dropdown-(source|launch))")
    assert pages and not [path.name for path in pages if buttons.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_whole(book: Path, path: Path) -> None:
    """Solutions are folded, boxes drawn, pictures have alt text, hidden cells are not there."""
    lesson, page = read(path), (book / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
    solutions = [cell for cell in lesson["cells"] if "solution" in tags(cell) and cell["cell_type"] == "code"]
    folds = re.findall(r'<details class="admonition hide[^"]*">(.*?)</details>', page, flags=re.S)
    shown = [fold for fold in folds if "Show solution" in fold]
    assert len(shown) == len(solutions)
    words = "\n".join(text(cell["source"]) for cell in lesson["cells"] if cell["cell_type"] == "markdown")
    boxes = re.findall(r'<p class="admonition-title">', page)
    assert len(boxes) == len(re.findall(r"^> \*\*", words, flags=re.M)) > 0
    images = sites.Page(book / "notebooks" / f"{path.stem}.html").images
    assert all(image.get("alt") for image in images), f"{path.stem}: a picture without alt text"
    pictures = sum(
        "image/png" in output.get("data", {})
        for cell in lesson["cells"]
        if "remove-cell" not in tags(cell)
        for output in cell.get("outputs", [])
    )
    assert len(images) >= pictures
    assert page.count('class="flipbook"') == path.read_text(encoding="utf-8").count('class=\\"flipbook\\"')


def test_the_map_links_the_lessons_that_exist_and_no_other(book: Path) -> None:
    page = (book / "index.html").read_text(encoding="utf-8")
    cards = page[page.index("course-map") :]
    linked = set(re.findall(r'href="notebooks/([\w]+)\.html"', cards))
    assert linked == {path.stem for path in LESSONS}
    lessons = [lesson for part in build.syllabus(ROOT / "notebooks") for lesson in part.lessons]
    assert [lesson.number for lesson in lessons] == [f"{n:02d}" for n in range(35)]
    planned = [lesson for lesson in lessons if not lesson.page]
    assert all(f'<span class="planned">{lesson.number} {lesson.title}</span>' in cards for lesson in planned)


def test_scripts_are_loaded_only_where_they_are_needed(book: Path) -> None:
    for path in book.rglob("*.html"):
        if "_static" in path.parts:
            continue
        page = path.read_text(encoding="utf-8")
        assert ("mermaid.min.js" in page) == ('<div class="mermaid">' in page), path.name
        assert ("tex-svg-full.js" in page) == ('class="math' in page), path.name


def test_results_on_the_page_are_those_of_the_files(book: Path) -> None:
    page = (book / "results.html").read_text(encoding="utf-8")
    quality = json.loads((BOOK / "results" / "flow-shapes.json").read_text(encoding="utf-8"))
    for name in ("one_object", "three_objects"):
        low, high = quality["intervals"][name]
        assert f"{quality[name]:.1%}" in page and f"{low:.1%} to {high:.1%}" in page


def test_the_language_model_stands_beside_models_that_count() -> None:
    found = build.result("gpt-captions")
    rows = {row.split(" | ")[0]: row for row in build.language_table().splitlines()}
    for title, name in (("| the GPT that ships", ""), ("| trigram", "_trigram")):
        low, high = found["intervals"][f"parses{name}"]
        assert f"{found[f'perplexity{name}']:.2f} <" in rows[title] and f"{found[f'parses{name}']:.1%} <" in rows[title]
        assert f"{low:.1%} to {high:.1%}" in rows[title]
    assert f"{found['languages']['zh']['perplexity']:.2f} <" in rows["| the GPT, Chinese"]
    assert {row.count("|") for row in rows.values()} == {6}


def test_the_ladder_is_written_from_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BOOK", tmp_path)
    (tmp_path / "results").mkdir()
    assert "make bench" in build.ladder_table(tmp_path / "results")
    numbers = (
        "ms_batch1",
        "ms_batch32",
        "peak_mb",
        "evaluations",
        "gflop",
        "accuracy",
        "fidelity",
        "diversity",
        "factor",
    )
    numbers += ("fewer_operations", "faster_operations", "factor_from_fair")
    about = {
        "steps": 8,
        "machine": "a machine",
        "date": "2026-01-01",
        "versions": {"torch": "2"},
        "reason": None,
        "quality_of": None,
    }
    fast = {
        "rung": "naive",
        "start": True,
        "intervals": {"accuracy": [0.1, 0.9], "fidelity": [0.5, 2]},
        **dict.fromkeys(numbers, 1),
        **about,
    }
    slow = {"rung": "odd", "start": False, "intervals": {}, **dict.fromkeys(numbers), **about, "reason": "It broke."}
    (tmp_path / "results" / "ladder-cpu.json").write_text(json.dumps([fast, slow]), encoding="utf-8")
    text = build.ladder_table(tmp_path / "results")
    assert "| **naive** | 8 |" in text and "100.0 [10.0, 90.0]" in text and "- odd: It broke." in text
    assert "2026-01-01: a machine, torch 2" in text and (tmp_path / "results" / "ladder-cpu.png").is_file()
    assert "results/frontier-cpu.png" in text and (tmp_path / "results" / "frontier-cpu.png").is_file()
    unread = {**fast, "accuracy": None, "fidelity": None, "intervals": {}}  # the time was over before the quality
    (tmp_path / "results" / "ladder-cpu.json").write_text(json.dumps([unread]), encoding="utf-8")
    assert "frontier" not in build.ladder_table(tmp_path / "results")


def test_the_second_ladder_is_written_from_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BOOK", tmp_path)
    (tmp_path / "results").mkdir()
    assert "course_utils race" in build.race_table(tmp_path / "results")
    row = {
        "learns": "by itself",
        "seconds_per_image": 0.004,
        "cost": 1.0,
        "minutes": 0.5,
        "intervals": {},
        "reason": None,
    }
    start = {"rung": "start", "images": [5000.0, 6000.0], "factor": None, **row}
    fast = {"rung": "fast", "images": [2500.0, 3000.0], **row, "factor": 2.0, "intervals": {"factor": [1.9, 2.1]}}
    never = {"rung": "never", "images": [None], "factor": None, **row, "minutes": None, "reason": "It did not arrive."}
    about = {"task": {"target": 0.8, "prompts": 72}, "left_out": {"one more": "it was too long"}, "date": "2026-01-01"}
    about |= {"machine": "a machine", "versions": {"torch": "2"}, "rows": [start, fast, never]}
    (tmp_path / "results" / "time-to-accuracy-cpu.json").write_text(json.dumps(about), encoding="utf-8")
    text = build.race_table(tmp_path / "results")
    assert "| 5,000, 6,000 | 4.0 | 1.00 | 0.50 |" in text and "2.00 [1.90, 2.10]" in text
    assert "- never: It did not arrive." in text and "one more was left out: it was too long." in text
    assert (tmp_path / "results" / "time-to-accuracy-cpu.png").is_file()


def test_the_bibliography_has_the_papers_that_the_lessons_cite() -> None:
    entries = (BOOK / "references.bib").read_text(encoding="utf-8")
    cited = {number for path in LESSONS for number in re.findall(r"arxiv\.org/abs/([\d.]+\d)", path.read_text("utf-8"))}
    assert cited
    missing = {number for number in cited if number not in entries}
    assert not missing, f"book/references.bib lacks arXiv {', '.join(sorted(missing))}"


def test_the_syllabus_must_name_every_lesson(tmp_path: Path) -> None:
    (tmp_path / "00_start_here.ipynb").touch()
    assert build.syllabus(tmp_path)[0].page == "parts/0_start"
    (tmp_path / "00_begin.ipynb").touch()
    with pytest.raises(ValueError, match="does not name the lessons 00_begin"):
        build.syllabus(tmp_path)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_teachers_page_has_every_lesson(path: Path) -> None:
    """Its minutes of reading are those that the lesson itself gives; what it needs, a plan and a quiz are there."""
    page = build.teaching(build.syllabus(ROOT / "notebooks"), ROOT / "notebooks")
    mine = page.partition(f"]({'notebooks/' + path.name})")[2].partition("\n## ")[0]
    read_minutes = re.search(r"^Read (\d+) min", text(read(path)["cells"][0]["source"]), flags=re.M)
    assert read_minutes and f"**To read:** {read_minutes[1]} min" in mine
    assert "**It needs** " in mine and mine.count("{dropdown} Quiz") == 3
    assert sum(int(n) for n in re.findall(r"^\| (\d+) \|", mine, flags=re.M)) == 90
    seconds = read(path)["metadata"].get("course", {}).get("seconds", {}).get("laptop")
    assert (f"{-(-seconds // 60):.0f} min on two cores" if seconds else "not measured yet") in mine


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[teaching.start_here]", "[teaching.begin]", "has no .teaching.start_here"),
        ("[10, ", "[11, ", "has 90 minutes"),
        ("quiz = [", "quiz = [[1, 2], ", "three questions"),
    ],
)
def test_a_lesson_that_cannot_be_taught_fails_the_build(old, new, said, tmp_path: Path, monkeypatch) -> None:
    syllabus = (BOOK / "syllabus.toml").read_text(encoding="utf-8")
    (tmp_path / "syllabus.toml").write_text(syllabus.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(build, "BOOK", tmp_path)
    with pytest.raises(ValueError, match=said):
        build.teaching(build.syllabus(ROOT / "notebooks"), ROOT / "notebooks")


def test_the_browser_files_are_the_pinned_ones_with_their_licences() -> None:
    for package, files in vendor.FILES.items():
        folder = vendor.VENDOR / package.partition("@")[0]
        assert (folder / "VERSION").read_text(encoding="utf-8").strip() == package
        assert all((folder / Path(name).name).stat().st_size > 1000 for name in files) and "LICENSE" in files


# ------------------------------------------------------------------------------------------------- planted faults


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, list[str]]:
    """A small book, of pages with a fault each and a good lesson: its folder, and how the build ended, with what words."""
    cells = [
        markdown(
            "# Lesson\n\n> **Note.** A note.\n\n> **Predict.** What comes?\n\n```mermaid\nflowchart LR\n    a --> b\n```\n\n[Other](other.ipynb)"
        ),
        code("seen = 1"),
        code("removed = 2", "remove-cell"),
        code("input = 3", "hide-input"),
        code("answer = 4", "solution", "nbval-check-output"),
    ]
    pages = {
        "link.md": "# Link\n\n[away](nowhere.md)\n",
        "place.md": "# Place\n\n[there](link.md#no-such-heading)\n",
        "picture.md": "# Picture\n\n![gone](gone.png)\n",
        "word.md": "# Word\n\n```{no-such-directive}\n```\n",
        "notebooks/last.ipynb": notebook(markdown("# Last\n\nSee [the next lesson](next.ipynb).")),
        "notebooks/one.ipynb": notebook(*cells),
        "notebooks/other.ipynb": notebook(markdown("# Other")),
    }
    folder = tmp_path_factory.mktemp("small")
    done = sites.small_book(folder, pages, COURSE_REPOSITORY="https://github.com/someone/something")
    return folder / "html", done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("link.md", "nowhere.md"),
        ("place.md", "no-such-heading"),
        ("picture.md", "gone.png"),
        ("word.md", "no-such-directive"),
        ("last.ipynb", "next.ipynb"),
    ],
)
def test_a_fault_on_a_page_fails_the_build(small: tuple[Path, int, list[str]], name: str, words: str) -> None:
    _, ended, said = small
    assert ended != 0 and [line for line in said if name in line and words in line], "\n".join(said)


def test_tags_of_cells_are_honoured(small: tuple[Path, int, list[str]]) -> None:
    html, _, said = small
    assert not [line for line in said if "one.ipynb" in line or "other.ipynb" in line]
    page = (html / "notebooks" / "one.html").read_text(encoding="utf-8")
    plain = re.sub(r"<span[^>]*>|</span>", "", page)
    folds = re.findall(r"<details.*?</details>", plain, flags=re.S)
    assert "seen = 1" in plain and "removed = 2" not in plain
    assert "input = 3" in folds[0] and "printed by input" not in folds[0] and "printed by input" in plain
    assert "Show solution" in folds[1] and "answer = 4" in folds[1] and "printed by answer" in folds[1]
    boxes = re.findall(
        r'<div class="([\w ]*\badmonition\b[\w ]*)">\s*<p class="admonition-title">(.*?)</p>\s*<p>(.*?)</p>', page
    )
    assert [(set(kind.split()) - {"admonition"}, *words) for kind, *words in boxes] == [
        ({"note"}, "Note", "A note."),
        ({"tip"}, "Predict", "What comes?"),
    ]
    assert '<div class="mermaid">' in page and 'href="other.html"' in page
    assert "github.com/someone/something/edit/main/notebooks/one.ipynb" in page  # a configured address gives buttons
    index = (html / "index.html").read_text(encoding="utf-8")
    assert "github.com/someone/something/edit/main/book/index.md" in index and "btn-source" in index


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<script src="https://cdn.example.org/a.js"></script>', "loads https://cdn.example.org/a.js from elsewhere"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org/a.css from elsewhere"),
        ('<img src="http://example.org/a.png">', "loads http://example.org/a.png from elsewhere"),
        ('<p style="background:url(https://example.org/a.png)">', "loads https://example.org/a.png from elsewhere"),
        ('<img src="gone.png">', "loads gone.png, which is not there"),
        ('<a href="gone.html">x</a>', "links to gone.html, which is not there"),
        ('<a href="#gone">x</a>', "links to #gone, where no such place is"),
        ('<a href="https://example.org">x</a><a href="#here" id="here">y</a><img src="data:x">', ""),
    ],
)
def test_the_scan_finds_what_it_should(tmp_path: Path, page: str, fault: str) -> None:
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    assert sites.faults(tmp_path) == ([f"index.html {fault}"] if fault else [])


def test_docstrings_are_shown_as_they_are_written(book: Path) -> None:
    page = (book / "api" / "generators.html").read_text(encoding="utf-8")
    assert "v = v_null + g (v_text - v_null)" in page
    assert "problematic" not in page
