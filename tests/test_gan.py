"""The adversarial game against known answers, in float64; the world `ring` and the counting of its modes; drifting."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.common import CourseError
from course_utils.measure.modes import modes
from course_utils.models import drifting, gan
from course_utils.models.gan import Discriminator, GANConfig, GANGenerator
from course_utils.worlds.ring import MODES, RADIUS, SIGMA, centres, ring

SMALL = {
    "points": GANConfig(shape=(2,), latents=3, hidden=(16, 16)),
    "linear": GANConfig(shape=(5,), latents=2, hidden=()),
    "flat": GANConfig(shape=(1, 8, 8), latents=4, hidden=(16,)),
    "conv": GANConfig(shape=(1, 8, 8), latents=4, channels=(8, 4)),
    "colour": GANConfig(shape=(3, 16, 12), latents=5, channels=(6, 4)),
}


def logits(n: int, seed: int, scale: float = 3.0) -> Tensor:
    """Random logits (n,)."""
    return scale * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ----------------------------------------------------------------------------------------------------------------- losses


def test_losses_equal_their_formulas() -> None:
    real, fake = logits(50, 0), logits(40, 1)
    d_real, d_fake = torch.sigmoid(real), torch.sigmoid(fake)
    assert torch.allclose(gan.value(real, fake), d_real.log().mean() + (1 - d_fake).log().mean(), atol=1e-12)
    assert gan.discriminator_loss(real, fake) == -gan.value(real, fake)
    assert torch.allclose(gan.saturating_loss(fake), (1 - d_fake).log().mean(), atol=1e-12)
    assert torch.allclose(gan.non_saturating_loss(fake), -d_fake.log().mean(), atol=1e-12)


def test_the_discriminators_loss_is_the_librarys() -> None:
    real, fake = logits(50, 0), logits(40, 1)
    bce = F.binary_cross_entropy_with_logits
    theirs = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    assert torch.allclose(gan.discriminator_loss(real, fake), theirs, atol=1e-12)
    assert torch.allclose(gan.non_saturating_loss(fake), bce(fake, torch.ones_like(fake)), atol=1e-12)


def test_gradients_by_hand_equal_autograd() -> None:
    v = logits(30, 2).requires_grad_()
    d = v.detach().sigmoid()
    by_hand = {gan.saturating_loss: -d, gan.non_saturating_loss: d - 1}
    for loss, each in by_hand.items():
        (gradient,) = torch.autograd.grad(loss(v), v)
        assert torch.allclose(gradient, each / len(v), atol=1e-14)
    real = logits(30, 3).requires_grad_()
    for_real, for_fake = torch.autograd.grad(gan.discriminator_loss(real, v), (real, v))
    assert torch.allclose(for_real, (real.detach().sigmoid() - 1) / 30) and torch.allclose(for_fake, d / 30)


def test_losses_stay_finite_where_the_discriminator_is_sure() -> None:
    sure = torch.tensor([-200.0, 200.0])
    for loss in (gan.saturating_loss, gan.non_saturating_loss):
        assert loss(sure).isfinite()
    assert gan.non_saturating_loss(sure).item() == pytest.approx(100)
    assert gan.value(sure, sure).item() == pytest.approx(-200)


def test_at_rest_the_losses_are_those_of_a_coin() -> None:
    zero = torch.zeros(7)
    assert gan.discriminator_loss(zero, zero).item() == pytest.approx(math.log(4))
    assert gan.non_saturating_loss(zero).item() == pytest.approx(math.log(2))


def test_gradient_penalty_of_a_known_discriminator() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    x = torch.randn(9, 2, dtype=torch.float64, generator=seeded())
    quadratic = lambda x: ((x @ weight) * x).sum(1)  # noqa: E731  # its gradient is (W + W') x
    found = gan.gradient_penalty(quadratic, x)
    by_hand = (x @ (weight + weight.T)).square().sum(1).mean()
    assert torch.allclose(found, by_hand, atol=1e-12)
    ours, theirs = (torch.autograd.grad(one, weight)[0] for one in (found, by_hand))
    assert torch.allclose(ours, theirs, atol=1e-12) and ours.abs().max() > 1, "the penalty must reach the weights"


@pytest.mark.parametrize("kind", SMALL)
def test_gradient_penalty_equals_finite_differences(kind: str) -> None:
    discriminator = gan.pair(SMALL[kind], 0)[1].double()
    x = torch.randn(3, *SMALL[kind].shape, dtype=torch.float64, generator=seeded())
    total, h = 0.0, 1e-5
    with torch.no_grad():
        for where in range(x[0].numel()):
            step = torch.zeros(x[0].numel(), dtype=torch.float64)
            step[where] = h
            step = step.view_as(x[0])
            total += ((discriminator(x + step) - discriminator(x - step)) / (2 * h)).square().mean()
    assert gan.gradient_penalty(discriminator, x).item() == pytest.approx(float(total), rel=1e-4)


# ----------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("n", [1, 5])
def test_shapes_and_each_input_by_itself(kind: str, n: int) -> None:
    config = SMALL[kind]
    generator, discriminator = (model.double() for model in gan.pair(config, 0))
    z = torch.randn(n, config.latents, dtype=torch.float64, generator=seeded())
    x = generator(z)
    assert x.shape == (n, *config.shape) and discriminator(x).shape == (n,)
    assert len(config.shape) == 1 or x.abs().max() < 1
    assert torch.allclose(generator(z[-1:]), x[-1:], atol=1e-12)
    assert torch.allclose(discriminator(x[-1:]), discriminator(x)[-1:], atol=1e-12)
    assert generator.draw(n, seeded()).shape == x.shape


def test_points_may_lie_anywhere() -> None:
    generator = GANGenerator(SMALL["points"])
    assert generator(1000 * torch.ones(1, 3)).abs().max() > 1


@pytest.mark.parametrize("kind", SMALL)
def test_every_parameter_of_both_takes_part(kind: str) -> None:
    generator, discriminator = gan.pair(SMALL[kind], 0)
    x = torch.rand(6, *SMALL[kind].shape, generator=seeded())
    fake = generator.draw(6, seeded())
    gan.discriminator_loss(discriminator(x), discriminator(fake.detach())).backward()
    assert all(p.grad is None for p in generator.parameters())
    # the last bias shifts real and fake logits alike, so its gradient may be tiny, but not absent
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in discriminator.parameters())
    gan.non_saturating_loss(discriminator(fake)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())


def game(seed: int, steps: int, loss_of_generator=gan.non_saturating_loss) -> tuple[GANGenerator, list[float]]:
    """A few steps on one Gaussian at (3, 0); the distance of the samples' mean to it before and after."""
    generator, discriminator = gan.pair(GANConfig(hidden=(32,), latents=2), seed)
    random, target = seeded(seed), torch.tensor([3.0, 0.0])
    optimisers = [torch.optim.Adam(one.parameters(), 5e-3, betas=(0.5, 0.9)) for one in (discriminator, generator)]
    off = []
    for _ in range(steps):
        real, fake = target + 0.5 * torch.randn(64, 2, generator=random), generator.draw(64, random)
        off.append((fake.mean(0) - target).norm().item())
        loss = gan.discriminator_loss(discriminator(real), discriminator(fake.detach()))
        loss = loss + 0.5 * gan.gradient_penalty(discriminator, real)
        optimisers[0].zero_grad()
        loss.backward()
        optimisers[0].step()
        optimisers[1].zero_grad()
        loss_of_generator(discriminator(fake)).backward()
        optimisers[1].step()
    return generator, off


