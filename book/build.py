"""Puts the sources of the book together in a folder and builds it there: `make book`.

Warnings are errors; no notebook is run. The pages of the parts, of the package and of the results are written from
syllabus.toml, docstrings and results/.

python book/build.py [FOLDER]      FOLDER/html/index.html is the book; _build by default
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import os
import re
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
sys.path.insert(0, str(ROOT))

from course_utils.__main__ import COMMANDS, build_parser  # noqa: E402
from course_utils.common import DATA  # noqa: E402

NOT_STAGED = shutil.ignore_patterns(
    "*.pyc", "__pycache__", ".ipynb_checkpoints", "build.py", "vendor.py", "figures.py", "api_index.md"
)
ROOMS = {  # in the order in which data flows
    "worlds": "The data: scenes, their captions and their pictures.",
    "language": "From words to vectors: the tokenizer and the text encoder.",
    "models": "The networks, one family in each file: configuration, parts, model, loss.",
    "training": "One loop for all models, with averaged weights, schedules and exact resume.",
    "generators": "One interface over all families: load a generator by name, give it prompts, get pictures.",
    "measure": "The judge, fidelity, diversity, and intervals for all of them.",
    "speed": "Rungs of the speed ladder, and the ladder itself: time and memory beside the price in quality.",
    "show": "Pictures, curves, flipbooks and widgets, in one style.",
    "classroom": "Running, tidying and checking the lessons.",
}
GROUND = "What every room uses: profile, weights, errors, files."

BESIDE = "---\norphan: true\n---\n\n[The package course_utils](index.md)\n\n"  # a page that the margin does not list


class Lesson(NamedTuple):
    """A lesson of the syllabus; `page` is its notebook without suffix, or "" while it is only planned."""

    number: str
    title: str
    about: str
    page: str


class Part(NamedTuple):
    """A part of the syllabus; it has a page in the book once one of its lessons exists."""

    number: int
    title: str
    about: str
    lessons: list[Lesson]

    @property
    def page(self) -> str:
        """Its page without suffix, or "" if no lesson is there yet."""
        there = any(lesson.page for lesson in self.lessons)
        return f"parts/{self.number}_{re.sub('[^a-z]+', '_', self.title.lower())}" if there else ""


def syllabus(notebooks: Path) -> list[Part]:
    """The course as planned, with pages for the lessons whose notebook is in the folder.

    Raises ValueError if a notebook is no lesson of the syllabus: it would be missing from every map.
    """
    there = {path.stem for path in notebooks.glob("*.ipynb")}
    parts: list[Part] = []
    count = 0
    for number, part in enumerate(tomllib.loads((BOOK / "syllabus.toml").read_text(encoding="utf-8"))["part"]):
        lessons = []
        for name, title, about in part["lessons"]:
            stem = f"{count:02d}_{name}"
            lessons.append(Lesson(f"{count:02d}", title, about, f"notebooks/{stem}" if stem in there else ""))
            count += 1
        parts.append(Part(number, part["title"], part["about"], lessons))
    if strange := there - {Path(lesson.page).name for part in parts for lesson in part.lessons}:
        raise ValueError(f"book/syllabus.toml does not name the lessons {', '.join(sorted(strange))}: add them there.")
    return parts


def stage(folder: Path, notebooks: Path = ROOT / "notebooks") -> None:
    """Writes all sources of the book into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BOOK, folder, ignore=NOT_STAGED)
    (folder / "notebooks").mkdir()
    for path in notebooks.glob("*.ipynb"):
        shutil.copy2(path, folder / "notebooks")
    parts = syllabus(notebooks)
    pages = {f"{part.page}.md": part_page(part) for part in parts if part.page}
    pages |= {f"api/{name}.md": text for name, text in api_pages().items()}
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "generated.toml").write_text('pages = ["parts", "api"]\n', encoding="utf-8")
    written = {
        "contents": contents(parts),
        "course map": course_map(parts),
        "generators": generator_table(),
        "teaching": teaching(parts, notebooks),
        "attributes": attribute_table(),
        "judge": judge_table(),
        "eye": eye_table(),
        "language": language_table(),
        "ladder": ladder_table(folder / "results"),
        "race": race_table(folder / "results"),
        "commands": (BOOK / "results" / "README.md").read_text(encoding="utf-8").partition("\n\n")[2],
    }
    for path in folder.glob("*.md"):
        text = re.sub(r"<!-- write: ([\w ]+) -->", lambda match: written[match[1]], path.read_text(encoding="utf-8"))
        path.write_text(text.replace("](../notebooks/", "](notebooks/"), encoding="utf-8")


