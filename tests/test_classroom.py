"""The notebook machinery, on small lessons made here: tidying, the rules on planted faults, and real runs."""

import argparse
import base64
import copy
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from course_utils.classroom import rules, run
from course_utils.classroom.tidy import code_cells, code_digest, dump, read, text, tidy
from course_utils.common import ROOT, CourseError
from course_utils.loaded import MODULES, VARIABLE, record_loaded

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOMEWHERE = "/" + "home/someone/pictures"


def code(source: str, *outputs: dict, number: int = 0, **metadata: object) -> dict:
    outputs_ = [{"metadata": {}, **o} if "data" in o else o for o in outputs]
    return {
        "cell_type": "code",
        "id": f"c{number}",
        "source": source,
        "outputs": outputs_,
        "execution_count": None,
        "metadata": metadata,
    }


def printed(words: str, name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": words}


def shown(**data: str) -> dict:
    return {"output_type": "display_data", "data": {key.replace("_", "/"): value for key, value in data.items()}}


def notebook(*cells: dict) -> dict:
    cells = tuple({**copy.deepcopy(cell), "id": f"cell-{n}"} for n, cell in enumerate(cells))
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def stamped(*cells: dict, seconds: float = 5.0) -> dict:
    lesson = tidy(notebook(*cells))
    numbers = {"seconds": {"laptop": seconds, "ci": 3.0}, "peak_mb": {"laptop": 300, "ci": 200}}
    lesson["metadata"]["course"] = {"profile": "laptop", "digest": code_digest(lesson), **numbers}
    return lesson


def stored(folder: Path, lesson: dict, name: str = "07_trial.ipynb") -> Path:
    path = folder / name
    path.write_text(dump(lesson), encoding="utf-8")
    return path


def words(source: str) -> dict:
    return {"cell_type": "markdown", "id": "t", "source": source, "metadata": {}}


HINTS = "<details><summary>Hint 1</summary>\n\na\n</details>\n<details><summary>Hint 2</summary>\n\nb\n</details>"
EXERCISE = (
    words(f"**1 · warm-up · 5 min.** What is it?\n\n{HINTS}"),
    code("answer = None", tags=["exercise"]),
    code("print('1: not done yet.')", printed("1: not done yet.\n"), tags=["check", "nbval-check-output"]),
    code("answer = 1\n" * 40, tags=["solution"]),  # which may be long
)
FIRST = words("# A trial\n\n*It promises little.*\n\n## You will\n\nSee [another](07_trial.ipynb).")
REST = (
    words("## Does the maths hold?\n\n$$ 1 = 1 $$\n\n## What did it cost?\n\n## Exercises"),
    *EXERCISE * 3,
    words("## Clinic"),
    code("1 + 1", tags=["clinic"]),
    words("## What to remember\n\n## Read next\n\n[a paper](https://arxiv.org/abs/1312.6114)"),
)
GOOD = (
    FIRST,
    code("print('a')", printed("a\n")),
    code("figure", shown(image_png=PIXEL), mystnb={"image": {"alt": "one pixel"}}),
    *REST,
)


def test_a_good_lesson_has_no_complaints(tmp_path: Path) -> None:
    path = stored(tmp_path, stamped(*GOOD))
    assert rules.complaints(path) == []
    assert rules.total_complaints([path]) == []


def error(words: str) -> dict:
    return {"output_type": "error", "ename": "ValueError", "evalue": words, "traceback": ["long"]}


PLANTED = {
    "an error": (code("1", error("no")), "code cell 13: an error is stored, ValueError"),
    "no alt text": (code("1", shown(image_png=PIXEL)), "code cell 13: its figure has no alt text"),
    "placeholder of an alt text": (
        {**code("1", shown(image_png=PIXEL)), "metadata": {"mystnb": {"image": {"alt": "FIGURE_ALT"}}}},
        "code cell 13: its figure has no alt text",
    ),
    "html picture": (code("1", shown(text_html='<img src="x.png">')), "a picture in its HTML has no alt text"),
    "long cell": (code("x = 1\n" * 26), "code cell 13: 26 lines are over 25"),
    "unknown tag": (code("1", tags=["exercize"]), "the tag exercize is not known"),
    "skipped silently": (code("1", tags=["nbval-skip"]), "skipped by nbval without a reason"),
    "path in output": (code("1", printed(f"saved {SOMEWHERE}\n")), "code cell 13: a machine's path"),
    "path in html": (code("1", shown(text_html=f"<a>{SOMEWHERE}</a>")), "code cell 13: a machine's path"),
    "path in code": (code(f"open('{SOMEWHERE}')"), "code cell 13: a machine's path"),
    "placeholder": (code("x = 1  # " + "TO" + "DO"), "is a placeholder"),
    "gap": (words("It took ⟦minutes⟧ minutes."), "“⟦” is a placeholder"),
    "marked quote": (words("> [!TIP]\n> **Predict.** What?"), "JupyterLab shows this mark as raw text"),
    "outputs too large": (code("1", printed("much " * 100_000)), "code cell 13: its outputs are 488 KiB, over 400"),
    "outside picture": (words("![a cat](https://example.org/cat.png)"), "is fetched from another host"),
    "outside script": (code("1", shown(text_html="<script src='//example.org/x.js'>")), "is fetched from another host"),
    "broken link": (words("See [this](08_nothing.ipynb)."), "the link to 08_nothing.ipynb leads nowhere"),
    "MyST role": (words("By {eq}`4.1` it holds."), "a MyST role is shown as raw text in JupyterLab"),
    "MyST directive": (words(":::{note}\nA\n:::"), "a MyST directive or label is shown as raw text"),
    "align": (words("$$ \\begin{align} a \\end{align} $$"), "the book numbers it twice"),
    "open formula": (words("$$ a = b"), "a displayed formula is not closed"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(fault: str, tmp_path: Path) -> None:
    cell, words = PLANTED[fault]
    found = rules.complaints(stored(tmp_path, stamped(*GOOD, cell)))
    assert len(found) == 1 and words in found[0] and found[0].startswith("07_trial.ipynb"), found


def without(*lost: dict) -> tuple[dict, ...]:
    return tuple(cell for cell in GOOD if not any(cell is other for other in lost))


@pytest.mark.parametrize(
    ("lesson", "complaint"),
    [
        (without(FIRST), "the first text: it begins with the title"),
        (without(REST[0]), "“## Does the maths hold?” is missing"),
        ((words("# A\n\n*b*\n\n## Read next"), *GOOD), "their order is You will, Does the maths hold?"),
        (without(REST[-2]), "no cell is tagged clinic"),
        (without(EXERCISE[2]), "after this exercise comes a cell tagged check; the next one is tagged solution"),
        (without(EXERCISE[3]), "after this check comes a cell tagged solution; the next one is tagged exercise"),
        (without(*EXERCISE), "0 cells are tagged exercise"),
        ((*GOOD, code("print(answer)")), "code cell 13: answer comes from a solution"),
        (
            (*GOOD, code("def f(x):\n    return [answer + x for x in (1, 2)]")),
            "code cell 13: answer comes from a solution",
        ),
        ((*GOOD, *EXERCISE[:2], code("answer", tags=["check"])), "code cell 14: a check of a stub prints"),
        (
            (
                *GOOD,
                *EXERCISE[:2],
                code("answer", printed("Exercise 1: right. Yes."), tags=["check", "nbval-check-output"]),
            ),
            "code cell 14: a check of a stub prints",
        ),
        (without(EXERCISE[0]), "an exercise has two hints"),
        (
            (*GOOD, words(HINTS), *EXERCISE[1:]),
            "say number, difficulty and minutes, such as **1 · warm-up · 5 min.**",
        ),
    ],
)
def test_a_lesson_that_lacks_a_part_is_told_which(lesson: tuple[dict, ...], complaint: str, tmp_path: Path) -> None:
    found = rules.complaints(stored(tmp_path, stamped(*lesson)))
    assert any(complaint in line for line in found), found


def test_lesson_00_needs_neither_maths_nor_clinic(tmp_path: Path) -> None:
    path = stored(tmp_path, stamped(*without(REST[0], REST[-2])), "00_trial.ipynb")
    assert all("What did it cost?” is missing" in line or "link" in line for line in rules.complaints(path))


@pytest.mark.parametrize(
    "cell",
    [
        code("raise ValueError", error("no"), tags=["raises-exception"]),
        code("1", tags=["nbval-skip"], reason="needs a display"),
        code("for answer in range(3):\n    print(answer)"),
        code("def f(answer):\n    return answer"),
        code("1", shown(text_html='<img alt="a dot" src="data:image/png;base64,/' + 'tmp/abc">')),
    ],
)
def test_what_is_allowed_passes(cell: dict, tmp_path: Path) -> None:
    assert rules.complaints(stored(tmp_path, stamped(*GOOD, cell))) == []


def test_solutions_are_folded_in_jupyterlab() -> None:
    cells = code_cells(tidy(notebook(*EXERCISE)))
    folded = [cell["metadata"].get("jupyter") for cell in cells]
    assert folded == [None, None, {"outputs_hidden": True, "source_hidden": True}]


def test_faults_of_the_whole_file_are_named(tmp_path: Path) -> None:
    def complaint(lesson: dict) -> str:
        return "\n".join(rules.complaints(stored(tmp_path, lesson)))

    changed = stamped(*GOOD)
    changed["cells"][1]["source"] = ["print('b')"]
    assert "the code has changed since the outputs were made" in complaint(changed)
    assert "stamp: there is none" in complaint(tidy(notebook(*GOOD)))
    assert "no stored outputs" in complaint(stamped(FIRST, code("1")))
    untidy = stamped(*GOOD)
    untidy["cells"][1]["outputs"].append(printed("warning", "stderr"))
    assert "not tidy" in complaint(untidy) and "stderr" in complaint(untidy)
    invalid = stamped(*GOOD)
    invalid["cells"][1]["outputs"] = "none"
    assert "07_trial.ipynb is not a valid notebook" in complaint(invalid)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}'])
def test_an_unreadable_notebook_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "07_trial.ipynb"
    path.write_text(content)
    assert len(rules.complaints(path)) == 1 and "07_trial.ipynb is not a notebook" in rules.complaints(path)[0]
    with pytest.raises(CourseError, match="07_trial"):
        run.refresh(path)


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="07_trial"):
        run.refresh(tmp_path / "07_trial.ipynb")
    assert "07_trial.ipynb cannot be read" in rules.complaints(tmp_path / "07_trial.ipynb")[0]


def test_a_lesson_whose_training_is_watched_says_how_long_it_may_take(tmp_path: Path) -> None:
    lesson = stamped(*GOOD, seconds=900.0)
    assert "900 seconds on a laptop are over 720" in rules.complaints(stored(tmp_path, lesson))[0]
    lesson["metadata"]["live_seconds"] = 960
    assert rules.complaints(stored(tmp_path, lesson)) == []
    lesson["metadata"]["live_seconds"] = "long"
    assert "live_seconds is 'long'" in rules.complaints(stored(tmp_path, lesson))[0]


def test_ci_seconds_are_summed(tmp_path: Path) -> None:
    lesson = stamped(*GOOD)
    lesson["metadata"]["course"]["seconds"]["ci"] = 700.0
    paths = [stored(tmp_path, lesson, f"0{n}_trial.ipynb") for n in range(2)]
    assert rules.total_complaints(paths[:1]) == []
    assert "1400 s" in rules.total_complaints(paths)[0]


def test_tidy() -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a1"}, "text/plain": "Text()"}
    messy = notebook(
        code(
            "x",
            printed("bar", "stderr"),
            printed("10%\r50%\rdone\n"),
            printed("and <A object at 0x7f00>\n"),
            printed(f"{ROOT}/data/x {ROOT} {Path.home()}/y {ROOT}-other\n"),
        ),
        code(
            "y",
            {
                "output_type": "execute_result",
                "execution_count": 9,
                "data": {"text/plain": "Figure", "image/png": PIXEL + "\n"},
            },
        ),
        code("z", {"output_type": "display_data", "data": widget}, tags=[], execution={"iopub": "12:00"}),
        code("e", {"output_type": "error", "ename": "E", "evalue": f"{ROOT}/a", "traceback": ["File 1"]}),
    )
    messy["metadata"] = {"widgets": {"a1": 1}, "kernelspec": {"name": "mine"}, "papermill": {"duration": 1}}
    first = tidy(messy)
    a, b, c, e = code_cells(first)
    home = "~/y" if len(str(Path.home())) > 1 else f"{Path.home()}/y"
    assert (
        text(a["outputs"][0]["text"]) == f"done\nand <A object at 0x…>\ndata/x  {home} {ROOT}-other\n"
        and len(a["outputs"]) == 1
    )
    assert b["outputs"][0]["data"] == {"image/png": PIXEL} and b["outputs"][0]["execution_count"] == 2
    assert c["outputs"] == [] and c["metadata"] == {} and c["id"] == "cell-2"
    assert e["outputs"][0]["traceback"] == ["E: a"]
    assert [cell["execution_count"] for cell in code_cells(first)] == [1, 2, 3, 4]
    assert (
        set(first["metadata"]) == {"kernelspec", "language_info"}
        and first["metadata"]["kernelspec"]["name"] == "python3"
    )
    assert dump(tidy(first)) == dump(first) and dump(tidy(json.loads(dump(first)))) == dump(first)
    assert messy["metadata"]["papermill"], "the argument must stay as it is"


def test_lessons_are_found_by_number(tmp_path: Path) -> None:
    for name in ("04_a.ipynb", "05_b.ipynb", "05_c.ipynb"):
        stored(tmp_path, stamped(*GOOD), name)
    assert run.find("4", tmp_path).name == run.find("04", tmp_path).name == "04_a.ipynb"
    with pytest.raises(CourseError, match=r"ambiguous: 05_b\.ipynb, 05_c\.ipynb"):
        run.find("5", tmp_path)
    for wrong in ("6", "*", "x"):
        with pytest.raises(CourseError, match="there are: 04_a, 05_b, 05_c"):
            run.find(wrong, tmp_path)


def test_loaded_weights_are_recorded_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    record_loaded("flow")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "names"))
    record_loaded("flow")
    record_loaded("judge")
    assert (tmp_path / "names").read_text() == "flow\njudge\n"


