"""The pictures labelled by eye: pictures, captions and answers belong together, and agreement is counted as it says."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
import torch
from PIL import Image

from course_utils.common import CourseError
from course_utils.measure import labels as module
from course_utils.measure.intervals import wilson
from course_utils.measure.labels import ANSWERS, HALVES, SIDES, Label, agreement, load_labels
from course_utils.worlds.captions import canonical, parse
from course_utils.worlds.emoji_scenes.captions import parse as emoji_parse

SOURCES = {  # of both batches
    "drawn": 200,
    "drawn in haste": 40,
    "round trip": 100,
    "real": 40,
    "real, blurred": 40,
    "real, noisy": 20,
    "real, wrong caption": 20,
}


EMOJI = {"drawn": 200, "round trip": 20, "real": 10, "real, wrong caption": 10}


@pytest.fixture(scope="module")
def everything():
    return load_labels()


@pytest.fixture(scope="module", params=["shapes", "emoji_scenes"])
def either(request):
    return request.param, *load_labels(request.param)


def test_pictures_and_labels_fit_together(either):
    world, images, labels = either
    assert (
        len(labels) >= {"shapes": 460, "emoji_scenes": 240}[world]
        and images.shape == (len(labels), 3, SIDES[world], SIDES[world])
        and images.dtype == torch.float32
    )
    assert images.min() >= 0 and images.max() <= 1 and images.flatten(1).std(1).min() > 0.01, "no empty cell"
    assert len({image.numpy().tobytes() for image in images}) == len(images)
    pictures, answers = module.files(world)
    numbers = [entry["number"] for entry in json.loads(answers.read_text(encoding="utf-8"))]
    assert [label.number for label in labels] == numbers == list(range(len(labels)))
    assert pictures.stat().st_size < 1.5e6


def test_every_caption_says_everything(everything):
    for label in everything[1]:
        asked = parse(label.caption)
        assert asked == canonical(asked) and asked.background is not None
        assert all(None not in (t.size, t.fill, t.colour, t.shape) for t in asked.things), label.caption
        assert len(asked.things) > 1 or asked.place is not None
        assert len(asked.things) != 2 or asked.relation is not None or len(set(asked.things)) == 1


def test_every_caption_of_emoji_scenes_says_everything():
    counts: Counter[int] = Counter()
    for label in load_labels("emoji_scenes")[1]:
        asked = emoji_parse(label.caption)
        n = len(asked.things)
        assert all(thing.size and thing.noun for thing in asked.things) and asked.background is not None
        alike = n == 2 and asked.things[0] == asked.things[1]  # "two large boats": no relation is said
        assert (asked.place is None) == (n != 1) and (asked.relation is None) == (n != 2 or alike), label.caption
        counts[n] += label.source == "drawn"
    assert counts == {1: 80, 2: 70, 3: 50}


def test_every_answer_is_one_of_three_with_a_reason_unless_right(either):
    for label in either[2]:
        assert label.answer in ANSWERS and (label.reason == "") == (label.answer == "right"), label


def test_sources(either):
    expected = {"shapes": SOURCES, "emoji_scenes": EMOJI}[either[0]]
    counted = Counter(label.source for label in either[2])
    assert {source: counted[source] for source in expected} == expected


def test_the_order_does_not_tell_the_source(either):
    """Neighbours share a source as often as in a shuffled list: within four standard deviations of what chance gives."""
    for first, last in {"shapes": ((0, 370), (370, 460)), "emoji_scenes": ((0, 240),)}[either[0]]:
        sources = [label.source for label in either[2][first:last]]
        n = len(sources)
        chance = sum(k * (k - 1) for k in Counter(sources).values()) / (n * (n - 1))
        same = sum(a == b for a, b in pairwise(sources))
        assert abs(same - (n - 1) * chance) < 4 * ((n - 1) * chance * (1 - chance)) ** 0.5


def test_halves_are_alike(either):
    halves = [Counter((x.source, x.answer) for x in either[2] if x.half == half) for half in HALVES]
    assert sum(halves, Counter()).total() == len(either[2])
    for group in halves[0] | halves[1]:
        assert 0 <= halves[0][group] - halves[1][group] <= 1, group


def test_the_eye_is_no_rubber_stamp(either):
    """Sharp real scenes are right and wrong captions wrong: what the labeller could not know, and says nearly always."""
    for source, expected in (("real", "right"), ("real, wrong caption", "wrong")):
        answers = [label.answer for label in either[2] if label.source == source]
        assert answers.count(expected) >= {"shapes": 0.95, "emoji_scenes": 0.9}[either[0]] * len(answers)


def test_what_was_labelled_twice(everything):
    twice = [e for e in json.loads(module.files("shapes")[1].read_text(encoding="utf-8")) if "again" in e]
    assert len(twice) == 60 and sum(e["again"] == e["answer"] for e in twice) == 58, "as the card says"
    assert not [e for e in twice if {e["again"], e["answer"]} == {"right", "wrong"}]
    both = [e for e in json.loads(module.files("shapes")[1].read_text(encoding="utf-8")) if "second" in e]
    assert len(both) == 460 and sum(e["second"] == e["answer"] for e in both) == 394, "as the card says"
    assert [e["number"] for e in both if {e["second"], e["answer"]} == {"right", "wrong"}] == [282]


@pytest.mark.parametrize("damage", ["missing", "another picture", "too few", "no grid", "no JSON", "no sum"])
def test_labels_cannot_slip(damage, tmp_path, monkeypatch):
    grid, entries = (
        Image.open(module.files("shapes")[0]),
        json.loads(module.files("shapes")[1].read_text(encoding="utf-8")),
    )
    if damage == "another picture":
        grid.putpixel((33, 5), (1, 2, 3))
    elif damage == "too few":
        grid = grid.crop((0, 0, grid.width, 64))
    elif damage == "no grid":
        grid = grid.crop((0, 0, grid.width, 65))
    elif damage == "no sum":
        del entries[3]["sha256"]
    monkeypatch.setitem(module.FOLDERS, "shapes", tmp_path)
    module.files("shapes")[1].write_text("[" if damage == "no JSON" else json.dumps(entries))
    if damage != "missing":
        grid.save(module.files("shapes")[0])
    with pytest.raises(CourseError, match="git checkout"):
        load_labels()


def test_agreement_on_a_small_case():
    answers = [("a", "right", True), ("a", "right", False), ("a", "wrong", True), ("a", "doubtful", True)]
    answers += [("b", "right", True), ("b", "wrong", False), ("b", "wrong", False)]
    labels = [Label(i, "", source, answer, "", "report") for i, (source, answer, _) in enumerate(answers)]
    found = agreement([verdict for _, _, verdict in answers], labels)
    counts = {
        name: (row["count"], row["of"], row["share"], row["interval"])
        for name, row in found.items()
        if name != "sources"
    }
    assert counts == {
        "agreement": (4, 6, 4 / 6, wilson(4, 6)),
        "wrong_accepted": (1, 3, 1 / 3, wilson(1, 3)),
        "right_accepted": (2, 3, 2 / 3, wilson(2, 3)),
        "doubtful_accepted": (1, 1, 1.0, wilson(1, 1)),
    }
    assert [found["sources"][s]["agreement"]["count"] for s in "ab"] == [1, 3]
    assert found["sources"]["b"]["doubtful_accepted"] == {"count": 0, "of": 0, "share": None, "interval": wilson(0, 0)}
    with pytest.raises(ValueError, match="zip"):
        agreement([True], labels)