def contents(parts: list[Part]) -> str:
    """The tables of contents that the margin shows."""
    lessons = "\n".join(part.page for part in parts if part.page)
    rest = "using\nteaching\nown_pictures\nnotation\ntroubleshooting\nresults\nbibliography\napi/index"
    return (
        f"```{{toctree}}\n:hidden:\n:caption: Lessons\n\n{lessons}\n```\n\n"
        f"```{{toctree}}\n:hidden:\n:caption: Beside the lessons\n\n{rest}\n```"
    )


def teaching(parts: list[Part], notebooks: Path) -> str:
    """For each lesson that exists: minutes, what it needs, a plan of 90 minutes, a quiz; from syllabus.toml and the lesson's stamp.

    Raises ValueError if the syllabus lacks a lesson's, or a plan or quiz has the wrong length.
    """
    known = tomllib.loads((BOOK / "syllabus.toml").read_text(encoding="utf-8"))["teaching"]
    text = []
    for lesson in (lesson for part in parts for lesson in part.lessons if lesson.page):
        name = Path(lesson.page).name[3:]
        if name not in known:
            raise ValueError(f"book/syllabus.toml has no [teaching.{name}]: say what a class needs, does and is asked.")
        one = known[name]
        if sum(minutes for minutes, _ in one["plan"]) != 90 or len(one["quiz"]) != 3:
            raise ValueError(f"book/syllabus.toml: the plan of {name} has 90 minutes, its quiz three questions.")
        stamp = json.loads((notebooks / f"{Path(lesson.page).name}.ipynb").read_text(encoding="utf-8"))["metadata"]
        seconds = stamp.get("course", {}).get("seconds", {}).get("laptop")
        run = f"{math.ceil(seconds / 60)} min on two cores" if seconds else "not measured yet"
        text += [f"## {lesson.number} {lesson.title}", "", f"[The lesson]({lesson.page}.ipynb). {lesson.about}", ""]
        text += [f"- **To read:** {one['read']} min. **To run:** {run}.", f"- **It needs** {one['needs']}.", ""]
        text += ["| minutes | what happens |", "| --- | --- |", *(f"| {n} | {what} |" for n, what in one["plan"]), ""]
        for n, (question, answer) in enumerate(one["quiz"], 1):
            text += [f":::{{dropdown}} Quiz {n}. {question}", answer, ":::", ""]
    return "\n".join(text)


def course_map(parts: list[Part]) -> str:
    """A card for each part, with links to the lessons that exist."""
    cards = []
    for part in parts:
        title = f"[{part.title}]({part.page}.md)" if part.page else part.title
        lines = [
            f"- {lesson.number} [{lesson.title}]({lesson.page}.ipynb)"
            if lesson.page
            else f'- <span class="planned">{lesson.number} {lesson.title}</span>'
            for lesson in part.lessons
        ]
        shadow = "sm" if part.page else "none"
        head = f":::{{grid-item-card}} {part.number} · {title}\n:shadow: {shadow}"
        cards.append("\n".join([head, "", part.about, "", *lines, ":::"]))
    return "::::{grid} 1 1 2 2\n:gutter: 3\n:class-container: course-map\n\n" + "\n".join(cards) + "\n::::"


def part_page(part: Part) -> str:
    """The page of a part: what it is about and its lessons, those to come by name only."""
    lines = [f"# Part {part.number}: {part.title}", "", part.about, "", "```{toctree}", ":hidden:", ""]
    lines += [f"{lesson.number} {lesson.title} </{lesson.page}>" for lesson in part.lessons if lesson.page]
    lines += ["```", "", "| lesson | what it is about |", "| --- | --- |"]
    for lesson in part.lessons:
        title = f"[{lesson.title}](/{lesson.page}.ipynb)" if lesson.page else f"{lesson.title} *(planned)*"
        lines.append(f"| {lesson.number} {title} | {lesson.about} |")
    return "\n".join(lines) + "\n"


