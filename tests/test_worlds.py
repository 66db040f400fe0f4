"""The world `shapes`: the same scenes and pictures everywhere, whole and apart, told apart, and free where words are silent."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from itertools import combinations
from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_utils.worlds.captions import Parts, matches, restrict
from course_utils.worlds.render import _polygon, polygon_distance, render
from course_utils.worlds.scenes import (
    BACKGROUNDS,
    COLOURS,
    FILLS,
    HELD_OUT_COMBINATIONS,
    PLACES,
    RELATIONS,
    SEEDS,
    SHAPES,
    SIZES,
    UNIT,
    Scene,
    Scenes,
    Thing,
    fitting,
    place_of,
    relation_of,
    scenes,
)

# What the generator of scenes draws is part of every result of the course. After a wanted change of it, print the new values
# with `cd tests && python -c "import test_worlds as t; print(t.digests(), t.thumbnails())"` and put them here.
GOLDEN_SCENES = {
    "101 all": "91b38109b29434fa",
    "101 train": "3708a32c4a663c03",
    "101 held_out": "e8ad29a01b720052",
    "301 all": "80a9e44496af6a3b",
    "301 train": "74ef7822f24058cc",
    "301 held_out": "a4317221ca2d6d75",
}
GOLDEN_PICTURES = [
    [131, 139, 136, 136, 133, 136, 114, 110, 157, 161, 134, 133, 140, 144, 137, 137],
    [111, 112, 112, 113, 111, 113, 112, 113, 113, 112, 114, 116, 112, 112, 114, 116],
    [152, 149, 156, 149, 150, 143, 135, 151, 151, 145, 140, 151, 154, 150, 151, 150],
    [80, 80, 80, 79, 80, 81, 79, 80, 80, 96, 105, 80, 81, 84, 90, 80],
    [190, 187, 186, 190, 192, 191, 191, 195, 190, 189, 189, 192, 189, 188, 185, 189],
    [128, 144, 126, 133, 138, 132, 127, 138, 136, 134, 144, 126, 139, 133, 131, 142],
]

FIELDS = [f.name for f in dataclasses.fields(Scenes)]
EDGES = (0.4, 0.6)  # of the middle place


def digests() -> dict[str, str]:
    found = {}
    for seed in (101, 301):
        for split in ("all", "train", "held_out"):
            batch = scenes(seed, 0, 300, split=split)
            data = b"".join(np.ascontiguousarray(getattr(batch, name), dtype="<i8").tobytes() for name in FIELDS)
            found[f"{seed} {split}"] = hashlib.sha256(data).hexdigest()[:16]
    return found


def thumbnails() -> list[list[int]]:
    """Six scenes as 4x4 grey values from 0 to 255."""
    small = F.avg_pool2d(render(scenes(7, 0, 6)).mean(1), 8).flatten(1)
    return (small * 255).round().int().tolist()


def same(a: Scenes, b: Scenes) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def alone(n: int, **values: object) -> Scenes:
    """n large solid red circles in the middle of a grey ground, all alike; `values` change fields of the first thing."""
    base = scenes(1, 0, 1, things=1).select([0] * n)
    middle = {"size": 1, "fill": 0, "colour": 0, "shape": 0, "x": UNIT // 2, "y": UNIT // 2, "radius": int(0.21 * UNIT)}
    middle |= {"rotation": UNIT // 2, "stripes": UNIT // 4, "shade": 0}
    changed = {"background": np.full(n, BACKGROUNDS.index("grey")), "noise": np.zeros(n, np.int64)}
    for name, value in {**middle, **values}.items():
        if name in ("background", "count", "noise", "surface"):
            changed[name] = np.broadcast_to(np.asarray(value), changed[name].shape if name in changed else (n,)).copy()
            continue
        array = getattr(base, name).copy()
        array[:, 0] = np.asarray(value) if array.ndim == 2 else np.broadcast_to(value, (n,))[:, None]
        changed[name] = array
    return dataclasses.replace(base, **changed)


def covers(batch: Scenes, pixels: int = 32) -> torch.Tensor:
    """How much of each pixel the things of solid scenes cover, (N, P, P) in about [0, 1]."""
    bare = dataclasses.replace(batch, count=np.zeros_like(batch.count))
    difference = (render(batch, pixels) - render(bare, pixels)).abs().sum(1)
    return difference / difference.amax((1, 2), keepdim=True)


def corners(batch: Scenes, i: int, j: int) -> np.ndarray:
    """Corners of thing j of scene i in the picture, of width 1, worked out without the renderer."""
    turn = batch.rotation[i, j] / UNIT * math.pi / 6 - math.pi / 12
    cos, sin = math.cos(turn), math.sin(turn)
    shape = _polygon(SHAPES[batch.shape[i, j]]) * batch.radius[i, j] / UNIT
    return shape @ np.array([[cos, sin], [-sin, cos]]) + np.array([batch.x[i, j], batch.y[i, j]]) / UNIT


# ---------------------------------------------------------------------------------------------------------------- scenes


def test_the_scenes_are_the_ones_that_all_results_were_made_with():
    assert digests() == GOLDEN_SCENES


@pytest.mark.parametrize(
    "options", [{}, {"things": 3}, {"split": "train"}, {"split": "held_out", "small_stripes": True}]
)
def test_a_scene_does_not_depend_on_what_is_drawn_with_it(options):
    whole = scenes(5, 1000, 60, **options)
    assert same(
        whole, Scenes.join(*(scenes(5, 1000 + i, n, **options) for i, n in ((0, 1), (1, 0), (1, 22), (23, 37))))
    )
    assert same(whole.select(slice(40, 45)), scenes(5, 1040, 5, **options))
    assert whole[7] == whole.scenes[7] == scenes(5, 1007, 1, **options)[0]
    assert not same(whole, scenes(6, 1000, 60, **options))


def test_the_lists_of_scenes_have_nothing_in_common():
    lists = [scenes(seed, 0, 1500) for seed in SEEDS.values()] + [scenes(SEEDS["test"], 10**6, 1500)]
    keys = [tuple(row) for batch in lists for row in np.concatenate([batch.surface, batch.rotation], 1).tolist()]
    assert len(set(keys)) == len(keys)


def test_scenes_are_what_their_arrays_say():
    batch = scenes(11, 0, 3000)
    for i, scene in enumerate(batch.scenes):
        n = int(batch.count[i])
        assert (
            len(scene.things) == n
            and (batch.shape[i] >= 0).sum() == n
            and scene.background == BACKGROUNDS[batch.background[i]]
        )
        assert (scene.place is not None) == (n == 1) and (scene.relation is not None) == (n == 2)
        first = scene.things[0]
        assert first == Thing(
            *(
                v[k[i, 0]]
                for v, k in zip(
                    (SIZES, FILLS, COLOURS, SHAPES), (batch.size, batch.fill, batch.colour, batch.shape), strict=True
                )
            )
        )


def test_everything_that_can_be_said_occurs_often_enough():
    batch = scenes(12, 0, 6000)
    there = batch.shape >= 0
    for name, values in (("size", SIZES), ("fill", FILLS), ("colour", COLOURS), ("shape", SHAPES)):
        share = np.bincount(getattr(batch, name)[there], minlength=len(values)) / there.sum()
        assert share.min() > 0.45 / len(values), (name, share)
    assert np.allclose(np.bincount(batch.count)[1:] / 6000, (0.3, 0.4, 0.3), atol=0.03)
    assert np.allclose(np.bincount(batch.background) / 6000, 1 / len(BACKGROUNDS), atol=0.03)
    for n, values, said in ((1, PLACES, "place"), (2, RELATIONS, "relation")):
        found = [getattr(s, said) for s in scenes(12, 0, 1500, things=n).scenes]
        assert min(found.count(v) for v in values) > 0.6 * 1500 / len(values)
    alike = [len(set(s.things)) == 1 for s in scenes(12, 0, 1500, things=2).scenes]
    assert 0.12 < sum(alike) / 1500 < 0.22  # something to count


def test_objects_are_whole_and_apart():
    batch = scenes(13, 0, 3000)
    x, y, radius = batch.x / UNIT, batch.y / UNIT, batch.radius / UNIT
    for a, b in combinations(range(3), 2):
        both = batch.count > b
        distance, reach = np.hypot(x[:, a] - x[:, b], y[:, a] - y[:, b]), radius[:, a] + radius[:, b]
        assert (distance - reach)[both].min() > 0.03
        for i in np.flatnonzero(both & (distance < 1.1 * reach))[:60]:  # corners may reach beyond the radius
            one, other = corners(batch, i, a), corners(batch, i, b)
            assert min(polygon_distance(one, other).min(), polygon_distance(other, one).min()) > 0
    for i, j in zip(*np.nonzero(batch.shape >= 0), strict=True):
        outline = corners(batch, i, j)
        assert outline.min() > 0 and outline.max() < 1


def test_places_and_relations_are_never_in_doubt():
    one = scenes(14, 0, 3000, things=1)
    for v in (one.x[:, 0] / UNIT, one.y[:, 0] / UNIT):
        assert min(np.abs(v - edge).min() for edge in EDGES) > 0.019
    assert [s.place for s in one.scenes] == [
        place_of(x / UNIT, y / UNIT) for x, y in zip(one.x[:, 0], one.y[:, 0], strict=True)
    ]
    two = scenes(14, 0, 3000, things=2)
    dx, dy = (v[:, 1] - v[:, 0] for v in (two.x, two.y))
    along = np.array([s.relation == "left of" for s in two.scenes])
    assert (np.where(along, dx, dy) > 0).all()
    assert (np.abs(np.where(along, dy, dx)) <= 0.6 * np.where(along, dx, dy)).all()
    assert relation_of(-0.5, 0.1) == ("left of", True) and relation_of(0.1, 0.5) == ("above", False)


def test_small_things_are_striped_only_on_demand():
    def striped(**options):
        things = [thing for scene in scenes(15, 0, 1000, **options).scenes for thing in scene.things]
        return [thing for thing in things if (thing.size, thing.fill) == ("small", "striped")]

    assert not striped() and not striped(split="train") and not striped(split="held_out") and not striped(things=3)
    assert striped(small_stripes=True)
    free = fitting(Scene((Thing(), Thing())), 3, 1000)
    assert not ((free.size == 0) & (free.fill == 2)).any()


def test_the_split_keeps_its_promise():
    pairs = lambda split: [[(t.colour, t.shape) for t in s.things] for s in scenes(16, 0, 5000, split=split).scenes]  # noqa: E731
    assert not any(pair in HELD_OUT_COMBINATIONS for found in pairs("train") for pair in found)
    assert {found[0] for found in pairs("held_out")} == HELD_OUT_COMBINATIONS
    seen = {pair for found in pairs("train") for pair in found}
    assert seen == {(c, s) for c in COLOURS for s in SHAPES} - HELD_OUT_COMBINATIONS  # all other pairs are trained on
    assert {c for c, _ in HELD_OUT_COMBINATIONS} < {c for c, _ in seen} and {s for _, s in HELD_OUT_COMBINATIONS} < {
        s for _, s in seen
    }


@pytest.mark.parametrize("wrong", [{"things": 4}, {"things": 0}, {"split": "test"}])
def test_other_scenes_than_there_are_cannot_be_asked_for(wrong):
    with pytest.raises(ValueError, match="expected"):
        scenes(1, 0, 1, **wrong)


# --------------------------------------------------------------------------------------------------- scenes that fit words


def partials(n: int, seed: int = 0) -> list[Scene]:
    """Partial scenes of all kinds, also with small stripes and held-out pairs."""
    random = Random(seed)
    coin = lambda: random.random() < 0.5  # noqa: E731
    found = []
    for scene in scenes(17, 0, n, small_stripes=True).scenes:
        things = tuple((coin(), coin(), coin(), coin()) for _ in scene.things)
        found.append(restrict(scene, Parts(things, coin(), coin(), coin())))
    return found


def test_what_is_said_is_kept():
    for i, partial in enumerate(partials(1500)):
        for scene in fitting(partial, i, 2).scenes:
            assert matches(partial, scene), (partial, scene)


def test_a_partial_scene_that_says_all_or_nothing():
    for scene in scenes(18, 0, 100).scenes:
        assert set(fitting(scene, 1, 4).scenes) == {scene}
    for n in (1, 2, 3):
        free = fitting(Scene((Thing(),) * n), 1, 600).scenes
        assert len({t for s in free for t in s.things}) > 150 and {s.background for s in free} == set(BACKGROUNDS)
        assert {s.place for s in free} == (set(PLACES) if n == 1 else {None})
        assert {s.relation for s in free} == (set(RELATIONS) if n == 2 else {None})


def test_three_large_things_find_room():
    batch = fitting(Scene((Thing("large"),) * 3), 2, 200)
    assert (batch.radius[:, :3] > 0.19 * UNIT).all() and len(np.unique(batch.x[:, 0])) > 190


@pytest.mark.parametrize("n", [1, 2, 3])
def test_what_no_word_names_varies_freely(n):
    """A caption must not fix the picture: else one step of a generator gives the mean, and the mean looks right."""
    asked = scenes(19, 0, 1, things=n)[0]
    batch = fitting(asked, 4, 400)
    free = {"x": 0.03, "y": 0.03, "radius": 0.006, "rotation": 0.25, "stripes": 0.25, "shade": 0.25}
    for name, least in free.items():
        values = getattr(batch, name)[:, :n].reshape(400, -1) / UNIT
        assert (values.std(0) > least).all(), (name, values.std(0))
        assert min(len(np.unique(column)) for column in values.T) > 300, name  # continuous, no grid
    assert (batch.surface.std(0) > 0.25 * UNIT).all() and len(np.unique(batch.noise)) > 395
    images = render(batch)
    assert (images - images.mean(0)).abs().mean() > 0.05


# -------------------------------------------------------------------------------------------------------------- pictures


def test_the_pictures_are_the_ones_that_all_results_were_made_with():
    assert np.abs(np.array(thumbnails()) - np.array(GOLDEN_PICTURES)).max() <= 1


def test_a_picture_does_not_depend_on_what_is_drawn_with_it():
    batch = scenes(20, 0, 300)  # more than one chunk
    whole = render(batch)
    assert whole.shape == (300, 3, 32, 32) and whole.dtype == torch.float32
    assert whole.min() >= 0 and whole.max() <= 1
    for part in (slice(0, 1), slice(120, 135), slice(299, 300)):
        assert (render(batch.select(part)) - whole[part]).abs().max() <= 1 / 255
    order = np.random.default_rng(0).permutation(300)
    assert (render(batch.select(order)) - whole[order]).abs().max() <= 1 / 255
    assert (render(batch, device=torch.device("cpu")) - whole).abs().max() <= 1 / 255
    assert render(batch.select([])).shape == (0, 3, 32, 32)


def test_three_sizes_show_the_same_scene():
    batch = scenes(21, 0, 48)
    small, middle, large = (render(batch, pixels) for pixels in (16, 32, 64))
    assert small.shape[-1] == 16 and large.shape[-1] == 64
    assert (F.avg_pool2d(middle, 2) - small).abs().mean() < 0.03
    assert (F.avg_pool2d(large, 2) - middle).abs().mean() < 0.03


def test_distance_of_a_square_and_of_a_circle():
    points = np.random.default_rng(0).uniform(-2, 2, (2000, 2))
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.7
    away = np.abs(points) - 0.7
    exact = np.linalg.norm(np.maximum(away, 0), axis=1) + np.minimum(away.max(1), 0)
    for corner_list in (square, square[::-1], np.roll(square, 1, 0)):
        assert np.allclose(polygon_distance(points, corner_list), exact, atol=1e-12)
    circle = _polygon("circle")
    assert np.abs(polygon_distance(points, circle) - (np.linalg.norm(points, axis=1) - 0.92)).max() < 0.002


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_of_every_shape(shape):
    outline = _polygon(shape)
    random = np.random.default_rng(1)
    points = random.uniform(-1.3, 1.3, (400, 2))
    d = polygon_distance(points, outline)
    assert np.allclose(polygon_distance(outline, outline), 0, atol=1e-12)
    assert (np.abs(d[:200] - d[200:]) <= np.linalg.norm(points[:200] - points[200:], axis=1) + 1e-9).all()
    x, y = outline.T
    area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
    inside = (polygon_distance(random.uniform(-1.3, 1.3, (4000, 2)), outline) < 0).mean() * 2.6**2
    assert abs(inside - area) < 0.25  # the sign tells inside from outside: Monte Carlo against the shoelace formula
    assert 1.0 < area < 3.0
    assert np.abs(outline.mean(0)).max() < 0.3 and np.linalg.norm(outline, axis=1).max() < 1.11
    for pixels in (32, 64):
        drawn = covers(alone(1, shape=SHAPES.index(shape)), pixels)[0]
        assert float(drawn.sum()) / (0.21 * pixels) ** 2 == pytest.approx(area, rel=0.05)


def test_borders_are_grey_not_jagged():
    drawn = covers(alone(8, shape=np.arange(8)))
    partly = ((drawn > 0.1) & (drawn < 0.9)).sum((1, 2))
    assert (partly >= 12).all(), partly
    moved = covers(alone(64, x=UNIT // 2 + np.arange(64) * 64))  # 1/32 pixel a step: the picture follows every one
    centre = (moved.sum(1) * torch.arange(32)).sum(1) / moved.sum((1, 2))
    assert (centre.diff() - 1 / 32).abs().max() < 0.01


def test_rotation_turns_and_shade_darkens():
    turned = covers(alone(2, shape=3, rotation=np.array([0, UNIT - 1])), 64)
    assert (turned[0] - turned[1]).abs().mean() > 0.01
    assert (
        turned[0] - turned[1].flip(1)
    ).abs().mean() < 0.002  # a star turned left is the mirror image of one turned right
    light, dark = render(alone(2, shade=np.array([0, UNIT - 1])))[:, 0, 16, 16]
    assert light - dark > 0.03


@pytest.mark.parametrize("pixels", [32, 64])
def test_every_shape_size_and_fill_can_be_told_apart(pixels):
    """Also turned by up to 15 degrees, when a diamond leans towards a square. The nearest pair is the small star, solid and outlined."""
    kinds = [(h, s, f) for h in range(8) for s in range(2) for f in range(3) if pixels == 64 or (s, f) != (0, 2)]
    turns = [0, UNIT // 2, UNIT - 1]
    rows = np.array([(*kind, turn) for kind in kinds for turn in turns]).T
    shape, size, fill, turn = rows
    radius = np.where(size == 0, int(0.144 * UNIT), int(0.21 * UNIT))
    batch = alone(rows.shape[1], shape=shape, size=size, fill=fill, rotation=turn, radius=radius, background=0)
    images = render(batch, pixels).flatten(1)
    gap = (
        torch.cdist(images, images, p=1) / (pixels * pixels) * 32 * 32 / 3
    )  # in pixels of a 32x32 picture, full black to white
    kind = torch.arange(len(kinds)).repeat_interleave(len(turns))
    gap[kind[:, None] == kind] = math.inf
    nearest = int(gap.min(1).values.argmin())
    other = int(gap[nearest].argmin())
    assert gap.min() > 2.5, (float(gap.min()), kinds[kind[nearest]], kinds[kind[other]])


def test_colours_and_backgrounds_can_be_told_apart():
    colours = render(alone(8, colour=np.arange(8)))[:, :, 16, 16]
    assert torch.pdist(colours).min() > 0.25
    grounds = render(alone(5, count=0, background=np.arange(5)))
    assert grounds[0].mean() > grounds[1].mean() + 0.2 > grounds[2].mean() + 0.4
    assert (grounds[:3].flatten(2).std(2) < 0.02).all() and (grounds[3:].flatten(2).std(2) > 0.06).all()
