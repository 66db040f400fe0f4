"""The command line: help, exit codes, one clear sentence for what the reader can put right, lazy imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from course_utils.__main__ import COMMANDS, build_parser, main
from course_utils.common import CourseError
from course_utils.extras import need

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the checkout with the given variables set (an empty one is removed)."""
    env = {name: value for name, value in {**os.environ, **environment}.items() if value}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Adds a command `try` whose main is the given function."""

    def add(run) -> None:
        module = ModuleType("try_command")
        module.add_arguments = lambda parser: parser.add_argument("--fast", action="store_true")  # type: ignore[attr-defined]
        module.main = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "try_command", module)
        monkeypatch.setitem(COMMANDS, "try", ("try_command", "try something"))

    return add


def test_help_names_every_command_and_needs_no_torch() -> None:
    code = "import sys\nfrom course_utils.__main__ import main\ntry: main(['--help'])\nfinally: print('torch' in sys.modules)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert "examples:" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser(name).parse_args([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert "examples:" in text and f"python -m course_utils {name}" in text


def test_a_command_gets_its_options_and_its_exit_code_is_returned(command) -> None:
    command(lambda args: 7 if args.fast else None)
    assert main(["try", "--fast"]) == 7
    assert main(["try"]) == 0


def test_what_the_reader_can_put_right_is_one_line_and_exit_code_2(command, capsys) -> None:
    def run(args) -> None:
        raise CourseError("The prompt is empty:\n  say what to draw.")

    command(run)
    assert main(["try"]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "error: The prompt is empty: say what to draw.\n")


def test_ctrl_c_is_130_without_a_traceback(command, capsys) -> None:
    def run(args) -> None:
        raise KeyboardInterrupt

    command(run)
    assert main(["try"]) == 130
    assert capsys.readouterr().err == "error: stopped by Ctrl-C.\n"


def test_a_missing_package_is_named_with_the_install(command, capsys) -> None:
    def run(args) -> None:
        import no_such_package_here.part  # type: ignore[import-not-found]  # noqa: F401

    command(run)
    assert main(["try"]) == 2
    error = capsys.readouterr().err
    assert "no_such_package_here" in error and "pip install -e ." in error


def test_our_own_mistakes_keep_their_traceback(command) -> None:
    def run(args) -> None:
        import course_utils.no_such_room  # type: ignore[import-not-found]  # noqa: F401

    command(run)
    with pytest.raises(ModuleNotFoundError):
        main(["try"])


@pytest.mark.parametrize("words", [[], ["nonsense"], ["doctor", "--nonsense"]])
def test_wrong_words_are_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_output_that_nobody_reads_is_no_crash() -> None:
    pipeline = f"'{sys.executable}' -m course_utils doctor --help | true"
    done = subprocess.run(pipeline, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_no_crash(unbuffered: str) -> None:
    said = {}
    for where in ("/dev/full", "&-"):
        code = f"'{sys.executable}' -m course_utils student 00 --solutions --out \"$OUT\" >{where}"
        env = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "OUT": os.environ["COURSE_HOME"] + "/student"}
        done = subprocess.run(code, shell=True, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        said[where] = (done.returncode, done.stderr)
    assert said["&-"] == (0, "")  # nobody wants to read it
    if os.path.exists("/dev/full"):
        assert said["/dev/full"][0] == 2 and said["/dev/full"][1].startswith("error: No space left on device;")
        assert len(said["/dev/full"][1].splitlines()) == 1


def test_need_imports_or_names_the_extra() -> None:
    assert need("lab", "json.decoder") is sys.modules["json.decoder"]
    with pytest.raises(CourseError, match=r"no_such_package_here .*extra 'lab': pip install -e '\.\[lab\]'"):
        need("lab", "no_such_package_here.part")


def test_need_does_not_hide_a_broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_a_package.py").write_text("import its_own_missing_part\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_missing_part"):
        need("lab", "half_a_package")


def test_importing_the_package_quietens_openmp_but_respects_the_reader() -> None:
    code = "import os, course_utils; print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    assert python("-c", code, OMP_WAIT_POLICY="", GOMP_SPINCOUNT="").stdout.split() == ["PASSIVE", "0"]
    assert python("-c", code, OMP_WAIT_POLICY="ACTIVE", GOMP_SPINCOUNT="9").stdout.split() == ["ACTIVE", "9"]