def api_pages() -> dict[str, str]:
    """A page for each room of course_utils, made from its docstrings, one for the command line, and their index."""
    package = ROOT / "course_utils"
    found = {path.parent.name for path in package.glob("*/__init__.py")} - {"commands"}
    pages, rows = {}, []
    for room in [*(name for name in ROOMS if name in found), *sorted(found - set(ROOMS))]:
        modules = [f"{room}.{path.stem}" for path in sorted((package / room).glob("[!_]*.py"))]
        about = ROOMS.get(room) or (importlib.import_module(f"course_utils.{room}").__doc__ or "").partition("\n")[0]
        pages[room] = module_page(room, about, modules)
        rows.append(f"| [{room}]({room}.md) | {about} |")
    pages["ground"] = module_page("ground", GROUND, sorted(path.stem for path in package.glob("[!_]*.py")))
    rows.append(f"| [ground](ground.md) | {GROUND} |")
    pages["command_line"] = command_page()
    rows.append("| [command line](command_line.md) | `python -m course_utils` |")
    table = "\n".join(["| room | what lives there |", "| --- | --- |", *rows])
    pages["index"] = (BOOK / "api_index.md").read_text(encoding="utf-8") + "\n" + table + "\n"
    return pages


def module_page(title: str, about: str, modules: list[str]) -> str:
    """A page that shows the docstrings of some modules."""
    text = f"{BESIDE}# {title}\n\n{about}\n"
    for module in modules:
        text += f"\n## {module}\n\n```{{eval-rst}}\n.. automodule:: course_utils.{module}\n   :members:\n```\n"
    return text


def command_page() -> str:
    """The page of the command line: what `--help` prints."""
    text = f"{BESIDE}# The command line\n\nWhat `python -m course_utils COMMAND --help` prints, command by command.\n"
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "96"
    for name in COMMANDS:
        page = io.StringIO()
        with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
            build_parser(name).parse_args([name, "--help"])
        text += f"\n## {name}\n\n```text\n{page.getvalue().strip()}\n```\n"
    os.environ.pop("COLUMNS")
    if width is not None:
        os.environ["COLUMNS"] = width
    return text


def result(name: str) -> dict[str, Any]:
    """A file of book/results."""
    return json.loads((BOOK / "results" / f"{name}.json").read_text(encoding="utf-8"))


def shipped_generators() -> list[dict[str, Any]]:
    """The stored quality of each generator that ships."""
    names = sorted(path.parent.name for path in (DATA / "weights").glob("*/card.json"))
    found = [result(name) for name in names if (BOOK / "results" / f"{name}.json").exists()]
    return [one for one in found if "fidelity" in one]


def share(value: float, interval: list[float] | None = None) -> str:
    """A fraction in per cent, with its interval."""
    return f"{value:.1%}" + (
        f" <span class='interval'>{interval[0]:.1%} to {interval[1]:.1%}</span>" if interval else ""
    )


def generator_table() -> str:
    """Caption accuracy by group of prompts, fidelity and diversity of each shipped generator."""
    text = ""
    for quality in shipped_generators():
        lines = [
            f"**{quality['name']}**, {quality['steps']} steps, guidance {quality['guidance']:g}, "
            f"{quality['prompts']} prompts in each group:",
            "",
            "| prompts | everything right (judge A) | judge B, on the first of them | judge A on the same | ceiling |",
            "| --- | --- | --- | --- | --- |",
        ]
        for group, ceiling in quality["ceiling"].items():
            row = [group.replace("_", " "), share(quality[group], quality["intervals"][group])]
            if both := quality.get("judge_b", {}).get(group):
                row += [f"{share(both['b'], both['interval'])} of {both['pictures']}", share(both["a"]), share(ceiling)]
            else:
                row += ["not measured", "not measured", share(ceiling)]
            lines.append(f"| {' | '.join(row)} |")
        low, high = quality["intervals"]["fidelity"]
        least, most = quality["intervals"]["diversity"]
        lines += [
            "",
            "The ceiling is what judge A reads from real pictures that went through the generator's autoencoder. Where the judges lie "
            f"more than 3 points apart on the same pictures, trust neither to the point: {differ(quality)}.",
            "",
            f"Fidelity (a distance: less is better) {quality['fidelity']:.1f} [{low:.1f}, {high:.1f}], "
            f"where real pictures among themselves have {quality['fidelity_floor']:.1f}. "
            f"Diversity {quality['diversity']:.2f} [{least:.2f}, {most:.2f}], where real pictures have 1. "
            f"{quality['seconds_per_picture']:.2f} seconds for a picture on the machine that measured it.",
        ]
        text += "\n".join(lines) + "\n\n"
    return text


