"""The worlds of real pictures: their one form, captions in two languages, splits; CelebA made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small import FACES, celeba_folder
from torchvision import datasets

from course_utils.common import CourseError
from course_utils.worlds import celeba
from course_utils.worlds.captioned import WORLDS, Captioned, world
from course_utils.worlds.class_captions import CLASSES, class_captions


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


# ------------------------------------------------------------------------------------------------------------ one form


@pytest.fixture(scope="module")
def digits() -> Captioned:
    return world("digits", "test")


def test_pictures_are_chosen_as_from_a_tensor(digits: Captioned) -> None:
    everything = digits.images()
    assert everything.shape == (len(digits), 1, 8, 8) and everything.dtype == torch.float32
    assert everything.min() == 0 and everything.max() == 1
    mask = digits.labels == 3
    for index in (slice(2, 9, 3), [5, 0, 5], [], mask, torch.tensor([-1, 4]), np.array([1, 2])):
        chosen = torch.as_tensor(index).long() if isinstance(index, list) else index
        assert torch.equal(digits.images(index), everything[chosen])
    assert torch.equal(digits.images(range(3)), everything[:3])
    assert torch.equal(digits.images(-1), everything[-1])
    for call in (digits.images, digits.caption):
        with pytest.raises(IndexError):
            call(len(digits))


@pytest.mark.parametrize("name", ["digits", "emoji"])
def test_captions_hang_on_seed_and_number_alone(name: str) -> None:
    first, again = world(name, "test"), world(name, "test")
    told = [first.caption(i, seed) for i in range(20) for seed in range(20)]
    assert told == [again.caption(i, seed) for i in range(20) for seed in range(20)]
    assert 0.4 < np.mean([is_chinese(text) for text in told]) < 0.6 and len(set(told)) > 30
    assert len({first.caption(7, seed) for seed in range(100)}) == sum(map(len, first.captions(7).values()))
    for language in ("en", "zh"):
        captions = first.captions(5)[language]
        assert first.caption(5, language=language) == captions[0]
        assert {first.caption(5, seed, language) for seed in range(50)} == set(captions)
    assert first.caption(-1, 3) == first.caption(len(first) - 1, 3)
    with pytest.raises(CourseError, match="no caption in language 'fr'; there is en, zh"):
        first.caption(0, language="fr")


def test_captions_are_the_same_on_every_machine(digits: Captioned) -> None:
    assert [digits.caption(3, seed) for seed in range(4)] == [
        "the digit nine",
        "the digit 9",
        "数字9",
        "一个手写的数字九",
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_captions_in_both_languages(name: str) -> None:
    seen: set[str] = set()
    for label in range(10):
        captions = class_captions(name, label)
        assert list(captions) == ["en", "zh"] and all(len(set(texts)) == len(texts) >= 3 for texts in captions.values())
        assert not any(map(is_chinese, captions["en"])) and all(map(is_chinese, captions["zh"]))
        said = {text for texts in captions.values() for text in texts}
        assert not said & seen, "two classes are called the same"
        seen |= said
    assert all(len(names) == 10 for _, names in CLASSES[name].values())


def test_names_stand_in_the_order_of_the_labels(digits: Captioned) -> None:
    for label, words_of in enumerate(datasets.MNIST.classes):  # "7 - seven"
        assert words_of.split(" - ") == list(CLASSES["mnist"]["en"][1][label])[::-1]
    theirs = ["shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
    for label, noun in enumerate(theirs):
        assert datasets.FashionMNIST.classes[label].lower().endswith(noun) or label == 0
        assert noun in CLASSES["fashion_mnist"]["en"][1][label][0].lower()


def test_emoji_lie_on_white_under_their_names() -> None:
    found = world("emoji", "test")
    images = found.images([0, 1])
    assert images.shape == (2, 3, 64, 64) and images[:, :, 0, 0].min() > 0.9 and images.min() >= 0 and images.max() <= 1
    assert all(found.captions(0)["en"]) and is_chinese(found.caption(0, language="zh"))


def test_what_cannot_be_opened() -> None:
    with pytest.raises(CourseError, match=f"no world 'cats' to open; choose one of {', '.join(WORLDS)}"):
        world("cats")
    with pytest.raises(
        CourseError, match="The world digits takes no size; leave it out, or open one of celeba, emoji_scenes, folder"
    ):
        world("digits", size=32)
    for name in ("digits", "mnist", "cifar10", "celeba", "emoji", "folder"):
        with pytest.raises(CourseError, match="no split 'dev'"):
            world(name, "dev")


# -------------------------------------------------------------------------------------------------------------- celeba


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return celeba_folder(tmp_path, monkeypatch)


def test_celeba_is_read_from_its_layout(faces: Path) -> None:
    sizes = {split: len(world("celeba", split)) for split in ("train", "valid", "test", "all")}
    assert sizes == {"train": 4, "valid": 2, "test": 2, "all": 8}
    everything, test = world("celeba", "all", size=16), world("celeba", "test", path=faces.parent)
    assert test.images([0, 1]).shape == (2, 3, 64, 64) and everything.images([]).shape == (0, 3, 16, 16)
    means = everything.images().mean((1, 2, 3))
    assert torch.allclose(means, 20 * torch.arange(FACES) / 255, atol=0.02), "the middle, where nothing is white"
    assert everything.labels.shape == (FACES, 40) and set(everything.labels.unique().tolist()) == {0, 1}


def test_the_wish_and_what_it_becomes(faces: Path) -> None:
    found = world("celeba", "all")
    hats = celeba.having(found.labels, celeba.WISH)
    assert hats.tolist() == [1, 3]
    for i in hats.tolist():
        assert "a woman who is not young, wearing a hat" in found.captions(i)["en"]
        assert "一位不年轻、戴着帽子的女性" in found.captions(i)["zh"]
        assert "a woman who is not young, wearing a hat" in {found.caption(i, seed) for seed in range(100)}
    assert celeba.having(found.labels, {"Bald": True}).tolist() == [] and len(celeba.having(found.labels, {})) == FACES
    with pytest.raises(CourseError, match="no attribute 'Middle_Aged'; it has 5_o_Clock_Shadow"):
        celeba.having(found.labels, {"Middle_Aged": True})


def test_faces_in_words() -> None:
    known = {"Male": True, "Young": True, "Wearing_Hat": True, "Eyeglasses": True, "Wearing_Necktie": True}
    known |= {"Black_Hair": True, "Bangs": True, "Smiling": True, "Bald": False}
    assert celeba.describe(known) == (
        "a young man, wearing a hat, glasses and a necktie, with black hair and a fringe, smiling"
    )
    assert celeba.describe(known, "zh") == "一位年轻、戴着帽子、戴着眼镜、打着领带、黑头发、留着刘海、微笑着的男性"
    assert (celeba.describe({}), celeba.describe({}, "zh")) == ("a person", "一个人")
    captions = celeba.face_captions(torch.ones(40, dtype=torch.int64))
    for texts in captions.values():
        assert len(set(texts)) == len(texts) and not [text for text in texts if "ttractive" in text or "fat" in text]
    assert len(captions["en"]) == len(captions["zh"]) == 2 * (1 + 1 + 17 + 17 * 16 // 2)
    assert set(celeba.SAID) < set(celeba.ATTRIBUTES) and len(celeba.ATTRIBUTES) == 40


def test_celeba_says_what_is_missing(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = world("celeba", "train")
    (faces / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(CourseError, match=r"000002\.jpg cannot be read"):
        found.images([0, 1])
    for split in ("train", "all"):
        with pytest.raises(CourseError, match=r"img_align_celeba lacks 1 of 8 pictures: 000002\.jpg\. CelebA is for"):
            world("celeba", split)
    (faces / "img_align_celeba" / "000001.jpg").write_bytes(b"")  # an unpacking that was stopped
    with pytest.raises(CourseError, match=r"lacks 2 of 8 pictures: 000001\.jpg, 000002\.jpg\."):
        world("celeba")
    (faces / "img_align_celeba").rename(faces / "inner")
    (faces / "img_align_celeba").mkdir()
    (faces / "inner").rename(faces / "img_align_celeba" / "img_align_celeba")
    with pytest.raises(CourseError, match=r"lacks 8 of 8 .* and 5 more; are they in img_align_celeba inside it\?"):
        world("celeba")
    (faces / "img_align_celeba").rename(faces / "img")
    with pytest.raises(CourseError, match="img_align_celeba is missing.*unpacked, into"):
        world("celeba")
    (faces / "identity_CelebA.txt").write_text("000001.jpg 1\n")
    with pytest.raises(CourseError, match=r"identity_CelebA\.txt is not the original file"):
        world("celeba")
    (faces / "list_attr_celeba.txt").unlink()
    with pytest.raises(CourseError, match=r"list_attr_celeba\.txt is missing.*mmlab\.ie\.cuhk\.edu\.hk"):
        world("celeba")
    with pytest.raises(CourseError, match="no pictures of CelebA at hand"):
        world("celeba", path=tmp_path / "elsewhere")
