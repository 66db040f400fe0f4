"""What every stored lesson must keep. Each complaint names lesson and cell and says what to do."""

from __future__ import annotations

import re
import symtable
from collections.abc import Iterator, Sequence
from pathlib import Path

from course_utils.classroom.tidy import Cell, Notebook, code_cells, code_digest, dump, read, tags, text, tidy
from course_utils.common import CourseError
from course_utils.extras import need

TAGS = {
    "parameters",
    "exercise",
    "check",
    "solution",
    "clinic",
    "nbval-check-output",
    "nbval-skip",
    "raises-exception",
    "hide-input",
    "remove-cell",
}
HEADINGS = (  # of every lesson, in this order, between its own sections
    "You will",
    "Does the maths hold?",
    "What did it cost?",
    "Exercises",
    "Clinic",
    "What to remember",
    "Read next",
)
NOT_IN_00 = {"Does the maths hold?", "Clinic"}
EXERCISES = 3  # at least
MOST_LINES = 25  # of code in a cell, but for the tags of MAY_BE_LONG
MAY_BE_LONG = {"solution", "check"}
LAPTOP_SECONDS, CI_SECONDS = 12 * 60, 20 * 60  # one lesson on a laptop; all lessons together in profile ci
LAPTOP_MB = 4096
MOST_KIB, ALL_KIB = 1536, 18 * 1024  # one notebook; all together
MOST_CELL_KIB = 400  # the outputs of one cell

_PATH = re.compile(r"(?<![\w.+/=])/(?:home|Users|root|tmp|var/folders|private|mnt)/[\w.]|\b[A-Z]:\\+Users\b")
_DATA = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+")
_PLACEHOLDER = re.compile(r"\b(TODO|FIXME|XXX|TBD|[Ll]orem ipsum)\b|⟦")
_OUTSIDE = re.compile(
    r"!\[[^\]]*\]\(\s*(https?:)?//|<(?:img|script|iframe|link|source|video|audio)\b[^>]*?(?:src|href)=[\"'](https?:)?//"
)
_RAW = {  # what reads as raw text in JupyterLab or numbers twice in the book
    r"\{(?:ref|eq|cite\w*|doc|numref|math)\}`": "a MyST role is shown as raw text in JupyterLab: write a link",
    r"^:::|^\(\S+\)=\s*$": "a MyST directive or label is shown as raw text in JupyterLab: write plain Markdown",
    r"^> \[!": "JupyterLab shows this mark as raw text: begin the quote with a bold word, > **Note.** …, and the book makes a box of it",
    r"\\begin\{(?:align|equation)\*?\}": "the book numbers it twice: write $$ … \\tag{4.1} $$, with aligned inside",
}
_FIGURES = {"image/png", "image/jpeg", "image/svg+xml"}


def complaints(path: Path) -> list[str]:
    """All that is wrong with one stored lesson, a sentence each; an empty list is a pass.

    Raises CourseError only if nbformat is not installed: a notebook that cannot be read is a complaint.
    """
    try:
        notebook = read(path)
        validate(path, notebook)
    except CourseError as error:
        return [str(error)]
    found = [*_file(path, notebook), *_stamp(notebook), *machine_paths(notebook)]
    found += [*_skeleton(path, notebook), *_exercises(notebook), *_solved(notebook), *_links(path, notebook)]
    for cell in notebook["cells"]:
        found += [f"{where(notebook, cell)}: {complaint}" for complaint in _cell(cell)]
    return [f"{path.name}, {complaint}" for complaint in found]


def total_complaints(paths: Sequence[Path]) -> list[str]:
    """What is wrong with the lessons taken together: the seconds in profile ci, and the size."""
    found = []
    seconds = sum(_number(read(path), "seconds", "ci") for path in paths)
    if seconds > CI_SECONDS:
        found.append(
            f"All lessons take {seconds:.0f} s in profile ci, over the {CI_SECONDS} s that they share: make the slowest smaller."
        )
    size = sum(path.stat().st_size for path in paths) / 1024
    if size > ALL_KIB:
        found.append(
            f"All lessons are {size:.0f} KiB, over the {ALL_KIB} KiB that they share: store fewer or smaller pictures."
        )
    return found


def machine_paths(notebook: Notebook) -> list[str]:
    """A complaint for each cell whose source or output holds a path that exists on one machine only."""
    found = []
    for cell in notebook["cells"]:
        outputs = [
            text(value)
            for output in cell.get("outputs", [])
            for mime, value in {
                "text/plain": output.get("text") or output.get("evalue", ""),
                **output.get("data", {}),
            }.items()
            if mime.startswith("text/") or mime == "image/svg+xml"
        ]
        match = _PATH.search(_DATA.sub("", "\n".join([text(cell["source"]), *outputs])))
        if match:
            found.append(
                f"{where(notebook, cell)}: a machine's path, {match[0]}…, is stored: print names or relative paths."
            )
    return found