def test_imports_are_recorded_with_what_they_import(tmp_path: Path) -> None:
    """Also what is named by a string only (a kind of model), and by a process that is started; not what is only there."""
    code = (
        "import subprocess, sys, course_utils.models as m\n"
        "m.importlib.import_module('course_utils.models.judge')\n"
        "subprocess.run([sys.executable, '-m', 'course_utils', 'doctor', '--help'], stdout=-3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, MODULES: str(tmp_path / "names")})
    names = set((tmp_path / "names").read_text().split())
    assert done.returncode == 0
    assert {
        f"course_utils{x}" for x in ("", ".loaded", ".models", ".models.judge", ".weights", ".commands.doctor")
    } <= names
    assert "course_utils.models.vae" not in names and "course_utils.worlds" not in names


RUNNABLE = (
    code("import os, sys, numpy as np\nfrom course_utils import show\nfrom course_utils.loaded import record_loaded"),
    code(
        "print(sys.executable, file=open(os.environ['COURSE_PROFILE'], 'w'))\nprint('kept')\nprint('gone', file=sys.stderr)"
    ),
    code("ballast = np.ones(2**24)  # 128 MB\nrecord_loaded('no-such-weights')", tags=["parameters"]),
    code(
        "show.grid(np.ones((2, 3, 8, 8)), ['white', '一个红色的圆'])", mystnb={"image": {"alt": "two white pictures"}}
    ),
    code("raise ValueError('meant to be seen')", tags=["raises-exception"]),
)


def test_running_a_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, execute = [], run.execute
    monkeypatch.setattr(run, "execute", lambda *request: runs.append(execute(*request)) or runs[-1])
    path = stored(tmp_path, notebook(*RUNNABLE, FIRST, *REST))
    assert run.stale(path) == ["it has not been run"]
    run.refresh(path)
    assert rules.complaints(path) == [] and run.stale(path) == []
    assert dump(tidy(runs[0].notebook)) == dump(tidy(runs[1].notebook)), "two runs give the same bytes"
    for profile in ("ci", "laptop"):
        assert (tmp_path / profile).read_text().strip() == sys.executable, "in the notebook's folder, by this Python"

    lesson = read(path)
    stamp, cells = lesson["metadata"]["course"], code_cells(lesson)
    assert [cell["id"] for cell in cells][:5] == [f"cell-{n}" for n in range(5)]
    assert text(cells[1]["outputs"][0]["text"]) == "kept\n" and len(cells[1]["outputs"]) == 1
    figure = Image.open(io.BytesIO(base64.b64decode(cells[3]["outputs"][0]["data"]["image/png"])))
    assert len(cells[3]["outputs"]) == 1, "a figure shows once"
    assert figure.width == 412, "and uncropped: two cells of 192, a gap of 12, two margins of 8"
    assert cells[4]["outputs"][0]["traceback"] == ["ValueError: meant to be seen"]
    assert stamp["weights"] == {"no-such-weights": "not shipped"} and stamp["digest"] == code_digest(lesson)
    assert all(
        150 < stamp["peak_mb"][profile] < 4096 and 0 < stamp["seconds"][profile] < 300 for profile in ("ci", "laptop")
    )

    assert stamp["course_utils"].items() <= run.module_digests().items()
    imported = set(stamp["course_utils"])
    assert {"course_utils", "course_utils.loaded", "course_utils.show", "course_utils.show.pictures"} <= imported
    assert "course_utils.models.vae" in run.module_digests() and "course_utils.models.vae" not in imported

    now = run.module_digests()
    monkeypatch.setattr(
        run, "module_digests", lambda: {**now, "course_utils.models.vae": "new", "course_utils.new": "x"}
    )
    assert run.stale(path) == [], "what the lesson does not import may change"
    monkeypatch.setattr(run, "module_digests", lambda: {**now, "course_utils.show.style": "new"})
    monkeypatch.setattr(run, "card_digest", lambda name: "new")
    assert run.stale(path) == ["course_utils.show.style changed", "the weights no-such-weights changed"]
    lesson["cells"][1]["source"] = ["1"]
    assert run.stale(stored(tmp_path, lesson))[0] == "its code changed"


def test_a_failing_lesson_is_named_and_stays_as_it_was(tmp_path: Path) -> None:
    path = stored(tmp_path, notebook(GOOD[0], code("x = 0"), code("1 / x")))
    before = path.read_bytes()
    with pytest.raises(
        CourseError, match=r"07_trial: code cell 2 \(“1 / x”\) failed with ZeroDivisionError: division by zero"
    ):
        run.refresh(path, ("ci",))
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["07_trial.ipynb"]


def test_a_kernel_that_dies_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, notebook(code("x = 0"), code("import os\nos._exit(1)"), code("x")))
    with pytest.raises(CourseError, match=r"07_trial: .*code cell 2: .*Kernel died.* The stored notebook is as it was"):
        run.refresh(path, ("ci",))