def differ(quality: dict[str, Any]) -> str:
    """The groups of prompts on which the judges differ."""
    if "judge_b" not in quality:
        return "judge B has not read these yet"
    names = [name.replace("_", " ") for name, both in quality["judge_b"].items() if both["differ"]]
    return ", ".join(names) or "here they do so nowhere"


def attribute_table() -> str:
    """How often each attribute came out right, taken alone."""
    text = ""
    for quality in shipped_generators():
        rows = [
            f"| {name} | {share(value, quality['intervals']['attributes'][name])} |"
            for name, value in quality["attributes"].items()
        ]
        text += "\n".join([f"| {quality['name']} | right |", "| --- | --- |", *rows]) + "\n\n"
    return text


def judge_table() -> str:
    """How the judge reads pictures whose scene is known, and what it takes for a scene though it is none."""
    judge = result("judge")
    after = judge["after_round_trip"]
    lines = ["| real pictures | read right | after the autoencoder |", "| --- | --- | --- |"]
    for group in ("one_object", "two_objects", "three_objects"):
        cells = [share(one[group], one["intervals"][group]) for one in (judge, after)]
        lines.append(f"| {group.replace('_', ' ')} | {' | '.join(cells)} |")
    lines += ["", "| single things, damaged or hard to see | read right |", "| --- | --- |"]
    rows = {f"blurred, sigma {sigma} pixels": value for sigma, value in judge["blurred"].items()}
    rows |= {f"noise, standard deviation {sigma}": value for sigma, value in judge["noisy"].items()} | judge["hard"]
    lines += [f"| {name} | {share(value)} |" for name, value in rows.items()]
    lines += ["", "| no proper scene | taken for one |", "| --- | --- |"]
    accepted = judge["accepted_non_scenes"] | {"means of 64 fitting scenes": judge["accepted_means_of_64"]}
    lines += [f"| {name.replace('_', ' ')} | {share(value)} |" for name, value in accepted.items()]
    return "\n".join(lines)


def eye_table() -> str:
    """Both judges of each world against the labelled pictures on which nothing was chosen."""
    text = ""
    for name, world in (("judge", "shapes"), ("judge-emoji", "emoji_scenes")):
        if not (BOOK / "results" / f"{name}.json").exists():
            continue
        lines = [
            f"| `{world}`: of the pictures that the eye calls | judge A accepts | judge B accepts |",
            "| --- | --- | --- |",
        ]
        halves = [result(name)["labels"][judge]["report"] for judge in ("judge_a", "judge_b")]
        for answer in ("right", "wrong", "doubtful"):
            rows = [half[f"{answer}_accepted"] for half in halves]
            cells = [f"{share(row['share'], row['interval'])} of {row['of']}" if row["of"] else "none" for row in rows]
            lines.append(f"| {answer} | {' | '.join(cells)} |")
        cells = [f"{share(half['agreement']['share'], half['agreement']['interval'])}" for half in halves]
        text += "\n".join([*lines, f"| agreement, without the doubtful | {' | '.join(cells)} |"]) + "\n\n"
    return text


