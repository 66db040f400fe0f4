"""The world `emoji_scenes`: the same scenes everywhere, whole and apart, said in two languages, and nothing held out in training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_utils.common import CourseError
from course_utils.language.words import split_words
from course_utils.worlds.captioned import world
from course_utils.worlds.captions import CaptionError, UnknownWords
from course_utils.worlds.emoji import emoji
from course_utils.worlds.emoji_scenes import captions, drawn
from course_utils.worlds.emoji_scenes.captions import Parts, caption, matches, parse, random_parts, restrict
from course_utils.worlds.emoji_scenes.grounds import backgrounds
from course_utils.worlds.emoji_scenes.render import cutouts, render, things
from course_utils.worlds.emoji_scenes.scenes import (
    BACKGROUNDS,
    NAMES,
    SEEDS,
    SIZES,
    TWELVE,
    UNIT,
    Part,
    Scene,
    Scenes,
    Thing,
    fitting,
    scenes,
)
from course_utils.worlds.emoji_scenes.words import (
    HELD_OUT_BACKGROUNDS,
    HELD_OUT_PAIRS,
    HELD_OUT_SYNONYMS,
    LEXICON,
    NOUNS,
    word_list,
)

# After a wanted change, print the new values with
# `cd tests && python -c "import test_emoji_scenes as t; print(t.digests(), t.thumbnails())"` and put them here.
GOLDEN_SCENES = {"all": "31d12059bd742da1", "train": "79b43ca00756ca1a", "held_out": "34a23cc57f894034"}
GOLDEN_PICTURES = [
    [188, 178, 188, 188, 199, 172, 194, 199, 153, 151, 151, 150, 141, 140, 141, 141],
    [45, 50, 43, 41, 51, 54, 48, 47, 44, 102, 61, 36, 21, 21, 22, 21],
    [216, 216, 216, 216, 163, 152, 149, 149, 191, 191, 180, 170, 191, 174, 177, 191],
    [184, 185, 186, 185, 169, 148, 195, 194, 241, 234, 244, 240, 242, 242, 242, 241],
    [110, 110, 111, 110, 126, 126, 123, 121, 142, 140, 144, 153, 59, 56, 64, 87],
    [65, 87, 51, 55, 76, 96, 54, 58, 75, 69, 62, 75, 85, 82, 81, 87],
    [207, 205, 210, 197, 158, 175, 202, 156, 135, 146, 144, 154, 114, 114, 114, 115],
    [207, 214, 218, 219, 190, 201, 184, 203, 177, 183, 192, 188, 130, 129, 130, 130],
]
FIELDS = [f.name for f in dataclasses.fields(Scenes)]


def digests() -> dict[str, str]:
    found = {}
    for split in ("all", "train", "held_out"):
        batch = scenes(SEEDS["test"], 0, 300, split=split)
        data = b"".join(np.ascontiguousarray(getattr(batch, name), dtype="<i8").tobytes() for name in FIELDS)
        found[split] = hashlib.sha256(data).hexdigest()[:16]
    return found


def thumbnails() -> list[list[int]]:
    """One scene on each background as 4x4 grey values from 0 to 255."""
    batch = scenes(7, 0, 64)
    first = [int(np.flatnonzero(batch.background == k)[0]) for k in range(len(BACKGROUNDS))]
    small = F.avg_pool2d(render(batch.select(first)).mean(1), 16).flatten(1)
    return (small * 255).round().int().tolist()


def same(a: Scenes, b: Scenes) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def shows_what_is_held_out(scene: Scene) -> bool:
    pair = (scene.things[0].noun, scene.relation, scene.things[-1].noun)
    return pair in HELD_OUT_PAIRS or any((t.noun, scene.background) in HELD_OUT_BACKGROUNDS for t in scene.things)


# ---------------------------------------------------------------------------------------------------------------- scenes


def test_the_scenes_are_the_ones_that_all_results_were_made_with():
    assert digests() == GOLDEN_SCENES


@pytest.mark.parametrize(
    "options", [{}, {"things": 3}, {"split": "train"}, {"split": "held_out"}, {"part": Part(1, "large", TWELVE)}]
)
def test_a_scene_does_not_depend_on_what_is_drawn_with_it(options):
    whole = scenes(5, 1000, 60, **options)
    parts = (scenes(5, 1000 + i, n, **options) for i, n in ((0, 1), (1, 0), (1, 22), (23, 37)))
    assert same(whole, Scenes.join(*parts))
    assert whole[7] == scenes(5, 1007, 1, **options)[0] and not same(whole, scenes(6, 1000, 60, **options))


def test_nothing_that_is_held_out_is_shown_in_training():
    found = scenes(SEEDS["train"], 0, 12_000, split="train").scenes
    assert not any(map(shows_what_is_held_out, found))
    assert sum(map(shows_what_is_held_out, scenes(3, 0, 6_000).scenes)) > 60  # so there was something to hold out
    nouns = {t.noun for scene in found for t in scene.things}
    pairs = {(t.noun, scene.background) for scene in found for t in scene.things}
    assert nouns == set(NAMES) and len(pairs) == len(NAMES) * len(BACKGROUNDS) - len(HELD_OUT_BACKGROUNDS)


def test_the_split_for_it_shows_all_that_is_held_out():
    found = scenes(3, 0, 1000, split="held_out").scenes
    assert all(map(shows_what_is_held_out, found))
    assert {(s.things[0].noun, s.background) for s in found if len(s.things) == 1} == set(HELD_OUT_BACKGROUNDS)
    pairs = {(s.things[0].noun, s.relation, s.things[1].noun) for s in found if len(s.things) == 2}
    assert pairs == set(HELD_OUT_PAIRS)


def test_a_part_of_the_world_shows_no_more_than_that():
    for size in SIZES:
        found = scenes(3, 0, 200, part=Part(sized=size))
        assert {thing.size for scene in found.scenes for thing in scene.things} == {size}
        assert (found.noun == scenes(3, 0, 200).noun).all()
    large, few = drawn("train_one_large", range(600)), drawn("train_twelve", range(600))
    for batch in (large, few):
        assert set(batch.count) == {1} and set(batch.size[:, 0]) == {1}
    assert (large.noun == drawn("train_one", range(600)).noun).all()
    counted = Counter(scene.things[0].noun for scene in few.scenes)
    assert set(counted) == set(TWELVE) and min(counted.values()) > 25 and len(NAMES) % len(TWELVE) == 0
    assert not any(map(shows_what_is_held_out, few.scenes))
    held = scenes(3, 0, 60, split="held_out", part=Part(1, None, TWELVE)).scenes
    shown = {(scene.things[0].noun, scene.background) for scene in held}
    assert shown == {pair for pair in HELD_OUT_BACKGROUNDS if pair[0] in TWELVE} and len(shown) == 4


def test_everything_that_can_be_said_occurs_often_enough():
    batch = scenes(12, 0, 12_000)
    there = batch.noun >= 0
    for array, values in ((batch.noun[there], NAMES), (batch.size[there], SIZES), (batch.background, BACKGROUNDS)):
        share = np.bincount(array, minlength=len(values)) / len(array)
        assert share.min() > 0.75 / len(values)
    assert np.allclose(np.bincount(batch.count)[1:] / 12_000, (0.4, 0.45, 0.15), atol=0.02)
    alike = [[len(set(s.things)) for s in scenes(12, 0, 1500, things=n).scenes] for n in (2, 3)]
    assert 0.16 < alike[0].count(1) / 1500 < 0.25 and 0.28 < alike[1].count(1) / 1500 < 0.40
    assert 0.28 < alike[1].count(2) / 1500 < 0.40


def test_things_are_whole_and_apart():
    batch = scenes(13, 0, 2000)
    x, y, radius = batch.x / UNIT, batch.y / UNIT, batch.radius / UNIT
    for a, b in combinations(range(3), 2):
        both = batch.count > b
        distance, reach = np.hypot(x[:, a] - x[:, b], y[:, a] - y[:, b]), radius[:, a] + radius[:, b]
        assert (distance - reach)[both].min() > 0.03
    there = batch.noun >= 0
    for v in (x, y):
        assert (v - radius)[there].min() > 0.015 and (v + radius)[there].max() < 0.985
    opacity = things(batch.select(slice(300)))[:, 3]
    assert opacity.max() < 1.001  # what adds up lies nowhere over another
    edges = (opacity[:, 0], opacity[:, -1], opacity[..., 0], opacity[..., -1])
    assert max(float(edge.max()) for edge in edges) < 0.02  # and nothing is cut off


def test_what_fits_a_caption_shows_what_it_says():
    for i, scene in enumerate(scenes(15, 0, 60).scenes):
        asked = restrict(scene, random_parts(len(scene.things), i))
        found = fitting(asked, i, 12)
        assert all(matches(asked, other) for other in found.scenes)
        for j, thing in enumerate(asked.things):  # and what it leaves open is not always the same
            if thing.size is None:
                assert len(set(found.size[:, j].tolist())) == 2
        if asked.background is None:
            assert len(set(found.background.tolist())) > 2
        assert len(set(found.x[:, 0].tolist())) == 12


# -------------------------------------------------------------------------------------------------------------- pictures


def test_pictures_are_the_ones_that_all_results_were_made_with():
    assert np.abs(np.array(thumbnails()) - np.array(GOLDEN_PICTURES)).max() <= 1


@pytest.mark.parametrize("pixels", [32, 64])
def test_a_picture_does_not_depend_on_what_is_drawn_with_it(pixels):
    batch = scenes(9, 0, 150)
    images = render(batch, pixels)
    assert images.shape == (150, 3, pixels, pixels) and images.min() >= 0 and images.max() <= 1
    for i in (0, 41, 149):
        assert torch.allclose(render(batch.select([i]), pixels)[0], images[i], atol=1e-5)


def test_an_emoji_is_drawn_as_it_is():
    """Straight, unshaded and at its own size on white it is its cut-out: a thing laid by hand."""
    batch = fitting(Scene((Thing("large", "apple"),), "centre"), 1, 2)
    middle = {name: np.full_like(batch.x, UNIT // 2) for name in ("x", "y", "rotation")}
    middle |= {"mirror": np.full_like(batch.x, UNIT - 1), "choice": np.zeros_like(batch.x)}
    batch = dataclasses.replace(
        batch, radius=np.full_like(batch.x, UNIT // 4), shade=np.zeros_like(batch.shade), **middle
    )
    ours = things(batch, 64)[0, :, 16:48, 16:48]
    images, begins = cutouts()
    number = int(begins[NAMES.index("apple")])
    theirs = F.interpolate(images[number : number + 1], (32, 32), mode="bilinear", antialias=True)[0]
    assert F.mse_loss(ours, theirs) < 0.003 < 0.05 < F.mse_loss(ours.flip(-2), theirs)


def test_turned_mirrored_and_shaded_things_differ():
    batch = fitting(Scene((Thing("large", "duck"),), "centre", None, "room"), 1, 1)
    plain = dataclasses.replace(batch, mirror=np.zeros_like(batch.mirror))
    other = dataclasses.replace(batch, mirror=np.full_like(batch.mirror, UNIT - 1))
    assert (render(plain) - render(other)).abs().max() > 0.2
    for name, low, high in (("rotation", 0, UNIT - 1), ("shade", 0, UNIT - 1), ("radius", 0.2 * UNIT, 0.225 * UNIT)):
        a, b = (dataclasses.replace(batch, **{name: np.full_like(getattr(batch, name), v)}) for v in (low, high))
        assert (render(a) - render(b)).abs().max() > 0.03


def test_nouns_have_their_emoji_and_none_has_two_nouns():
    used = [name for noun in NOUNS.values() for name in noun.emoji]
    assert set(used) <= set(emoji().en) and len(set(used)) == len(used) and len(NOUNS) >= 40


def test_nouns_can_be_told_apart():
    """At 18 pixels the emoji of two nouns differ more than an emoji turned by 12 degrees from itself, on average."""
    images, begins = cutouts()
    small = F.interpolate(images, (18, 18), mode="bilinear", antialias=True)
    on_grey = (small[:, :3] + 0.5 * (1 - small[:, 3:])).flatten(1)
    owner = torch.bucketize(torch.arange(len(images)), begins[1:-1], right=True)
    distance = torch.cdist(on_grey, on_grey) / on_grey.shape[1] ** 0.5
    distance[owner[:, None] == owner] = 9
    assert distance.min() > 0.07


def test_backgrounds_differ_from_each_other_and_vary():
    batch = scenes(4, 0, 600)
    tiny = F.adaptive_avg_pool2d(backgrounds(batch, 64, "cpu"), 8).flatten(1)
    kind = torch.from_numpy(batch.background)
    distance = torch.cdist(tiny, tiny) + 99 * torch.eye(len(tiny))
    assert (kind[distance.argmin(1)] == kind).float().mean() > 0.99
    assert distance.min() > 0.05  # no two are the same


# -------------------------------------------------------------------------------------------------------------- captions


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("synonyms", ["plain", "train", "held_out"])
def test_captions_are_read_back_as_what_they_say(language, synonyms):
    for i, scene in enumerate(scenes(21, 0, 700).scenes):
        for parts in (Parts.all(len(scene.things)), random_parts(len(scene.things), i)):
            text = caption(scene, parts, language=language, seed=i, synonyms=synonyms)
            said = restrict(scene, parts)
            assert parse(text) == said and matches(said, scene), text


def test_held_out_words_are_in_no_training_caption():
    opened = world("emoji_scenes")
    found = [opened.said(range(4000), range(4000))]
    for language, words in HELD_OUT_SYNONYMS.items():
        known = word_list()[language]
        seen = {word for text in found[0] for word in split_words(text, known)}
        assert not seen & {word for phrase in words for word in (phrase, phrase.split()[-1])}
        assert len(seen) > 60
    for i, scene in enumerate(scenes(22, 0, 200).scenes):
        for language, words in HELD_OUT_SYNONYMS.items():
            text = caption(scene, language=language, seed=i, synonyms="held_out")
            held = [w for w in words if w in text or w.removesuffix("y") + "ies" in text]
            assert bool(held) == captions.has_held_out_synonym(scene, None, language)


def test_a_caption_says_what_it_should():
    pair = Scene((Thing("large", "tree"), Thing("small", "cat")), None, "above", "night")
    assert caption(pair, synonyms="plain") == "a large tree above a small cat at night"
    assert caption(pair, language="zh", synonyms="plain") == "夜里，一棵大树在一只小猫上面"
    assert parse("a cat under a tree at night") == Scene(
        (Thing(None, "tree"), Thing(None, "cat")), None, "above", "night"
    )
    two = Scene((Thing(None, "dog"), Thing(None, "dog")))
    assert parse("two dogs") == parse("两只狗") == two and caption(two, synonyms="plain") == "two dogs"
    assert parse("a car next to a bus") == parse("a bus beside a car") == parse("一辆汽车在一辆公交车旁边")
    assert parse("two dogs and a cat").things == parse("a dog, a cat and a puppy").things


def test_a_caption_shows_itself_and_no_other():
    asked = parse("a cat to the left of a tree")
    assert matches(asked, Scene((Thing("small", "cat"), Thing("large", "tree")), None, "left of", "beach"))
    for wrong in (
        Scene((Thing("small", "tree"), Thing("large", "cat")), None, "left of", "beach"),
        Scene((Thing("small", "cat"), Thing("large", "tree")), None, "above", "beach"),
        Scene((Thing("small", "dog"), Thing("large", "tree")), None, "left of", "beach"),
        Scene((Thing("small", "cat"),), "left", None, "beach"),
    ):
        assert not matches(asked, wrong)
    beside = parse("a tree next to a cat")
    assert matches(beside, Scene((Thing("small", "cat"), Thing("large", "tree")), None, "left of", "beach"))
    assert not matches(beside, Scene((Thing("small", "cat"), Thing("large", "tree")), None, "above", "beach"))


@pytest.mark.parametrize(
    "text",
    ["", "cats dogs", "four cats", "a small", "a cat at night on the beach", "猫在", "two cats above a dog", "red"],
)
def test_what_makes_no_sense_is_one_sentence(text):
    with pytest.raises(CaptionError) as error:
        parse(text)
    assert str(error.value).count(". ") == 0
    if text == "red":
        assert isinstance(error.value, UnknownWords)


def test_remarks_name_what_is_held_out():
    assert "cat on snow" in captions.remarks("a cat in the snow")[0]
    assert "dog left of car" in captions.remarks("a car to the right of a dog")[0]
    assert captions.remarks("a cat at night") == [] and captions.remarks("two small") != []


def test_remarks_name_what_a_split_does_not_show():
    for text in ("a large cat at night", "a cat at night", "夜里，一只大猫"):
        assert captions.remarks(text, "train_one_large") == []
    for text in ("a small cat at night", "a cat under a tree", "两只猫"):
        assert ["one large thing" in line for line in captions.remarks(text, "train_one_large")] == [True]
        assert captions.remarks(text) == [] == captions.remarks(text, "test")
    assert (
        captions.remarks("a small cat", "train_one") == []
        and "one thing" in captions.remarks("two cats", "train_one")[0]
    )
    assert len(captions.remarks("a small cat in the snow", "train_one_large")) == 2  # held out, too
    assert captions.remarks("a large cat", "train_twelve") == [] == captions.remarks("a large cow", "train_one_large")
    assert "of 12 nouns (cat, frog" in captions.remarks("a large cow", "train_twelve")[0]


def test_no_word_means_two_things():
    for language, lexicon in LEXICON.items():
        words = [w for noun in NOUNS.values() for w in (noun.en if language == "en" else noun.zh)]
        assert len(set(words)) == len(words) and not set(words) & set(HELD_OUT_SYNONYMS[language])
        assert all(word in lexicon for word in HELD_OUT_SYNONYMS[language]) or language == "en"


# ----------------------------------------------------------------------------------------------------------------- world


def test_the_world_is_like_all_worlds():
    opened = world("emoji_scenes")
    assert opened.endless and opened.images([3, 5]).shape == (2, 3, 64, 64) and opened.words() == word_list()
    assert torch.equal(opened.images([3, 5])[0], opened.images(3))
    small = world("emoji_scenes", "test", size=32)
    assert small.images(0).shape == (3, 32, 32)
    larger = F.avg_pool2d(world("emoji_scenes", "test").images([0, 1, 2]), 2)
    assert (larger - small.images([0, 1, 2])).abs().mean() < 0.02  # the same scenes
    assert opened.caption(4, seed=1) == opened.caption(4, seed=1) != opened.caption(5, seed=1)
    for text in (*opened.captions(4)["en"], *opened.captions(4)["zh"]):
        assert matches(parse(text), scenes(SEEDS["train"], 4, 1, split="train")[0])


@pytest.mark.parametrize("options", [{"split": "all"}, {"size": 48}, {"path": "."}])
def test_what_cannot_be_opened(options):
    with pytest.raises(CourseError):
        world("emoji_scenes", **options)


def test_the_lists_of_scenes_have_nothing_in_common():
    keys = [tuple(row) for seed in SEEDS.values() for row in scenes(seed, 0, 1500).surface.tolist()]
    assert len(set(keys)) == len(keys) and all(a < b for a, b in pairwise(sorted(SEEDS.values())))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_draws_the_same():
    batch = scenes(6, 0, 200)
    assert (render(batch) - render(batch, 64, "cuda").cpu()).abs().max() < 1 / 255
