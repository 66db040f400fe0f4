"""Judge B, which is not learned: it reads real scenes exactly, and calls unreadable what is no scene."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.common import CourseError
from course_utils.measure.redraw import OPPONENT, blur, descend, fit_ground, noise_of
from course_utils.measure.redraw_things import OUTLINED, SOLID, cover, palette
from course_utils.measure.synthesis import Fit, Limits, SceneFitter
from course_utils.worlds.captions import matches
from course_utils.worlds.render import colours, distance, render
from course_utils.worlds.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing, fitting, scenes

FITTER = SceneFitter()


def soft(images: Tensor, sigma: float) -> Tensor:
    """Pictures (N, 3, 32, 32) seen out of focus."""
    taps = torch.exp(-torch.arange(-4, 5.0).square() / (2 * sigma**2))
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    return F.conv2d(F.conv2d(F.pad(images, (4,) * 4, mode="replicate"), taps, groups=3), taps.mT, groups=3)


@cache
def real() -> tuple[Tensor, list[Scene], list[Fit]]:
    """Nine scenes as they come, one to three things, and what was fitted."""
    batch = scenes(4321, 0, 9)
    images = render(batch)
    return images, batch.scenes, FITTER.fit(images)


# -------------------------------------------------------------------------------------------------------------- the parts


def test_the_descent_finds_known_minima_within_its_bounds():
    goal = torch.tensor([[0.3, -0.4], [0.9, 0.8], [3.0, 0.0]])
    bend = lambda p: torch.stack([p[:, 0], 10 * (p[:, 1] - p[:, 0] ** 2)], 1)  # noqa: E731  (Rosenbrock's valley)
    low, high = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])
    p, error = descend(lambda p, i: bend(p) - bend(goal)[i], torch.zeros(3, 2), low, high, 30)
    assert torch.allclose(p[:2], goal[:2], atol=1e-2) and error[:2].max() < 1e-4
    assert p[2, 0] == 1 and error[2] > 1  # the third minimum lies outside


def test_blur_is_a_convolution():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = blur(image[0], torch.full((3,), 0.8))
    assert torch.allclose(ours[:, 4:-4, 4:-4], soft(image, 0.8)[0, :, 4:-4, 4:-4], atol=2e-3)


@pytest.mark.parametrize("fill", ["solid", "outlined", "striped"])
def test_things_are_covered_as_the_renderer_covers_them(fill):
    batch = fitting(Scene((Thing("large", fill),), None, None, "grey"), 5, 16)
    at = lambda v, scale: torch.from_numpy(v[:, 0]).float() / 65536 * scale  # noqa: E731
    turn = at(batch.rotation, torch.pi / 6) - torch.pi / 12
    stripes = torch.from_numpy(batch.stripes[:, 0]).float() / 65536 * torch.tensor([torch.pi, 1])
    p = torch.stack([at(batch.x, 32), at(batch.y, 32), at(batch.radius, 32), turn, torch.full((16,), 0.3)], 1)
    kind = torch.full((16,), ("solid", "outlined", "striped").index(fill))
    shape = torch.from_numpy(batch.shape[:, 0])
    covered, painted = cover(torch.cat([p, stripes], 1), shape, kind, torch.zeros(2), 32)
    bare = render(dataclasses.replace(batch, count=batch.count * 0))
    light, pale = 1 - 0.14 * at(batch.shade[..., 0], 1), 0.1 * at(batch.shade[..., 1], 1)
    paint = colours()[batch.colour[:, 0]] * (light * (1 - pale))[:, None] + pale[:, None]
    ours = bare * (1 - covered[:, None]) + painted[:, None] * paint[:, :, None, None]
    assert (ours - render(batch)).abs().max() < 0.05 + 0.02  # a blur of 0.3 pixels, and the grain


def test_the_palette_holds_every_shade_of_a_colour_and_no_other():
    for i in range(len(COLOURS)):
        shade = colours()[i] * 0.93 * 0.95 + 0.05
        away = (palette() - OPPONENT @ shade).norm(dim=2).amin(1)
        assert away.argmin() == i and away[i] < 0.01 and away.topk(2, largest=False).values[1] > 0.1


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds_are_named(name):
    batch = fitting(Scene((Thing(),), None, None, name), 6, 4)
    bare = render(dataclasses.replace(batch, count=batch.count * 0))
    for images in (bare, soft(bare, 0.9)):
        for image in images:
            ground = fit_ground(torch.einsum("ab,bij->aij", OPPONENT, image), torch.ones(32, 32))
            assert ground.name == name and ground.margin > Limits().background_margin and ground.residual < 0.02


def test_the_noise_of_a_picture_is_known():
    draw = torch.Generator().manual_seed(0)
    slope = torch.linspace(0, 1, 32).expand(3, 32, 32)
    noise = torch.tensor([0.01, 0.03, 0.05])
    found = noise_of(slope + noise[:, None, None] * torch.randn(3, 32, 32, generator=draw)).sqrt()
    assert torch.allclose(found, noise, rtol=0.15)
    assert noise_of(slope).max() < 1e-10


# ------------------------------------------------------------------------------------------------------------- real scenes


def test_real_scenes_are_read_exactly_and_drawn_again():
    images, truth, fits = real()
    for image, scene, fit in zip(images, truth, fits, strict=True):
        reading = fit.reading(FITTER.limits)
        assert reading.scene is not None and matches(scene, reading.scene), (scene, fit.scene, fit.numbers)
        assert reading.certainty > 0.8
        assert (fit.picture - image).square().mean().sqrt() < 0.03
        assert fit.picture.min() >= 0 and fit.picture.max() <= 1


@pytest.mark.parametrize(("fill", "shape"), [("outlined", "star"), ("outlined", "heart"), ("outlined", "cross")])
def test_small_things_are_read(fill, shape):
    batch = fitting(Scene((Thing("small", fill, None, shape),)), 7, 1)
    for scene, reading in zip(batch.scenes, FITTER.read(render(batch)), strict=True):
        assert reading.scene == scene


def test_soft_and_noisy_pictures_are_read():
    batch = scenes(99, 0, 2, things=1)
    images = render(batch)
    noisy = (images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    for changed in (soft(images, 0.9), noisy):
        assert [r.scene for r in FITTER.read(changed)] == batch.scenes


def test_a_picture_is_read_the_same_alone_and_again():
    images, _, fits = real()
    alone = FITTER.fit(images[2:3])[0]
    assert alone.numbers == fits[2].numbers and torch.equal(alone.picture, fits[2].picture)


# ------------------------------------------------------------------------------------------------------- what is no scene


def drawn(*covers: tuple[str, Tensor], tone: float = 0.95) -> Tensor:
    """Covers (32, 32) in named colours on a plain tone, (3, 32, 32)."""
    image = torch.full((3, 32, 32), tone)
    for colour, covered in covers:
        paint = colours()[COLOURS.index(colour)]
        image = torch.lerp(image, paint[:, None, None].expand(3, 32, 32), covered)
    return image


def disc(x: float, y: float, radius: float, shape: str = "circle", fill: int = SOLID) -> Tensor:
    p = torch.tensor([[x, y, radius, 0.0, 0.3]])
    return cover(p, torch.tensor([SHAPES.index(shape)]), torch.tensor([fill]), torch.zeros(2), 32)[0][0]


def blend(one: str, other: str, share: float) -> Tensor:
    """The cover of a shape between two, by their signed distances."""
    ticks = (torch.arange(32) + 0.5 - 16) / 6.8
    v, u = (t[None] for t in torch.meshgrid(ticks, ticks, indexing="ij"))
    a, b = (distance(torch.full((1, 1, 1), float(SHAPES.index(s))), u, v) * 6.8 for s in (one, other))
    return (0.5 - ((1 - share) * a + share * b)[0]).clamp(0, 1)


MALFORMED = {
    "blank": drawn(),
    "noise": torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)),
    "between star and circle": drawn(("red", blend("star", "circle", 0.55))),
    "between triangle and moon": drawn(("blue", blend("triangle", "moon", 0.5))),
    "between square and moon": drawn(("green", blend("square", "moon", 0.5)), tone=0.08),
    "half filled": drawn(
        (
            "red",
            torch.maximum(disc(16, 16, 6.8, "square", OUTLINED), disc(16, 16, 6.8, "square") * (torch.arange(32) < 16)),
        )
    ),
    "an arm lost": drawn(("blue", disc(16, 16, 6.8, "cross") * (torch.arange(32) < 19)), tone=0.5),
    "a ghost": drawn(("red", disc(10, 10, 6.8, "square")), ("blue", 0.35 * disc(24, 24, 4.5, "star"))),
    "one over the other": drawn(("red", disc(12, 16, 6.8, "star")), ("red", disc(18, 13, 6.8, "star"))),
    "four things": drawn(*(("green", disc(x, y, 4.5)) for x in (8, 24) for y in (8, 24))),
    "between yellow and green": drawn(("yellow", disc(16, 16, 6.8)), ("green", 0.5 * disc(16, 16, 6.8))),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_scene_is_unreadable(name):
    fit = FITTER.fit(MALFORMED[name][None])[0]
    reading = fit.reading(FITTER.limits)
    assert reading.scene is None and reading.certainty < 0.5, (fit.scene, fit.numbers)


def test_what_the_malformed_pictures_were_made_from_is_readable():
    """The control of the test above: the same drawing, whole."""
    whole = [blend("star", "circle", 0), blend("star", "circle", 1), disc(16, 16, 6.8, "square", OUTLINED)]
    readings = FITTER.read(torch.stack([drawn(("red", covered)) for covered in whole]))
    assert [r.scene.things[0].shape for r in readings if r.scene] == ["star", "circle", "square"]


def test_limits_are_read_off_the_numbers_alone():
    fit = real()[2][0]
    for name, value in fit.numbers.items():
        least = name in ("margin", "size", "background_margin")
        strict = dataclasses.replace(Limits(), **{name: value * 1.01 + 1e-9 if least else value * 0.99 - 1e-9})
        assert (value == 0 and not least) or fit.reading(strict).scene is None, name
    assert set(fit.numbers) == {field.name for field in dataclasses.fields(Limits)}
    assert dataclasses.replace(fit, things=()).reading(Limits()).scene is None


def test_only_pictures_of_the_world_are_read():
    with pytest.raises(CourseError, match=r"give \(N, 3, 32, 32\)"):
        FITTER.read(torch.zeros(1, 3, 64, 64))
    assert FITTER.read(torch.zeros(0, 3, 32, 32)) == []
