"""The judges of `emoji_scenes`: what judge A learns from, what judge B reads, and that what is asked is what is counted."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import JUDGE, shipped
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.generators import Generator
from course_utils.measure import emoji_data
from course_utils.measure.emoji_data import MALFORMED, NON_SCENES, JudgeData, damage, examples, means, non_scenes, spoil
from course_utils.measure.emoji_ground import fit_ground
from course_utils.measure.emoji_quality import measure_reader
from course_utils.measure.emoji_synthesis import LEAST, EmojiFitter, Fit, Limits
from course_utils.measure.emoji_things import ink, look, smooth
from course_utils.measure.judge import Judge, Reading
from course_utils.measure.quality import GROUPS, groups_of, measure, prompts_of
from course_utils.measure.sizes import resized
from course_utils.measure.worlds import EMOJI_SCENES as WORLD
from course_utils.measure.worlds import measured
from course_utils.models.judge import JudgeNetwork, judge_loss
from course_utils.worlds.emoji_scenes.captions import matches, parse
from course_utils.worlds.emoji_scenes.grounds import backgrounds
from course_utils.worlds.emoji_scenes.render import render
from course_utils.worlds.emoji_scenes.scenes import BACKGROUNDS, NAMES, TWELVE, Scene, Thing, fitting, scenes
from course_utils.worlds.emoji_scenes.words import HELD_OUT_BACKGROUNDS, HELD_OUT_PAIRS

CONFIG = dataclasses.replace(
    JUDGE, attributes=(2, len(NAMES)), names=("size", "noun"), backgrounds=len(BACKGROUNDS), pixels=64
)
FITTER = EmojiFitter()


# ------------------------------------------------------------------------------------------- what judge A is taught with


def test_batches_of_the_judge():
    data = JudgeData(1)
    batch, again, other = data(640, 42), data(640, 42), data(682, 42)
    assert batch["images"].shape == (42, 3, 64, 64) and all(torch.equal(batch[k], again[k]) for k in batch)
    assert not torch.equal(batch["images"], other["images"])
    assert batch["images"].min() >= 0 and batch["images"].max() <= 1
    kinds = [int((batch["valid"] == v).sum()) for v in (1, -1, 0)]
    assert kinds == [20, 15, 7]
    for i in range(
        42
    ):  # exactly one malformed thing where the scene is malformed, and none that is asked of a non-scene
        wrong = int((batch["sound"][i] == 0).sum())
        assert wrong == (batch["valid"][i] == -1) and (batch["valid"][i] != 0 or (batch["sound"][i] == -1).all())
        assert ((batch["attributes"][i, :, 0] >= 0) == (batch["sound"][i] == 1)).all()


def test_all_places_go_wrong():
    found = torch.cat([JudgeData(2)(64 * k, 64)["sound"] for k in range(6)])
    victims = (found == 0).float().mean(0)
    assert victims[0] > victims[1] > victims[2] > 0  # any of one to three things
    assert victims[0] / victims[1] < 3.5


def test_no_network_draws_for_the_judge(monkeypatch):
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("a network took part"))
    JudgeData(3)(0, 24)


def test_what_the_judge_is_asked_is_what_is_drawn():
    """A network that has learned a handful of scenes by heart says of each what the labels say."""
    torch.manual_seed(0)
    network = JudgeNetwork(dataclasses.replace(CONFIG, channels=(32, 48)))
    batch = scenes(5, 0, 12)
    given = {"images": render(batch), **emoji_data.labels(batch)}
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    for _ in range(160):
        loss, details = judge_loss(network.train(), given)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert set(details) >= {"size", "noun", "objects", "sound", "background", "valid"}
    readings = Judge(network, 0.0, WORLD).read(given["images"])
    assert [matches(s, r.scene) for s, r in zip(batch.scenes, readings, strict=True)].count(True) >= 11


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_wrong_can_be_seen_and_what_is_harmless_hardly(kind):
    batch = scenes(31, 0, 40)
    victim = np.arange(40) % batch.count
    plain = render(batch)
    change = lambda mild: (spoil(batch, victim, kind, torch.Generator().manual_seed(1), mild) - plain).abs()  # noqa: E731
    wrong = change(False).amax((1, 2, 3))
    assert wrong.median() > 0.3 and wrong.min() > 0.03
    if MALFORMED[kind][1] is not None:
        assert change(True).mean() < 0.35 * change(False).mean()
    # only the victim: nothing changes far from it
    x, y, radius = (
        torch.from_numpy(v[np.arange(40), victim]).float() / 65536 for v in (batch.x, batch.y, batch.radius)
    )
    ticks = (torch.arange(64) + 0.5) / 64
    far = torch.hypot(ticks[None, None] - x[:, None, None], ticks[None, :, None] - y[:, None, None])
    far = far > 3.2 * radius[:, None, None]
    assert (change(False).amax(1) * far).max() < 0.02


@pytest.mark.parametrize("kind", NON_SCENES)
def test_non_scenes(kind):
    found = non_scenes(kind, 3, 6)
    assert found.shape == (6, 3, 64, 64) and found.min() >= 0 and found.max() <= 1
    assert torch.equal(found, non_scenes(kind, 3, 6)) and not torch.equal(found, non_scenes(kind, 4, 6))
    assert (found[0] - found[1]).abs().mean() > 0.02


def test_means_lose_what_varies():
    found = means(5, 3, (1, 64))
    one, many = found[0::2], found[1::2]
    detail = lambda x: (x - F.avg_pool2d(F.pad(x, (2,) * 4, mode="replicate"), 5, 1)).square().mean()  # noqa: E731
    assert found.shape == (6, 3, 64, 64) and detail(many) < 0.3 * detail(one)


def test_damage_leaves_a_third_as_it_is():
    images = render(scenes(6, 0, 300))
    changed = (damage(images, torch.Generator().manual_seed(0)) - images).abs().amax((1, 2, 3)) > 0
    assert 0.6 < changed.float().mean() < 0.73
    assert (damage(images, torch.Generator().manual_seed(0)) - images).abs().mean() < 0.05


# ------------------------------------------------------------------------------------------------------- reading scenes


def test_a_judge_says_the_scene_of_its_world():
    reading = Reading(Scene((Thing("small", "cat"), Thing("large", "tree")), None, "left of", "night"), 0.9, WORLD)
    assert reading.shows(parse("a tree to the right of a cat")) and reading.shows(
        parse("a small cat next to a tree at night")
    )
    for wrong in ("a cat above a tree", "a dog left of a tree", "a cat and a tree in the snow", "a cat", "two cats"):
        assert not reading.shows(parse(wrong))
    assert not Reading(None, 0.2, WORLD).shows(parse("a cat"))
    with pytest.raises(CourseError, match="no judge"):
        measured("digits")


def test_pictures_of_any_size_are_read_in_the_readers_size():
    small = render(scenes(3, 0, 4), 32)
    large = resized(small, 64)
    assert large.shape == (4, 3, 64, 64) and torch.equal(resized(large, 64), large)
    assert (resized(large, 32) - small).abs().mean() < 0.03  # and nothing moves: there and back
    judge = Judge(JudgeNetwork(CONFIG), 0.0, WORLD)
    assert [r.certainty for r in judge.read(small)] == [r.certainty for r in judge.read(large)]
    for wrong in (small[0], small[:, :1], small[:, :, :20]):
        for reader in (judge, FITTER):
            with pytest.raises(CourseError, match="N, 3, P, P"):
                reader.read(wrong)


def test_what_a_generator_has_learned_is_all_that_it_is_asked_for():
    one = measured("emoji_scenes", "train_twelve")
    assert groups_of(one) == ("one_object", "natural", "held_out_combinations", "held_out_synonyms")
    assert groups_of(WORLD) == GROUPS and measured("emoji_scenes") == WORLD
    for group in groups_of(one):
        asked = [prompt.asked for prompt in prompts_of(group, 30, of=one)]
        assert {len(scene.things) for scene in asked} == {1} and {scene.things[0].noun for scene in asked} <= set(
            TWELVE
        )
        assert {scene.things[0].size for scene in asked} == ({"large", None} if group == "natural" else {"large"})
    for prompt in prompts_of("natural", 20, of=one):
        assert (one.fitting(prompt.asked, 1, 3).size[:, 0] == 1).all()
    both = measured("emoji_scenes", "train_one")
    assert {s.things[0].size for s in both.scenes(3, 0, 40).scenes} == {"small", "large"}


def test_only_asks_for_one_attribute():
    asked = Scene((Thing("small", "cat"), Thing("large", "tree")), None, "left of", "night")
    others = {
        "size": Scene((Thing("large", "cat"), Thing("large", "tree")), None, "left of", "night"),
        "noun": Scene((Thing("small", "dog"), Thing("large", "tree")), None, "left of", "night"),
        "background": dataclasses.replace(asked, background="snow"),
    }
    for name in ("size", "noun", "relation", "background", "count"):
        assert matches(WORLD.only(name, asked), asked)
    for name, other in others.items():
        wrong = [n for n in ("size", "noun", "background", "count") if not matches(WORLD.only(n, asked), other)]
        assert wrong == [name]
    swapped = dataclasses.replace(asked, things=asked.things[::-1])
    assert [n for n in ("size", "noun", "relation") if not matches(WORLD.only(n, asked), swapped)] == ["relation"]


@pytest.mark.parametrize("group", GROUPS)
def test_prompts_ask_for_what_they_say(group):
    for prompt in prompts_of(group, 16, of=WORLD):
        assert parse(prompt.text) == prompt.asked
        things, held = prompt.asked.things, group == "held_out_combinations"
        pair = len(things) == 2 and (things[0].noun, prompt.asked.relation, things[1].noun) in HELD_OUT_PAIRS
        shown = any((t.noun, prompt.asked.background) in HELD_OUT_BACKGROUNDS for t in things)
        assert (pair or shown) == held


# --------------------------------------------------------------------------------------------------------------- judge B


@cache
def real() -> tuple[Tensor, list[Scene], list[Fit]]:
    batch = scenes(4321, 0, 8)
    images = render(batch)
    return images, batch.scenes, FITTER.fit(images)


def test_judge_b_reads_real_scenes_and_draws_them_again():
    images, shown, fits = real()
    readings = [fit.reading(FITTER.limits) for fit in fits]
    assert all(reading.shows(scene) for reading, scene in zip(readings, shown, strict=True))
    for image, fit in zip(images, fits, strict=True):
        assert (smooth(image) - fit.picture).square().mean() < 0.004


def test_judge_b_says_no_to_wrong_captions():
    _, shown, fits = real()
    for i, fit in enumerate(fits):
        other = shown[(i + 1) % len(shown)]
        assert matches(other, shown[i]) == fit.reading(FITTER.limits).shows(other)
        noun = NAMES[(NAMES.index(str(shown[i].things[0].noun)) + 1) % len(NAMES)]
        wrong = dataclasses.replace(shown[i], things=(Thing(None, noun), *shown[i].things[1:]))
        assert not fit.reading(FITTER.limits).shows(wrong)


@pytest.mark.parametrize("kind", ["half", "chimera", "smeared", "crowd", "blank", "noise"])
def test_judge_b_refuses_what_is_no_scene(kind):
    found = examples(kind, 11, 3) if kind in MALFORMED else non_scenes(kind, 11, 3)
    assert sum(reading.scene is not None for reading in FITTER.read(found)) <= (1 if kind in MALFORMED else 0)


def test_judge_b_refuses_means():
    assert all(reading.scene is None for reading in FITTER.read(means(5, 2)))


def test_every_limit_can_refuse():
    fit = real()[2][0]
    assert fit.reading(Limits()).scene is not None
    for name, value in fit.numbers.items():
        least = name in LEAST
        strict = dataclasses.replace(Limits(), **{name: abs(value) * 2 + 1 if least else 1e-6})
        assert fit.reading(strict).scene is None or (name == "leftover" and value <= 0)


def test_backgrounds_are_found():
    batch = scenes(91, 0, 12)
    for image, kind in zip(backgrounds(batch, 64, "cpu"), batch.background, strict=True):
        assert fit_ground(image).name == BACKGROUNDS[kind]


def test_looking_finds_the_place():
    batch = fitting(Scene((Thing("large", "frog"),), "top left", None, "room"), 3, 1)
    starts, (x, y) = look(smooth(render(batch)[0]), smooth(backgrounds(batch, 64, "cpu")[0]))
    assert abs(x - batch.x[0, 0] / 1024) < 3 and abs(y - batch.y[0, 0] / 1024) < 3
    assert len(starts) == 2 and ink(starts[1].p, starts[1].emoji, starts[1].mirror, 1, 30).shape == (8, 4, 30, 30)


# ------------------------------------------------------------------------------------------------------------- together


class Fake(Generator):
    """Draws real scenes for its prompts, and remembers them."""

    side = 64

    def __init__(self, change=lambda scene: scene):
        super().__init__({})
        self.change, self.drawn = change, {}

    def draw(self, prompts, noise, steps, guidance):
        seeds = (noise(1)[:, 0].double() * 1e9).long().abs().tolist()
        batches = [fitting(self.change(parse(text)), seed, 1) for text, seed in zip(prompts, seeds, strict=True)]
        images = torch.cat([render(batch) for batch in batches])
        self.drawn |= {image.numpy().tobytes(): b[0] for image, b in zip(images, batches, strict=True)}
        return images, 1

    def read(self, images):
        return [Reading(self.drawn[image.numpy().tobytes()], 1.0, WORLD) for image in images]


def quality_of(generator: Fake, **options):
    features = lambda images: F.avg_pool2d(images, 16).flatten(1)  # noqa: E731
    return measure(generator, generator, features, prompts=10, fidelity_pictures=60, of=WORLD, **options)


def test_a_perfect_generator_is_measured_as_perfect(monkeypatch):
    found = quality_of(Fake())
    assert all(found[group] == 1.0 for group in ("all", *GROUPS))
    assert set(found["attributes"]) - {"counting"} == {"size", "noun", "place", "relation", "background", "count"}
    assert 0.8 < found["diversity"] < 1.2 and found["fidelity_floor"] > 0


def test_a_generator_that_forgets_backgrounds_is_caught():
    found = quality_of(Fake(lambda scene: dataclasses.replace(scene, background="room")), groups=GROUPS[:2])
    assert found["one_object"] < 0.5 and found["attributes"]["noun"] == 1.0 and found["attributes"]["background"] < 0.5


def test_a_reader_is_measured(monkeypatch):
    nothing = type("Blind", (), {"read": lambda self, images: [Reading(None, 0.0, WORLD)] * len(images)})()
    found = measure_reader(nothing, 3, 5)
    assert found["one_object"]["share"] == 0.0 == found["accepted"]["half"]["share"] and found["one_object"]["of"] == 3
    assert set(found["accepted"]) == {*MALFORMED, *NON_SCENES}


def test_the_shipped_judge_reads_real_scenes():
    judge = Judge.load(shipped("judge-emoji"))
    batch = scenes(WORLD.seeds["test"], 0, 300)
    readings = judge.read(render(batch))
    right = [r.shows(s) for r, s in zip(readings, batch.scenes, strict=True)]
    assert judge.of is WORLD and sum(right) / 300 > 0.9
    wrong = [
        r.shows(s) and not matches(s, t) for r, s, t in zip(readings, batch.scenes[1:], batch.scenes, strict=False)
    ]
    assert sum(wrong) <= 2


def test_the_shipped_judge_refuses_what_is_no_scene():
    judge = Judge.load(shipped("judge-emoji"))
    accepted = lambda images: sum(r.scene is not None for r in judge.read(images)) / len(images)  # noqa: E731
    assert accepted(means(9, 40)) <= 0.05
    for kind in ("noise", "blank", "blend"):
        assert accepted(non_scenes(kind, 9, 60)) < 0.15
