"""The Makefile, with a stand-in for Python: nothing is installed, every call that make would make is written down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# Called as the interpreter that make finds it makes an "environment" that holds itself; called as the one in that environment
# it notes its arguments, and stops, as an interrupted install does, where the file `interrupt` holds a word of them.
STAND_IN = """#!{python}
import json, os, pathlib, shutil, sys
folder, words = pathlib.Path({folder!r}), sys.argv[1:]
if words[0] == "-c":
    sys.exit(not {fits})
if words[0] == "--version":
    sys.exit(print("Python 3.12.9"))
with open(folder / "calls", "a") as file:
    print(json.dumps([words, {{name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}}]), file=file)
if words[:2] == ["-m", "venv"]:
    home = pathlib.Path(words[-1]) / "bin"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, home / "python")
if (folder / "interrupt").exists() and (folder / "interrupt").read_text() in words:
    sys.exit(1)
"""


class Make:
    """Runs make with the stand-in and reads what it was called with."""

    def __init__(self, folder: Path, fits: bool = True) -> None:
        self.folder = folder
        self.stand_in = folder / "python3"
        self.stand_in.write_text(STAND_IN.format(python=sys.executable, folder=str(folder), fits=fits))
        self.stand_in.chmod(0o755)
        self.environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}

    def __call__(self, *words: str, code: int = 0, **environment: str) -> str:
        command = ["make", f"VENV={self.folder / 'venv'}", f"PYTHON={self.stand_in}", *words]
        env = {**self.environment, **environment}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def calls(self) -> list[list[str]]:
        """The arguments of each call since the last time this was asked."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        for line in lines:
            assert json.loads(line)[1] == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        return [json.loads(line)[0] for line in lines]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return Make(tmp_path)


def installs(calls: list[list[str]]) -> list[str]:
    """What was installed, in order."""
    return [words[words.index("--editable") + 1] for words in calls if words[:3] == ["-m", "pip", "install"]]


def test_make_alone_lists_the_targets(make: Make) -> None:
    text = make()
    assert all(f"make {target}" in text for target in ("lab", "test", "book", "draw", "weights", "clean"))
    assert make.calls() == []


def test_set_up_happens_once(make: Make) -> None:
    assert "Installing" in make("draw", "PROMPT=x")
    first = make.calls()
    assert first[0][:2] == ["-m", "venv"] and installs(first) == ["."]
    assert "Installing" not in make("draw", "PROMPT=x")
    assert [words[:3] for words in make.calls()] == [["-m", "course_utils", "draw"]]
    make("test")
    assert installs(make.calls()) == [".[lab,book,test,peers,llm]"]
    make("lab")  # all of it has come with the tests
    make("book")
    assert installs(make.calls()) == []


def test_every_install_keeps_to_the_constraints(make: Make) -> None:
    make("lab")
    pip = [words for words in make.calls() if words[:3] == ["-m", "pip", "install"]]
    assert pip and all(words[words.index("--constraint") + 1] == "constraints.txt" for words in pip)


def test_an_interrupted_set_up_goes_on_where_it_stopped(make: Make) -> None:
    (make.folder / "interrupt").write_text(".[lab,llm]")
    make("lab", code=2)
    assert make.calls()[-1][:3] == ["-m", "pip", "install"]
    (make.folder / "interrupt").unlink()
    make("lab")
    again = make.calls()
    assert installs(again) == [".[lab,llm]"]
    assert not [words for words in again if words[:2] == ["-m", "venv"]]


def test_an_interrupted_environment_is_made_anew(make: Make) -> None:
    (make.folder / "interrupt").write_text("venv")
    make("draw", "PROMPT=x", code=2)
    assert installs(make.calls()) == []
    (make.folder / "interrupt").unlink()
    make("draw", "PROMPT=x")
    assert installs(make.calls()) == ["."]


def test_a_moved_environment_is_made_anew(make: Make) -> None:
    make("draw", "PROMPT=x")
    make.calls()
    (make.folder / "venv" / ".made").write_text("/somewhere else/words-to-pixels\n")
    make("draw", "PROMPT=x")
    assert [words[:2] for words in make.calls()] == [["-m", "venv"], ["-m", "pip"], ["-m", "course_utils"]]