def test_one_profile_alone_keeps_what_is_known_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(path: Path, profile: str) -> run.Execution:
        return run.Execution(read(path), 50.0, 700.0, [], [])

    monkeypatch.setattr(run, "execute", quick)
    path = stored(tmp_path, stamped(*GOOD))
    run.refresh(path, ("ci",))
    assert read(path)["metadata"]["course"]["seconds"] == {"ci": 50.0, "laptop": 5.0} and rules.complaints(path) == []
    changed = stamped(*GOOD)
    changed["cells"][1]["source"] = ["print('b')"]
    run.refresh(stored(tmp_path, changed), ("ci",))
    assert "code has changed" in rules.complaints(path)[0], (
        "a run in profile ci stores no outputs, so they stay out of date"
    )
    run.refresh(stored(tmp_path, changed), ("laptop",))
    assert read(path)["metadata"]["course"]["seconds"] == {"laptop": 50.0}, "seconds of other code are forgotten"


def test_an_edit_during_the_run_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, stamped(*GOOD))

    def slow(path: Path, profile: str) -> run.Execution:
        path.write_text(path.read_text().replace("A trial", "An edit"))
        return run.Execution(read(path), 5.0, 300.0, [], [])

    monkeypatch.setattr(run, "execute", slow)
    with pytest.raises(CourseError, match="was edited while it ran"):
        run.refresh(path)
    assert "An edit" in path.read_text()