def where(notebook: Notebook, cell: Cell) -> str:
    """The name by which an author finds a cell: code cells by their count, texts by their first words."""
    if cell["cell_type"] == "code":
        return f"code cell {next(n for n, other in enumerate(code_cells(notebook), 1) if other is cell)}"
    return f"the text “{text(cell['source']).strip().splitlines()[0][:40] if text(cell['source']).strip() else ''}”"


def validate(path: Path, notebook: Notebook) -> None:
    """Raises CourseError if it breaks the format of notebooks, or if nbformat is not installed."""
    nbformat = need("test", "nbformat")
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"{path.name} is not a valid notebook: {reason}. Mend it, or restore it from git.") from error


def _file(path: Path, notebook: Notebook) -> Iterator[str]:
    number = path.name[:2]
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name):
        yield "the file's name: lessons are called NN_name.ipynb, in small letters."
    if dump(tidy(notebook)) != path.read_text(encoding="utf-8"):
        yield f"the file: it is not tidy; run `python -m course_utils run {number}`."
    size = path.stat().st_size / 1024
    if size > MOST_KIB:
        yield f"the file: {size:.0f} KiB are over {MOST_KIB}: store fewer or smaller pictures."
    if not any(cell["outputs"] for cell in code_cells(notebook)):
        yield f"the file: it has no stored outputs; run `python -m course_utils run {number}`."


