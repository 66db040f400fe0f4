"""The world `emoji`: what ships is complete, named in both languages, licensed, and read without surprises."""

from __future__ import annotations

import pytest
import torch

from course_utils.common import CourseError
from course_utils.worlds import emoji as world
from course_utils.worlds.emoji import emoji


@pytest.fixture(scope="module")
def everything():
    return emoji()


def test_what_ships(everything):
    n = len(everything.signs)
    assert n > 1850 and everything.cutouts.shape == (n, 4, 64, 64) and everything.cutouts.dtype == torch.float32
    assert everything.cutouts.min() >= 0 and everything.cutouts.max() <= 1
    assert everything.cutouts[:, 3].amax((1, 2)).min() > 0.9, "each has something solid"
    for names in (everything.signs, everything.en, everything.zh):
        assert len(set(names)) == n and all(name.strip() == name != "" for name in names)
    assert not [sign for sign in everything.signs if any(0x1F3FB <= ord(c) <= 0x1F3FF for c in sign)], "skin tones"


def test_names_fit_pictures(everything):
    images = everything.images()
    for name, zh, channel in (("red heart", "红心", 0), ("green circle", "绿色圆", 1), ("blue circle", "蓝色圆", 2)):
        at = everything.en.index(name)
        assert everything.zh[at] == zh and images[at, :, 28:36, 28:36].mean((1, 2)).argmax() == channel


def test_hardly_any_picture_is_there_twice(everything):
    rows = (255 * everything.cutouts).round().byte().flatten(1)
    assert len(everything.signs) - len({row.numpy().tobytes() for row in rows}) < 20


def test_the_background_shows_through(everything):
    some = world.Emoji(*(part[:5] for part in everything))
    white, black = some.images(), some.images((0, 0, 0))
    assert torch.allclose(white - black, (1 - some.cutouts[:, 3:]).expand(-1, 3, -1, -1), atol=1e-6)


def test_splits_are_parts_of_the_whole(everything):
    train, test = emoji("train"), emoji("test")
    assert not set(train.signs) & set(test.signs) and set(train.signs) | set(test.signs) == set(everything.signs)
    with pytest.raises(CourseError, match="no split 'dev'"):
        emoji("dev")


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_archive_is_named_with_the_remedy(damage, tmp_path, monkeypatch):
    archive = tmp_path / "emoji.zip"
    if damage == "cut":
        archive.write_bytes(world.ARCHIVE.read_bytes()[:-1000])
    monkeypatch.setattr(world, "ARCHIVE", archive)
    with pytest.raises(CourseError, match="git checkout"):
        emoji()


def test_the_licences_lie_beside_it():
    for name, words in (
        ("OFL.txt", "SIL OPEN FONT LICENSE"),
        ("LICENSE.unicode", "UNICODE LICENSE"),
        ("LICENSE.emoji", "BSD"),
    ):
        assert words in (world.ARCHIVE.parent / name).read_text(encoding="utf-8")