def test_the_game_finds_a_gaussian_and_with_the_wrong_sign_flees() -> None:
    off = game(0, 150)[1]
    assert off[-1] < 0.3 * off[0]
    fled = game(0, 150, lambda fake: -gan.non_saturating_loss(fake))[1]
    assert fled[-1] > fled[0]


def test_a_seed_gives_the_same_game_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    one, other, third = game(1, 5)[0], game(1, 5)[0], game(2, 5)[0]
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(one.parameters(), other.parameters(), third.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs) and not any(torch.equal(a, c) for a, _, c in pairs)
    assert not torch.equal(one.draw(3, seeded(0)), one.draw(3, seeded(1)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape": (3, 3)}, r"the shape \(P,\) of points or \(C, H, W\)"),
        ({"shape": ()}, "the shape"),
        ({"latents": 0}, "at least one latent"),
        ({"shape": (1, 8, 8), "channels": (4, 4, 4, 4)}, "halved 4 times"),
        ({"shape": (2,), "channels": (4,)}, "Convolutions need pictures"),
    ],
)
def test_configs_that_cannot_be(changed: dict, words: str) -> None:
    with pytest.raises(CourseError, match=words):
        GANConfig(**changed)


def test_defaults() -> None:
    assert GANGenerator().draw(2, seeded()).shape == (2, 2) and Discriminator()(torch.zeros(4, 2)).shape == (4,)
    assert GANGenerator().double().draw(2, seeded()).dtype == torch.float64