def _skeleton(path: Path, notebook: Notebook) -> Iterator[str]:
    """Title, promise and the headings that every lesson has."""
    texts = [text(cell["source"]).strip() for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    if not texts or not re.match(r"# \S.*\n\n\*", texts[0]):
        yield "the first text: it begins with the title, “# …”, and one sentence of promise in *…*."
    found = re.findall(r"^## (.+?)\s*$", "\n".join(texts), flags=re.M)
    wanted = [name for name in HEADINGS if not (path.name.startswith("00") and name in NOT_IN_00)]
    missing = [name for name in wanted if name not in found]
    if missing:
        yield f"the headings: “## {missing[0]}” is missing; every lesson has {', '.join(wanted)}."
    elif [name for name in found if name in wanted] != wanted:
        yield f"the headings: their order is {', '.join(wanted)}, each once."
    if "Clinic" in wanted and not any("clinic" in tags(cell) for cell in code_cells(notebook)):
        yield "the clinic: no cell is tagged clinic; every lesson but 00 has a real mistake to find, with a check."


def _exercises(notebook: Notebook) -> Iterator[str]:
    """Each exercise is a stub, a check and a solution, with its minutes and two hints in the texts before."""
    parts = [
        (tag, cell) for cell in code_cells(notebook) for tag in ("exercise", "check", "solution") if tag in tags(cell)
    ]
    count = sum(tag == "exercise" for tag, _ in parts)
    if count < EXERCISES:
        yield f"the exercises: {count} cells are tagged exercise; a lesson has {EXERCISES} or more."
    for (tag, cell), following in zip(parts, [tag for tag, _ in parts[1:]] + ["exercise"], strict=False):
        expected = {"exercise": "check", "check": "solution", "solution": "exercise"}[tag]
        if following != expected:
            yield f"{where(notebook, cell)}: after this {tag} comes a cell tagged {expected}; the next one is tagged {following}."
        printed = "".join(text(output.get("text", "")) for output in cell["outputs"])
        if tag == "check" and ("nbval-check-output" not in tags(cell) or ": not done yet" not in printed):
            yield f"{where(notebook, cell)}: a check of a stub prints “…: not done yet”, and is tagged nbval-check-output."
    said: list[str] = []  # the texts since the exercise before
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            said.append(text(cell["source"]))
        elif "exercise" in tags(cell):
            words = "\n".join(said)
            if len(re.findall(r"<summary>\s*Hint", words)) < 2:
                yield f"{where(notebook, cell)}: an exercise has two hints, each in <details><summary>Hint …</summary>."
            if "clinic" not in tags(cell) and not re.search(r"\*\*\d+ · [\w-]+ · \d+ min", words):
                yield f"{where(notebook, cell)}: say number, difficulty and minutes, such as **1 · warm-up · 5 min.**"
            said = []


def _solved(notebook: Notebook) -> Iterator[str]:
    """Nothing hangs on a solution, so that the student edition, which has none, runs as the lesson does."""
    solved: set[str] = set()  # names that a solution bound last
    for cell in code_cells(notebook):
        try:
            top = symtable.symtable(text(cell["source"]), "cell", "exec")
        except SyntaxError:  # a magic, or an error that is meant
            continue
        bound = {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}
        if "solution" in tags(cell):
            solved |= bound
            continue
        for name in sorted(_read(top) & solved - bound):
            yield f"{where(notebook, cell)}: {name} comes from a solution, which the student edition lacks: write it in a cell before."
        solved -= bound


def _read(table: symtable.SymbolTable) -> set[str]:
    """Names of the notebook that are read here or in a function inside."""
    top = table.get_type() == "module"
    found = {name.get_name() for name in table.get_symbols() if name.is_referenced() and (top or name.is_global())}
    return found.union(*map(_read, table.get_children()))


def _links(path: Path, notebook: Notebook) -> Iterator[str]:
    """Links to files lead to files, and nothing is fetched from another host."""
    for cell in notebook["cells"]:
        source = text(cell["source"])
        pages = [text(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", [])]
        if cell["cell_type"] == "markdown":
            for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", source):
                if not re.match(r"\w+:", link) and not (path.parent / link).exists():
                    yield f"{where(notebook, cell)}: the link to {link} leads nowhere."
            pages.append(source)
        if match := _OUTSIDE.search(_DATA.sub("", "\n".join(pages))):
            yield f"{where(notebook, cell)}: {match[0][:60]}… is fetched from another host: ship it with the course."


def _stamp(notebook: Notebook) -> Iterator[str]:
    stamp = notebook["metadata"].get("course", {})
    again = "run `python -m course_utils run` on it"
    if not stamp:
        yield f"the stamp: there is none; {again}."
        return
    if stamp.get("digest") != code_digest(notebook):
        yield f"the stamp: the code has changed since the outputs were made; {again}."
    for profile in ("laptop", "ci"):
        for key in ("seconds", "peak_mb"):
            if not _number(notebook, key, profile):
                yield f"the stamp: {key} in profile {profile} are not known; {again}."
    live = notebook["metadata"].get(
        "live_seconds", LAPTOP_SECONDS
    )  # of a lesson whose reader is meant to watch a training
    if not isinstance(live, int | float):
        yield f"the metadata: live_seconds is {live!r}; it is the number of seconds that this lesson may take on a laptop."
        return
    for key, limit in (("seconds", live), ("peak_mb", LAPTOP_MB)):
        value = _number(notebook, key, "laptop")
        if value > limit:
            yield f"the stamp: {value:.0f} {key} on a laptop are over {limit}: make the training smaller, or load shipped weights."


def _number(notebook: Notebook, key: str, profile: str) -> float:
    value = notebook["metadata"].get("course", {}).get(key, {}).get(profile, 0)
    return value if isinstance(value, (int, float)) else 0


def _cell(cell: Cell) -> Iterator[str]:
    source, tagged, metadata = text(cell["source"]), set(tags(cell)), cell.get("metadata", {})
    if _PLACEHOLDER.search(source):
        yield f"“{_PLACEHOLDER.search(source)[0]}” is a placeholder: write what belongs there."  # type: ignore[index]
    if tagged - TAGS:
        yield f"the tag {', '.join(sorted(tagged - TAGS))} is not known; known are {', '.join(sorted(TAGS))}."
    if "nbval-skip" in tagged and not str(metadata.get("reason", "")).strip():
        yield "it is skipped by nbval without a reason: say why in the cell's metadata, key “reason”."
    if cell["cell_type"] != "code":
        for pattern, remedy in _RAW.items():
            if re.search(pattern, source, flags=re.M):
                yield f"{remedy}."
        if len(re.findall(r"(?<!\\)\$\$", source)) % 2:
            yield "a displayed formula is not closed: $$ come in pairs."
        return
    size = len(str(cell["outputs"])) / 1024
    if size > MOST_CELL_KIB:
        yield f"its outputs are {size:.0f} KiB, over {MOST_CELL_KIB}: show fewer or smaller pictures."
    lines = len(source.strip().splitlines())
    if lines > MOST_LINES and not tagged & MAY_BE_LONG:
        yield f"{lines} lines are over {MOST_LINES}: split it, or move a part into course_utils."
    alt = str(metadata.get("mystnb", {}).get("image", {}).get("alt", "")).strip()
    for output in cell["outputs"]:
        if output["output_type"] == "error" and "raises-exception" not in tagged:
            yield f"an error is stored, {output['ename']}: mend the code and run the lesson again."
        if output["output_type"] == "stream" and output["name"] == "stderr":
            yield "text on stderr is stored: run the lesson again, which tidies it."
        data = output.get("data", {})
        if _FIGURES & set(data) and (not alt or alt.isupper()) and "remove-cell" not in tagged:
            yield "its figure has no alt text: say what it shows in the metadata, mystnb → image → alt."
        page = text(data.get("text/html", ""))
        if any(not re.search(r"\salt=\"[^\"]+\"", tag) for tag in re.findall(r"<img\b[^>]*>", page)):
            yield "a picture in its HTML has no alt text: give each <img> an alt."