def language_table() -> str:
    """The language model of captions that ships beside models that only count, then what it writes more carefully and by language."""
    found = result("gpt-captions")

    def cells(name: str, of: dict[str, Any], *keys: str) -> str:
        row = []
        for key in (f"{key}_{name}" if name else key for key in keys):
            value, interval = of.get(key), of["intervals"].get(key)
            if value is None or interval is None:
                row.append("")
            elif key.startswith(("parses", "copied")):
                row.append(share(value, interval))
            else:
                row.append(f"{value:.2f} <span class='interval'>{interval[0]:.2f} to {interval[1]:.2f}</span>")
        return " | ".join(row)

    models = {"the GPT that ships": "", "trigram": "trigram", "bigram": "bigram", "unigram": "unigram"}
    models |= {"blind guessing": "uniform", "real captions": "held_out"}
    lines = [
        "| | perplexity per token | bits per character | makes sense | by heart |",
        "| --- | --- | --- | --- | --- |",
    ]
    keys = ("perplexity", "bits_per_character", "parses", "copied")
    lines += [f"| {title} | {cells(name, found, *keys)} |" for title, name in models.items()]
    languages = {"en": "the GPT, English", "zh": "the GPT, Chinese"}
    lines += [f"| {languages[name]} | {cells('', part, *keys)} |" for name, part in found["languages"].items()]
    lines += [
        f"| the GPT, {name.replace('_', '-')} | | | {cells('', part, *keys[2:])} |"
        for name, part in found["careful"].items()
    ]
    return "\n".join(lines)


FRONTIER = (
    "Caption accuracy and fidelity, with their intervals, against milliseconds for a picture on a logarithmic axis; "
    "of rungs that draw the same pictures the fastest, and both starts."
)


def ladder_table(pictures: Path) -> str:
    """The speed ladder as a figure, written into this folder, and as a table; where and when it was measured."""
    from course_utils import show
    from course_utils.speed.table import markdown

    text = ""
    for device in ("cpu", "gpu"):
        path = BOOK / "results" / f"ladder-{device}.json"
        if not path.exists():
            continue
        rows = json.loads(path.read_text(encoding="utf-8"))
        first = rows[0]
        show.ladder(rows).savefig(pictures / f"ladder-{device}.png", dpi=110)
        if any(row["accuracy"] is not None for row in rows):  # there was time for the quality
            show.frontier(rows).savefig(pictures / f"frontier-{device}.png", dpi=110)
            text += f"```{{image}} results/frontier-{device}.png\n:alt: {FRONTIER}\n```\n\n"
        text += (
            f"```{{image}} results/ladder-{device}.png\n:alt: Milliseconds for a picture, and caption accuracy, on each rung of the table below.\n```\n\n"
            f"{markdown(rows)}\n\nMeasured on {first['date']}: {first['machine']}, torch {first['versions']['torch']}.\n\n"
        )
    return text or "It has not been measured yet: `make bench`.\n"


def race_table(pictures: Path) -> str:
    """The second ladder as a figure, written into this folder, and as a table; what was left out, where and when it was run."""
    from course_utils import show
    from course_utils.speed.time_to_accuracy import markdown

    text = ""
    for device in ("cpu", "gpu"):
        path = BOOK / "results" / f"time-to-accuracy-{device}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        title = f"Images to {found['task']['target']:.0%} of {found['task']['prompts']} prompts, and what that makes of the time"
        show.race(found["rows"], title).savefig(pictures / f"time-to-accuracy-{device}.png", dpi=110)
        left_out = "\n".join(f"- {name} was left out: {why}." for name, why in found["left_out"].items())
        text += (
            f"```{{image}} results/time-to-accuracy-{device}.png\n:alt: Images to the target, and times as fast as the start, for each change of the table below.\n```\n\n"
            f"{markdown(found['rows'])}\n\n{left_out}\n\nRun by {found['date']}: {found['machine']}, torch {found['versions']['torch']}.\n\n"
        )
    return text or "It has not been run yet: `python -m course_utils race`.\n"


def build(folder: Path, notebooks: Path = ROOT / "notebooks") -> int:
    """Stages and renders the book. Returns Sphinx's exit code, 0 if all is well."""
    stage(folder / "book", notebooks)
    return render(folder)


def render(folder: Path) -> int:
    """Makes FOLDER/html of the sources in FOLDER/book; warnings are errors. Returns Sphinx's exit code."""
    from sphinx.cmd.build import main as sphinx

    for old in ("html", "doctrees"):
        shutil.rmtree(folder / old, ignore_errors=True)
    options = ["-n", "-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    return sphinx([*options, str(folder / "book"), str(folder / "html")])


if __name__ == "__main__":
    begin = time.perf_counter()
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "_build"
    code = build(target)
    page = target / "html" / "index.html"
    shown = page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
    print("The book has errors; they stand above." if code else f"{time.perf_counter() - begin:.0f} s. Open {shown}")
    sys.exit(code)
