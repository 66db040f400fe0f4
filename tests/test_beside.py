"""A student beside its teacher: the same prompts and noise, controls of equal cost, what is kept, and the tables and the figure of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from small import features_weights, flow_weights, judge_weights, shipped, student_weights

from course_utils import show
from course_utils.__main__ import main
from course_utils.common import CourseError
from course_utils.generators import load
from course_utils.measure import beside as beside_file
from course_utils.measure import paired as paired_file
from course_utils.measure.beside import Way, beside, by_attribute, by_group, drawing, row_of, ways
from course_utils.measure.fidelity import Features
from course_utils.measure.judge import Judge, Reading
from course_utils.measure.kept import Kept
from course_utils.measure.paired import Asked, Readers
from course_utils.measure.quality import Prompt, shown_parts
from course_utils.measure.worlds import SHAPES
from course_utils.weights import read_card
from course_utils.worlds.captions import parse

PROMPTS = ["a red circle", "三个蓝色的方块", "two green stars", "a small heart", "一个圆"]
quiet = lambda line: None  # noqa: E731


class Dreamer(Reading):
    """Sees in a picture, in two cases of three, what one is looking for: by chance, but always the same in the same picture."""

    def __init__(self, picture: torch.Tensor):
        super().__init__(None, 1.0)
        object.__setattr__(self, "key", picture.numpy().tobytes())

    def shows(self, asked: Any) -> bool:
        return crc32(self.key + repr(asked).encode()) % 3 > 0  # type: ignore[attr-defined]


class DreamingJudge:
    """A second judge of that kind, that counts what it reads."""

    read_so_far = 0

    def read(self, images: torch.Tensor) -> list[Dreamer]:
        self.read_so_far += len(images)
        return [Dreamer((image * 255).round().byte()) for image in images]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A COURSE_HOME with a teacher, its student, and readers that dream; few rounds in every bootstrap."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("course_utils.weights.DATA", tmp_path / "data")
    folder = tmp_path / "home" / "weights"
    flow_weights(folder / "tiny")
    student_weights(folder / "tiny", folder / "pupil")
    judge_weights(folder / "judge")
    features_weights(folder / "features")
    for file in (beside_file, paired_file):
        monkeypatch.setattr(file, "paired_bootstrap", partial(file.paired_bootstrap, rounds=20))  # type: ignore[attr-defined]

    def dream(self: Readers, pictures: torch.Tensor) -> tuple[list[Dreamer], list[bool]]:
        return [Dreamer(p) for p in pictures], [crc32(p.numpy().tobytes()) % 5 > 0 for p in pictures]

    monkeypatch.setattr(Readers, "first", dream)
    monkeypatch.setattr(beside_file, "AT_ONCE", 4)
    return folder


def measured(student: Any, teacher: Any, **options: Any) -> list[dict[str, Any]]:
    """Two prompts of each group, and two captions."""
    given: dict[str, Any] = {"prompts": 2, "captions": 2, "sample": 1, "say": quiet, **options}
    return beside(student, teacher, Judge.load(), Features.load(), **given)


def count_passes(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[tuple[Any, int]]:
    """From now on notes (checksum of the weights, steps) of each block that is drawn; stops as Ctrl-C would."""
    from course_utils.generators.flow import FlowGenerator
    from course_utils.generators.flow_map import FlowMapGenerator

    passes: list[tuple[Any, int]] = []
    for family in (FlowGenerator, FlowMapGenerator):

        def draw(self, prompts, noise, steps, guidance, old=family.draw):
            if len(prompts) > 1:  # not what only counts evaluations
                if stop_after is not None and len(passes) == stop_after:
                    raise KeyboardInterrupt
                passes.append((self.card["sha256"], steps))
            return old(self, prompts, noise, steps, guidance)

        monkeypatch.setattr(family, "draw", draw)
    return passes


# ----------------------------------------------------------------------------------------------------------- drawing


def test_pictures_drawn_in_blocks_are_those_of_one_call(tiny: Path, tmp_path: Path) -> None:
    teacher = load("tiny", "cpu")
    way = Way("teacher", teacher, 2, 2.0)
    there = Kept(tmp_path / "there.pt", 1)
    drawn = drawing(way, there, 3, quiet)(PROMPTS, seed=4)
    once = teacher(PROMPTS, steps=2, guidance=2.0, seed=7).images
    assert len(there.values) == 2 and (drawn - once).abs().max() <= 0.51 / 255 + 1e-5
    assert all(pictures.dtype == torch.uint8 for pictures in there.values.values())
    assert not torch.equal(drawn[4], drawing(way, Kept(), 7, quiet)(PROMPTS[4:])[0]), (
        "the noise belongs to the place in the list"
    )
    again = drawing(Way("teacher", None, 2, 2.0), Kept(tmp_path / "there.pt", 1), 3, quiet)  # type: ignore[arg-type]
    assert torch.equal(again(PROMPTS, seed=4), drawn)


def test_controls_cost_what_the_student_costs(tiny: Path) -> None:
    teacher, pupil = load("tiny", "cpu"), load("pupil", "cpu")
    about = lambda found: [(way.steps, way.guidance, way.evaluations(PROMPTS[0])) for way in found]  # noqa: E731
    assert about(ways(pupil, teacher, PROMPTS[0])) == [(2, 2.0, 4), (2, 2.0, 2), (1, 2.0, 2), (2, 1.0, 2)]
    assert about(ways(teacher, teacher, PROMPTS[0], steps=8))[1:] == [(8, 2.0, 16), (8, 2.0, 16), (16, 1.0, 16)]
    heun = teacher.using(solver="heun")  # type: ignore[attr-defined]
    assert about(ways(teacher, heun, PROMPTS[0], steps=8))[2:] == [(4, 2.0, 16), (8, 1.0, 16)]
    cheapest = about(ways(teacher, teacher, PROMPTS[0], steps=1, guidance=1.0))
    assert cheapest[1:] == [(1, 1.0, 1), (1, 2.0, 2), (1, 1.0, 1)], "half a guided step there is not"


# ------------------------------------------------------------------------------------------------------- what is found


def differences(row: dict[str, Any]) -> list[Any]:
    """All of a row's differences from the teacher."""
    shares = [*row["groups"].values(), *row["judge_b"].values(), row["sure"]]
    shares += [*row["attributes"].values(), *row["most_likely"].values()]
    return [
        *(one["difference"] for one in shares),
        *(row["intervals"][f"{k}_difference"] for k in ("fidelity", "diversity")),
    ]