def test_a_machines_path_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, stamped(*GOOD))
    before = path.read_bytes()
    bad = stamped(GOOD[0], code("print('a')", printed(f"saved {SOMEWHERE}\n")))
    monkeypatch.setattr(run, "execute", lambda path, profile: run.Execution(bad, 5.0, 300.0, [], []))
    with pytest.raises(CourseError, match=r"07_trial\.ipynb, code cell 1: a machine's path"):
        run.refresh(path)
    assert path.read_bytes() == before


def test_the_command_checks_and_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def command(*words: str) -> int:
        parser = argparse.ArgumentParser()
        run.add_arguments(parser)
        return run.main(parser.parse_args(words))

    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path)
    path = stored(tmp_path, stamped(*GOOD))
    assert command("--check") == 0 and "1 lessons checked, 0 complaints" in capsys.readouterr().out
    assert (
        command("--stale", "--check") == 1
        and "07_trial.ipynb: out of date: what it imports is not known" in capsys.readouterr().out
    )
    refreshed = []
    monkeypatch.setattr(run, "refresh", lambda *request: refreshed.append(request))
    assert command("7", "--profile", "ci") == command("--stale") == command(str(path), "--all") == 0
    assert refreshed == [(path, ("ci",)), (path, ("ci", "laptop")), (path, ("ci", "laptop"))]
    untidy = stamped(*GOOD)
    untidy["cells"][0]["metadata"]["collapsed"] = True
    assert command(str(stored(tmp_path, untidy)), "--check") == 1 and "not tidy" in capsys.readouterr().out
    with pytest.raises(CourseError, match="Name the lessons"):
        command()


def test_numbers_stay_while_they_are_near() -> None:
    assert run._steady("seconds", None, 10.04) == 10.0
    assert run._steady("seconds", 100.0, 120.0) == 100.0
    assert run._steady("seconds", 100.0, 130.0) == 130.0
    assert run._steady("peak_mb", 300.0, 800.4) == 800