# ------------------------------------------------------------------------------------------------------- ring and modes


def test_the_ring_is_eight_gaussians() -> None:
    middles = centres()
    assert middles.shape == (MODES, 2) and torch.allclose(middles.norm(dim=1), torch.full((MODES,), RADIUS))
    assert torch.allclose(middles[0], torch.tensor([RADIUS, 0.0])) and middles[1, 1] > 0
    points = ring(40_000, seeded())
    off, nearest = torch.cdist(points, middles).min(1)
    shares = torch.bincount(nearest, minlength=MODES) / len(points)
    assert ((shares - 1 / MODES).abs() < 4 * (1 / 8 * 7 / 8 / 40_000) ** 0.5).all()
    assert off.square().mean().div(2).sqrt().item() == pytest.approx(SIGMA, rel=0.02)  # two coordinates
    assert torch.equal(ring(5, seeded(3)), ring(5, seeded(3))) and not torch.equal(
        ring(5, seeded(3)), ring(5, seeded(4))
    )


def test_modes_are_counted_with_their_least_share() -> None:
    middles = centres()
    # 90 at the first mode, 9 at the second, 1 at the third, and 100 in the middle, near none
    points = torch.cat([middles[0].expand(90, 2), middles[1].expand(9, 2), middles[2:3], torch.zeros(100, 2)])
    found = modes(points, middles, 0.1, least=0.01)
    assert found.covered == 2 and found.near == pytest.approx(0.5)
    assert torch.allclose(found.shares, torch.tensor([0.45, 0.045, 0.005, 0, 0, 0, 0, 0]))
    assert modes(points, middles, 0.1, least=0.005).covered == 3
    assert modes(points, middles, 2.0).near == pytest.approx(1.0)
    alone = modes(middles[:1], middles, 0.1)
    assert alone.covered == 1 and alone.near == 1.0
    assert modes(torch.zeros(1, 2), middles, 0.1).covered == 0
    real = modes(ring(10_000, seeded()), middles, 3 * SIGMA)
    assert real.covered == MODES and real.near == pytest.approx(1 - math.exp(-4.5), abs=0.005)  # two dimensions: 98.9 %


# ------------------------------------------------------------------------------------------------------------- drifting


def smoothed_score(x: Tensor, points: Tensor, width: float) -> Tensor:
    """The gradient of log of the mean of N(x; y, width²) over points y, by autograd."""
    x = x.clone().requires_grad_()
    squares = (x[:, None] - points).square().sum(-1)
    log_density = torch.logsumexp(-squares / (2 * width**2), 1)
    return torch.autograd.grad(log_density.sum(), x)[0]


@pytest.mark.parametrize("width", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_the_drift_is_a_difference_of_smoothed_scores(width: float, dims: int) -> None:
    x, data, samples = (torch.randn(n, dims, dtype=torch.float64, generator=seeded(n)) for n in (7, 30, 20))
    found = drifting.drift(x, data + 1, samples, width)
    scores = smoothed_score(x, data + 1, width) - smoothed_score(x, samples, width)
    assert torch.allclose(found, width**2 * scores, atol=1e-12)
    assert torch.allclose(found, -drifting.drift(x, samples, data + 1, width), atol=1e-14)
    assert drifting.drift(x, data, data.flip(0), width).abs().max() < 1e-14


def test_the_drift_of_gaussians_is_known() -> None:
    """p = N(1, 1), q = N(0, 4) smoothed by 0.5²: the scores are linear."""
    n, width = 200_000, 0.5
    data = 1 + torch.randn(n, 1, dtype=torch.float64, generator=seeded(0))
    samples = 2 * torch.randn(n, 1, dtype=torch.float64, generator=seeded(1))
    x = torch.tensor([[-0.5], [0.0], [1.5]], dtype=torch.float64)
    exact = width**2 * (-(x - 1) / (1 + width**2) + x / (4 + width**2))
    assert torch.allclose(drifting.drift(x, data, samples, width), exact, atol=0.01)


def test_the_drifting_loss_moves_samples_along_the_drift() -> None:
    x, data, samples = (torch.randn(n, 2, dtype=torch.float64, generator=seeded(n)) for n in (6, 30, 20))
    x.requires_grad_()
    loss = drifting.drifting_loss(x, data, samples, 0.7)
    moved = drifting.drift(x.detach(), data, samples, 0.7)
    assert torch.allclose(loss, moved.square().mean())
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.allclose(gradient, -2 * moved / x.numel(), atol=1e-14)
    assert drifting.drift(x[:1].detach(), data, samples, 0.7).shape == (1, 2)