def test_a_student_that_is_its_teacher_loses_exactly_nothing(tiny: Path) -> None:
    teacher = load("tiny", "cpu")
    first, same, *controls = measured(teacher, teacher, second=DreamingJudge())
    each = same.pop("each")
    assert each.count("1") == same["groups"]["all"]["right"] and len(each) == 10
    assert {**same, "name": "teacher"} == first and 0 < same["groups"]["all"]["right"] < same["groups"]["all"][
        "of"
    ] == 10
    assert len(differences(same)) > 25 and all(tuple(one) == (0, 0, 0) for one in differences(same))
    assert same["from_student"] == (0, 0, 0)
    guided, unguided = controls
    assert guided["groups"] == first["groups"], "at a teacher's cost the guided control is the teacher"
    # so that the lines above could fail
    assert sum(one[0] != 0 for one in differences(unguided)) > 5 and unguided["fidelity"] != first["fidelity"]


def test_what_was_stopped_goes_on_and_ends_the_same(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, pupil = load("tiny", "cpu"), load("pupil", "cpu")
    whole_judge = DreamingJudge()
    whole = measured(pupil, teacher, second=whole_judge)
    monkeypatch.setattr(beside_file, "course_home", lambda: tmp_path / "elsewhere")
    with monkeypatch.context() as patch:
        before = count_passes(patch, stop_after=7)
        with pytest.raises(KeyboardInterrupt):
            measured(pupil, teacher, second=DreamingJudge())
    with monkeypatch.context() as patch:
        after = count_passes(patch)
        assert measured(pupil, teacher, second=DreamingJudge()) == whole
        # ten prompts are three blocks of four, two captions four times are two: five blocks of each of four ways, none of them twice
        assert len(before) == 7 and len(before + after) == 20
        after.clear()
        judge = DreamingJudge()
        assert measured(pupil, teacher, second=judge) == whole and not after and judge.read_so_far == 0
        assert whole_judge.read_so_far == 20  # one of each of five groups, of each of four ways
        measured(pupil, teacher, restart=True)
        assert len(after) == 20


def test_the_teacher_is_drawn_once_for_all_its_students(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, pupil = load("tiny", "cpu"), load("pupil", "cpu")
    measured(pupil, teacher)
    student_weights(tiny / "tiny", tiny / "other")
    other = load("other", "cpu")
    other.card = {**other.card, "sha256": "another"}
    drawn = count_passes(monkeypatch)
    measured(other, teacher)
    assert set(drawn) == {("another", 2)} and len(drawn) == 5
    drawn.clear()
    measured(pupil, teacher, prompts=4)  # more prompts: the first blocks are there, but for those that were not full
    assert len(drawn) == 4 * (5 - 2)
    drawn.clear()
    measured(pupil, teacher, seed=1)
    assert len(drawn) == 20
    drawn.clear()
    teacher.solver = "heun"  # type: ignore[attr-defined]
    measured(pupil, teacher)
    assert {weights for weights, _ in drawn} == {read_card("tiny")["sha256"]}


def test_other_judges_read_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load("tiny", "cpu")
    first = measured(teacher, teacher, about="one judge")
    monkeypatch.setattr(
        Readers, "first", lambda self, pictures: ([Dreamer(p + 1) for p in pictures], [True] * len(pictures))
    )
    drawn = count_passes(monkeypatch)
    assert measured(teacher, teacher, about="one judge") == first
    assert measured(teacher, teacher, about="another judge") != first and not drawn


def test_rows_count_what_was_seen(tiny: Path) -> None:
    """By hand: four prompts, two of one thing and two of what was held out; the student loses the second, and certainty of the first."""
    one, two = parse("a red circle"), parse("a large blue star")
    asked = Asked(
        [Prompt("a", one), Prompt("b", two)] * 2,
        ("one_object", "held_out_combinations"),
        ["c"],
        2,
        torch.randn(50, 8),
        0.5,
        torch.ones(1),
    )
    features = torch.randn(4, 8)
    parts = {"shape": True, "colour": True, "count": True}
    best = {"sure": [True] * 4, "right": [True] * 4, "parts": [dict(parts) for _ in range(4)], "second": [True, True]}
    worse = {
        "sure": [False, True, True, True],
        "right": [False, False, True, True],
        "parts": [parts, {**parts, "colour": False}, {**parts, "shape": False}, parts],
        "second": [True, False],
    }
    best, worse = ({**of, "features": features, "diversity": torch.ones(1)} for of in (best, worse))
    row = row_of(Way("student", load("tiny", "cpu"), 2, 2.0), worse, best, worse, asked)
    count = lambda found: (found["right"], found["of"], found["difference"][0])  # noqa: E731
    assert {group: count(found) for group, found in row["groups"].items()} == {
        "all": (2, 4, -0.5),
        "one_object": (1, 2, -0.5),
        "held_out_combinations": (1, 2, -0.5),
    }
    assert {group: count(found) for group, found in row["judge_b"].items()} == {
        "all": (1, 2, -0.5),
        "one_object": (1, 1, 0.0),
        "held_out_combinations": (0, 1, -1.0),
    }
    assert count(row["sure"]) == (1, 2, -0.5)  # of the prompts in COUNTS, as are all attributes
    assert {name: count(found) for name, found in row["most_likely"].items()} == {
        "shape": (1, 2, -0.5),
        "colour": (2, 2, 0.0),
        "count": (2, 2, 0.0),
    }
    assert {name: count(found) for name, found in row["attributes"].items()} == {
        "shape": (0, 2, -1.0),
        "colour": (1, 2, -0.5),
        "count": (1, 2, -0.5),
    }
    low, high = row["groups"]["all"]["interval"]
    assert low < 0.5 < high and row["groups"]["all"]["difference"][1] < -0.5 < row["groups"]["all"]["difference"][2]
    assert row["fidelity_floor"] == 0.5 and row["pictures"] == 2 and row["evaluations"] == 4


def test_parts_are_those_that_were_asked_for() -> None:
    seen = Reading(
        parse("a small solid red circle to the left of a large striped blue star on a white background"), 0.9
    )
    asked = parse("a small solid red circle above a large striped green star on a white background")
    assert shown_parts(seen, asked) == {
        "size": True,
        "fill": True,
        "colour": False,
        "shape": True,
        "relation": False,
        "background": True,
        "count": True,
    }
    assert not any(shown_parts(Reading(None, 0.0), asked).values())


def test_readings_are_the_judges_own_where_it_is_sure() -> None:
    judge = Judge.load(shipped("judge"))  # type: ignore[arg-type]
    noise = 0.15 * torch.randn(60, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pictures = ((SHAPES.render(SHAPES.scenes(1, 0, 60)) + noise).clamp(0, 1) * 255).byte()
    readings, sure = Readers(judge, None).first(pictures)  # type: ignore[arg-type]
    own = judge.read(pictures / 255)
    assert [r.scene if known else None for r, known in zip(readings, sure, strict=True)] == [r.scene for r in own]
    assert 0 < sum(r.scene is not None for r in own) < sum(r.scene is not None for r in readings)


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def command(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`evaluate` in this process: (exit code, stdout, stderr)."""
    monkeypatch.setattr(beside_file, "beside", partial(beside, captions=2))
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["evaluate", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def test_students_are_entries_of_one_file(command, tiny: Path) -> None:
    words = ("--beside", tiny / "tiny", "--prompts", 2, "--sample", 0)
    code, out, err = command(tiny / "pupil", *words, "--out", "students.json", "--json")
    assert code == 0 and "teacher: pictures 0 to 3" in err
    (entry,) = json.loads(Path("students.json").read_text())
    assert json.loads(out) == entry and (entry["name"], entry["teacher"], entry["prompts"]) == ("pupil", "tiny", 2)
    assert [row["name"] for row in entry["rows"]] == ["teacher", "student", "control, guided", "control, unguided"]
    student = entry["rows"][1]
    assert len(student["each"]) == student["groups"]["all"]["of"] == 10 and "each" not in entry["rows"][0]
    assert student["each"].count("1") == student["groups"]["all"]["right"]
    assert entry["measured"]["command"] == "python -m course_utils evaluate pupil --beside tiny --prompts 2 --sample 0"
    assert set(entry["measured"]["weights"]) == {"pupil", "tiny", "judge", "features"}
    assert command("tiny", *words, "--out", "students.json")[0] == 0
    assert command("pupil", *words, "--out", "students.json", "--seed", 1)[0] == 0
    both = json.loads(Path("students.json").read_text())
    assert [one["name"] for one in both] == ["pupil", "tiny"] and both[0]["seed"] == 1 and both[0] != entry
    code, out, _ = command("tiny", *words, "--steps", 3, 2, "--out", "several.json", "--json")
    several = json.loads(Path("several.json").read_text())
    assert code == 0 and json.loads(out) == several and [one["rows"][1]["steps"] for one in several] == [3, 2]
    code, out, _ = command("pupil", "--beside=tiny", "--prompts", 2, "--sample", 0)
    assert code == 0 and out.startswith("|  | teacher | student | control, guided |") and "| shape: % of 6 |" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pupil", "--beside", "tiny", "--quick"], "leave out --quick"),
        (["pupil", "--beside", "tiny", "--update-card"], "leave out --update-card"),
        (["pupil", "--steps", "1", "2"], "--beside TEACHER only"),
        (["pupil", "--restart"], "name a teacher with --beside"),
        (["pupil", "--beside", "judge"], "draws no pictures"),
        (["judge", "--beside", "tiny"], "draws no pictures"),
        (["pupil", "--beside", "tiny", "--steps", "3", "--prompts", "2"], "draws in 2 steps"),
        (["pupil", "--beside", "large", "--prompts", "2"], "do not draw the same pictures"),
        (
            ["pupil", "--beside", "tiny", "--prompts", "2", "--sample", "0", "--out", "other.json"],
            "is no list of students",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(command, tiny: Path, words: list[str], said: str) -> None:
    flow_weights(tiny / "large", world="emoji_scenes")
    Path("other.json").write_text('{"rows": []}')
    code, _, err = command(*words)
    assert code == 2 and said in err.splitlines()[-1] and err.splitlines()[-1].startswith("error: ")


def test_tables_and_figure_show_the_entry(tiny: Path) -> None:
    rows = measured(load("pupil", "cpu"), load("tiny", "cpu"), second=DreamingJudge())
    entry = {"rows": json.loads(json.dumps(rows))}
    text = by_group(entry)
    student = rows[1]["groups"]["all"]
    assert f"| all, judge A: % of 10 | {10 * rows[0]['groups']['all']['right']}.0 | {10 * student['right']}.0, " in text
    assert "| evaluations | 4 | 2 | 2 | 2 |" in text and "all, judge B: % of 5 |" in text
    apart = 100 * (rows[0]["groups"]["all"]["right"] - student["right"]) / 10
    assert f"| all, judge A: points from the student | {apart:+.1f} [" in text and "] | – | " in text
    assert len({line.count("|") for line in text.splitlines()}) == 1 and "fidelity (floor " in text
    attributes = by_attribute(entry)
    assert attributes.count("\n| ") == len(rows[0]["most_likely"]) + 2 and "| place: % of 2 |" in attributes
    names = list(rows[1]["most_likely"])
    for name, one in entry["rows"][1]["most_likely"].items():
        one["difference"] = [-0.3, -0.4, -0.2] if name == "colour" else [-0.5, -0.9, 0.1]
    figure = show.losses({row["name"]: row for row in entry["rows"][1:]})
    assert figure.get_suptitle() == "As most likely seen, student loses most in colour: 30.0 points"
    left, right = figure.axes
    dots = [line for line in right.lines if len(line.get_ydata()) == len(names)]
    assert [list(line.get_xdata()) for line in dots] == [
        [pytest.approx(100 * row["most_likely"][name]["difference"][0]) for name in names] for row in entry["rows"][1:]
    ]
    assert len({line.get_marker() for line in dots}) == 3 == len({line.get_color() for line in dots})
    assert len(left.collections) == 3 and left.get_yticklabels()[0].get_text() == f"{names[0]}, of 6"
    for one in entry["rows"][1]["most_likely"].values():
        one["difference"] = [-0.1, -0.3, 0.1]
    assert show.losses({"student": entry["rows"][1]}).get_suptitle() == "No attribute is surely worse: student"
    with pytest.raises(CourseError, match="no rows"):
        show.losses({})


def test_a_figure_of_students_in_several_numbers_of_steps(tiny: Path) -> None:
    """Each method a line through its evaluations; what is drawn are the numbers of the entries, with their intervals."""
    student, teacher = load("tiny", "cpu"), load("tiny", "cpu")
    entries = [
        {"method": method, "rows": json.loads(json.dumps(measured(student, teacher, steps=steps, guidance=1.0)))}
        for method in ("reflow", "shortcut")
        for steps in (2, 1)
    ]
    for n, entry in enumerate(entries):
        entry["rows"][1]["groups"]["all"] |= {"right": n + 1, "interval": [n / 10, (n + 2) / 10]}
    figure = show.few_steps(entries, "what is to be seen")
    assert figure.get_suptitle() == "what is to be seen"
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines}
    assert list(lines["reflow"].get_ydata()) == [20, 10] and list(lines["shortcut"].get_ydata()) == [40, 30]
    assert list(lines["shortcut"].get_xdata()) == pytest.approx([1, 2], rel=0.06)
    segments = [s.get_segments() for s in left.collections]
    assert [point[1] for point in segments[0][0]] == pytest.approx([10, 30])
    lines = {line.get_label(): line for line in right.lines}
    assert list(lines["reflow"].get_ydata()) == [entries[1]["rows"][1]["fidelity"], entries[0]["rows"][1]["fidelity"]]
    assert {"teacher, unguided", "teacher, guided", "floor: real against real"} < set(lines)
    with pytest.raises(CourseError, match="no entries"):
        show.few_steps([], "nothing")