@pytest.mark.parametrize("made", [None, "/somewhere else/words-to-pixels\n"], ids=["by others", "by make elsewhere"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_linked_environment_is_not_emptied(make: Make, made: str | None, slash: str) -> None:
    theirs = make.folder / "theirs"
    theirs.mkdir()
    (theirs / "precious").touch()
    if made:
        (theirs / ".made").write_text(made)
    (make.folder / "venv").symlink_to(theirs)
    before = sorted(theirs.iterdir())
    text = make("draw", "PROMPT=x", f"VENV={make.folder}/venv{slash}", code=2)
    assert "is a link" in text and "VENV=" in text
    assert sorted(theirs.iterdir()) == before and make.calls() == []


def test_an_environment_of_somebody_else_is_not_emptied(make: Make) -> None:
    (make.folder / "venv").mkdir()
    (make.folder / "venv" / "pyvenv.cfg").touch()
    assert "make has not made" in make("draw", "PROMPT=x", code=2)
    assert make.calls() == [] and (make.folder / "venv" / "pyvenv.cfg").exists()


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_the_dependencies_installs_again(make: Make, changed: str) -> None:
    make("lab")
    make.calls()
    make("lab", f"--what-if={changed}")
    assert installs(make.calls()) == [".[lab,llm]"]


def test_no_fitting_python_is_said_clearly(tmp_path: Path) -> None:
    text = Make(tmp_path, fits=False)("lab", code=2)
    assert "Python 3.11, 3.12 or 3.13" in text and "PYTHON=" in text
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    "prompt",
    [
        "a small red circle above a large blue square",
        "一个红色的小圆在蓝色大方块的上面",
        """it's "quoted", $HOME, $(shell echo made) `echo ran` $$ \\ 100% # ; rm x & * ~""",
        "--help",
        "",
    ],
)
def test_draw_passes_the_prompt_on_untouched(make: Make, prompt: str) -> None:
    make("draw", f"PROMPT={prompt}", "OUT=my picture $1.png", "SEED=7")
    words = ["-m", "course_utils", "draw", "--out", "my picture $1.png", "--seed", "7", "--", prompt]
    assert make.calls()[-1] == words


def test_draw_has_a_picture_name_and_leaves_the_seed_to_the_program(make: Make) -> None:
    make("draw", "PROMPT=x", OUT="elsewhere", SEED="5")  # the shell's own OUT and SEED mean something else
    assert make.calls()[-1] == ["-m", "course_utils", "draw", "--out", "picture.png", "--", "x"]


def test_weights_are_trained_into_the_build_folder_in_the_minutes_given(make: Make) -> None:
    make("weights", MINUTES="5")  # the shell's own MINUTES means something else
    assert make.calls()[-1] == ["-m", "course_utils", "train", "all", "--out", "_build/weights"]
    make("weights", "MINUTES=9")
    assert make.calls()[-1] == ["-m", "course_utils", "train", "all", "--minutes", "9", "--out", "_build/weights"]


def test_bench_runs_the_bench(make: Make) -> None:
    make("bench")
    assert make.calls()[-1] == ["-m", "course_utils", "bench"]


def test_lab_opens_a_browser_only_where_there_is_a_display(make: Make) -> None:
    start = "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"
    make("lab", DISPLAY="", WAYLAND_DISPLAY="")
    words = make.calls()[-1]
    assert words[:3] == ["-m", "jupyterlab", start]
    assert ("--no-browser" in words) == (sys.platform != "darwin")
    assert ("--allow-root" in words) == (os.geteuid() == 0)
    make("lab", DISPLAY=":0", WAYLAND_DISPLAY="")
    assert "--no-browser" not in make.calls()[-1]


def test_lab_trusts_the_stored_lessons_before_it_opens_them(make: Make) -> None:
    make("lab")
    trust, lab = make.calls()[-2:]
    assert trust[:2] == ["-m", "nbformat.sign"] and "jupyterlab" in lab
    lessons = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [word for word in trust if word.endswith(".ipynb")] == lessons != []


def test_book_installs_what_it_needs_and_builds(make: Make) -> None:
    make("book")
    calls = make.calls()
    assert installs(calls) == [".[book]"]
    assert calls[-1] == ["book/build.py"]


def test_test_runs_every_checker(make: Make) -> None:
    make("test")
    calls = make.calls()
    assert installs(calls) == [".[lab,book,test,peers,llm]"]
    checkers = [words[1] for words in calls if words[0] == "-m"]
    assert [name for name in checkers if name in ("ruff", "mypy", "pytest")][:4] == ["ruff", "ruff", "mypy", "pytest"]
