"""The student edition: no solutions, no outputs, and it runs from end to end with every check saying "not done yet".

One lesson does that here. That the others do follows from rules that each is held to (tests/test_notebooks.py): the cells of a
lesson run with the stubs, its checks of the stubs are compared with "not done yet", and nothing hangs on a solution.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from course_utils.__main__ import main
from course_utils.classroom import rules, run, student
from course_utils.classroom.tidy import code_cells, dump, read, tags, text, tidy
from course_utils.common import ROOT, CourseError

LESSONS = sorted(run.NOTEBOOKS.glob("*.ipynb"))


def printed(cell: dict) -> str:
    return "".join(text(output.get("text", "")) for output in cell["outputs"])


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_nothing_of_a_solution_is_left(path: Path) -> None:
    lesson = read(path)
    before = copy.deepcopy(lesson)
    edition = student.student(lesson)
    assert lesson == before
    assert not [cell for cell in edition["cells"] if "solution" in tags(cell) or cell.get("outputs")]
    assert [cell["execution_count"] for cell in code_cells(edition)] == list(range(1, len(code_cells(edition)) + 1))
    assert "course" not in edition["metadata"]
    kept = {cell["id"] for cell in edition["cells"]}
    assert {cell["id"] for cell in lesson["cells"] if cell["id"] not in kept} == {
        cell["id"] for cell in lesson["cells"] if "solution" in tags(cell)
    }


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the lesson that takes the least time, unpacked from its zip somewhere else; and what the command said."""
    quickest = min(LESSONS, key=lambda path: read(path)["metadata"]["course"]["seconds"]["ci"])
    folder = tmp_path_factory.mktemp("student")
    (folder / "sheets" / "notebooks").mkdir(parents=True)
    (folder / "sheets" / "notebooks" / "mine.ipynb").write_text("{}")  # of somebody else, and stays here
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["student", quickest.stem[:2], "--out", str(folder / "sheets")]) == 0
    with zipfile.ZipFile(folder / "sheets.zip") as packed:
        packed.extractall(folder / "elsewhere")
    return folder / "elsewhere" / "sheets", said.getvalue()


@pytest.fixture(scope="module")
def edition(handed_out: tuple[Path, str]) -> Path:
    return handed_out[0]


def test_the_command_says_what_to_hand_out(handed_out: tuple[Path, str]) -> None:
    assert "wrote 1 lesson and the package" in handed_out[1] and "sheets.zip" in handed_out[1]


def test_it_runs_from_end_to_end_and_every_check_says_not_done(edition: Path) -> None:
    """With the package that is in the folder, whose checks are packed."""
    [sheet] = (edition / "notebooks").iterdir()
    done = run.attempt(read(sheet), sheet.parent, "ci", root=edition)
    assert not done.failure
    checks = [cell for cell in code_cells(done.notebook) if "check" in tags(cell)]
    assert checks and all(": not done yet" in printed(cell) for cell in checks), [printed(cell) for cell in checks]


def test_the_folder_works_on_its_own(edition: Path) -> None:
    """The package that is imported there is its own, its weights are there, and `make lab` opens the first lesson it has."""
    code = "import course_utils; print(course_utils.__file__); from course_utils.generators import load; load('flow-shapes')"
    environment = {**os.environ, "COURSE_HOME": str(edition / "home"), "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=edition, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(edition / "course_utils" / "__init__.py"), done.stderr
    assert done.returncode == 0, done.stderr
    [sheet] = (edition / "notebooks").iterdir()
    assert sheet.stem in {path.stem for path in LESSONS}
    assert sheet.stem[:2] in (edition / "README.md").read_text(encoding="utf-8")
    results = {path.name for path in (ROOT / "book" / "results").glob("*.json")}
    assert results and results <= {path.name for path in (edition / "book" / "results").iterdir()}
    needed = tomllib.loads((edition / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert all((edition / name).is_file() for name in (needed["readme"], *needed["license-files"], "constraints.txt"))


def test_the_answers_cannot_be_read_in_the_package(edition: Path) -> None:
    """No line of code of a check is in any file, in a docstring or else; the checks answer all the same."""
    modules = student.checks(ROOT)
    assert len(modules) >= 3 and student.checks(edition), "there is something to pack"
    shipped = "\n".join(path.read_text(encoding="utf-8") for path in student.checks(edition))
    for path in modules:
        source = path.read_text(encoding="utf-8")
        lines = [line.strip() for line in source.splitlines()[1:] if len(line.strip()) > 20]
        assert lines and not [line for line in lines if line in shipped], path.name
        packed = student.packed(source)
        original = importlib.import_module(f"course_utils.classroom.{path.stem}")
        module = ModuleType(f"trial_{path.stem}")
        sys.modules[module.__name__] = module
        exec(compile(packed, "x", "exec"), module.__dict__)
        assert module.__doc__ == original.__doc__
        public = {name for name, value in vars(original).items() if callable(value) and not name.startswith("_")}
        assert public and public <= set(vars(module)), path.name


def test_solutions_are_an_edition_of_their_own(tmp_path: Path) -> None:
    for written, path in zip(student.write_solutions(LESSONS, tmp_path), LESSONS, strict=True):
        lesson, sheet = read(path), read(written)
        assert dump(tidy(sheet)) == written.read_text(encoding="utf-8")
        rules.validate(written, sheet)
        solved = [cell for cell in lesson["cells"] if "solution" in tags(cell)]
        kept = [cell for cell in sheet["cells"] if cell["id"] in {cell["id"] for cell in solved}]
        assert [text(cell["source"]) for cell in kept] == [text(cell["source"]) for cell in solved]
        every = [text(cell["source"]) for cell in sheet["cells"]]
        assert all(every.count(text(cell["source"])) == 1 for cell in solved)
        shown = [
            [[output.get("text") or output["data"] for output in cell.get("outputs", [])] for cell in cells]
            for cells in (kept, solved)
        ]
        assert shown[0] == shown[1]
        assert not [cell for cell in kept if "jupyter" in cell["metadata"]], "folded solutions would be no use here"
        words = "\n".join(text(cell["source"]) for cell in sheet["cells"] if cell["cell_type"] == "markdown")
        exercises = sum("exercise" in tags(cell) for cell in lesson["cells"])
        assert words.count("<summary>Hint 1") == exercises, "each has its text"


@pytest.mark.parametrize("folder", [run.NOTEBOOKS, ROOT], ids=["notebooks", "the checkout"])
def test_the_lessons_themselves_are_not_overwritten(folder: Path) -> None:
    for write in (student.write, student.write_solutions):
        with pytest.raises(CourseError, match="overwrite the lessons"):
            write(LESSONS, folder)


def test_the_command_writes_solutions(tmp_path: Path) -> None:
    assert main(["student", "00", "--solutions", "--out", str(tmp_path / "solved")]) == 0
    assert [path.name for path in (tmp_path / "solved").iterdir()] == [LESSONS[0].name]


def test_a_file_where_the_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match="Cannot write .*file"):
        student.write(LESSONS[:1], tmp_path / "file")


def test_a_text_that_belongs_to_a_solution_goes_too(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "id": "a", "source": "# A", "metadata": {}},
        {"cell_type": "markdown", "id": "b", "source": "because", "metadata": {"tags": ["solution"]}},
    ]
    edition = student.student({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert [cell["id"] for cell in edition["cells"]] == ["a"]
