"""Lesson 16's pieces: parametrisations, exact mixtures, orders of the solvers, the U-Net, and agreement with diffusers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.generators.flow import SOLVERS, euler, heun
from course_utils.generators.parametrisation import KINDS, convert, from_diffusion, road_scale, straight_time
from course_utils.models.unet import UNet, UNetConfig
from course_utils.worlds.mixture import Mixture

HILLS = Mixture(torch.tensor([[-1.0], [1.0]], dtype=torch.float64), 0.5)
PLANE = Mixture(torch.tensor([[1.0, 0.3], [-0.8, 0.9], [0.2, -1.1]], dtype=torch.float64), 0.3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------------------------------------------- parametrisations


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
def test_answers_go_there_and_back(source, target) -> None:
    """For pictures and for points, at times of every size."""
    for shape in ((64, 2), (64, 3, 4, 4)):
        x, value = normal(*shape), normal(*shape, seed=1)
        t = torch.linspace(0.01, 0.99, 64, dtype=torch.float64)
        there = convert(value, x, t, source, target)
        torch.testing.assert_close(convert(there, x, t, target, source), value, rtol=0, atol=1e-10)
        assert source == target or not torch.allclose(there, value)


def test_the_definitions_hold_for_one_line() -> None:
    data, noise = normal(8, 2), normal(8, 2, seed=1)
    t = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    at = t[:, None]
    x = at * data + (1 - at) * noise
    says = {"data": data, "noise": noise, "velocity": data - noise, "score": -noise / (1 - at)}
    for source, target in itertools.product(KINDS, KINDS):
        torch.testing.assert_close(convert(says[source], x, t, source, target), says[target], rtol=0, atol=1e-12)


def test_denominators_are_held_at_the_floor() -> None:
    x, value, one, zero = normal(1, 2), normal(1, 2, seed=1), torch.ones(1).double(), torch.zeros(1).double()
    assert not convert(value, x, one, "data", "velocity").isfinite().any()
    torch.testing.assert_close(convert(value, x, one, "data", "velocity", 0.05), (value - x) / 0.05)
    torch.testing.assert_close(convert(value, x, zero, "noise", "velocity", 0.05), (x - value) / 0.05)


def test_an_unknown_answer_is_named() -> None:
    with pytest.raises(CourseError, match="no answer of the kind 'epsilon'; choose from data, noise"):
        convert(normal(1, 2), normal(1, 2), torch.ones(1), "epsilon", "data")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ the exact velocity


@pytest.mark.parametrize("world", [HILLS, PLANE], ids=["one number", "a plane"])
@pytest.mark.parametrize("t_now", [0.05, 0.4, 0.9])
def test_the_exact_velocity_keeps_the_continuity_equation(world: Mixture, t_now: float) -> None:
    """∂p/∂t + ∇·(p u) = 0 at each of many places, by automatic derivatives."""
    x = (1.5 * normal(50, world.means.shape[1])).requires_grad_()
    t = torch.full((50,), t_now, dtype=torch.float64, requires_grad=True)
    p = world.log_density(x, t).exp()
    (growth,) = torch.autograd.grad(p.sum(), t, create_graph=True)
    flow = p[:, None] * world.velocity(x, t)
    divergence = sum(torch.autograd.grad(flow[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1]))
    assert growth.abs().max() > 1e-3
    torch.testing.assert_close(growth + divergence, torch.zeros_like(growth), rtol=0, atol=1e-12)


def test_the_exact_answers_are_one_answer() -> None:
    x, t = normal(40, 2).requires_grad_(), torch.linspace(0.05, 0.95, 40, dtype=torch.float64)
    (score,) = torch.autograd.grad(PLANE.log_density(x, t).sum(), x)
    torch.testing.assert_close(PLANE.score(x, t), score, rtol=0, atol=1e-11)
    velocity = PLANE.velocity(x, t)
    torch.testing.assert_close(convert(velocity, x, t, "velocity", "score"), score, rtol=0, atol=1e-11)
    torch.testing.assert_close(convert(velocity, x, t, "velocity", "data"), PLANE.data(x, t), rtol=0, atol=1e-12)


def test_the_exact_velocity_is_the_mean_over_the_lines_that_pass() -> None:
    g = torch.Generator().manual_seed(3)
    data = HILLS.sample(1_000_000, g)
    noise = torch.randn(data.shape, generator=g, dtype=torch.float64)
    passing = ((0.6 * noise + 0.4 * data) - 0.5).abs() < 0.01
    found, wanted = (data - noise)[passing], HILLS.velocity(torch.tensor([[0.5]]).double(), 0.4)
    assert abs(found.mean() - wanted) < 4 * found.std() / len(found) ** 0.5


def test_the_crowd_arrives_as_the_data() -> None:
    """In one dimension the place within the crowd, the cumulative distribution, stays the same along a path."""
    start = normal(500, 1)
    end = heun(HILLS.velocity, start, 400)
    share = lambda x, mean, sigma: torch.special.ndtr((x - mean) / sigma)  # noqa: E731
    arrived = (share(end, -1, 0.5) + share(end, 1, 0.5)) / 2
    torch.testing.assert_close(arrived, torch.special.ndtr(start), rtol=0, atol=1e-5)


# --------------------------------------------------------------------------------------------------------- the solvers


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_a_solver_has_its_order(name: str, order: int) -> None:
    solve, _ = SOLVERS[name]
    start = normal(200, 1)
    exact, counts = heun(HILLS.velocity, start, 4096), [64, 128, 256, 512]
    errors = [(solve(HILLS.velocity, start, n) - exact).square().mean().sqrt().log2().item() for n in counts]
    slopes = [a - b for a, b in itertools.pairwise(errors)]
    assert all(abs(slope - order) < 0.1 for slope in slopes), slopes


def test_steps_may_be_times() -> None:
    start, times = normal(20, 1), torch.linspace(0, 1, 9)
    for solve, _ in SOLVERS.values():
        torch.testing.assert_close(solve(HILLS.velocity, start, 8), solve(HILLS.velocity, start, times))
    part = euler(HILLS.velocity, start, times[:4])
    torch.testing.assert_close(euler(HILLS.velocity, part, times[3:]), euler(HILLS.velocity, start, 8))


def test_a_learned_velocity_comes_near_the_exact_one() -> None:
    """A small network on lines alone: it is far nearer to the exact velocity than the lines are."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU())
    net.append(torch.nn.Linear(64, 1))
    optimiser, world = torch.optim.Adam(net.parameters(), 1e-2), Mixture(HILLS.means.float(), 0.5)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, 1200)
    for _ in range(1200):
        data, t = world.sample(512), torch.rand(512, 1)
        noise = torch.randn(512, 1)
        loss = (net(torch.cat([t * data + (1 - t) * noise, t], 1)) - (data - noise)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    with torch.no_grad():
        data, noise, t = world.sample(4000), torch.randn(4000, 1), torch.rand(4000, 1)
        x = t * data + (1 - t) * noise
        learned, exact = net(torch.cat([x, t], 1)), world.velocity(x, t)
    assert (learned - exact).square().mean() < 0.03 < 1.5 < (exact - (data - noise)).square().mean()


# ---------------------------------------------------------------------------------------------------------- the U-Net


def test_the_u_net_answers_with_pictures_and_starts_at_zero() -> None:
    net = UNet(UNetConfig(channels=3, widths=(8, 16, 24))).double()
    x, t = normal(2, 3, 16, 16), torch.tensor([0.1, 0.8]).double()
    assert net(x, t).shape == x.shape and not net(x, t).any()
    torch.nn.init.normal_(net.last.weight)
    both = net(x, t)
    torch.testing.assert_close(net(x[:1], t[:1]), both[:1])
    assert not torch.allclose(net(x, t.flip(0)), both)


def test_the_u_net_trains_in_all_its_parts() -> None:
    net = UNet()
    torch.nn.init.normal_(net.last.weight)
    net(torch.randn(2, 1, 8, 8), torch.rand(2)).square().mean().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


# ----------------------------------------------------------------------------------------------- the roads of others


def alpha_bars(K: int = 1000) -> Tensor:
    """ᾱ_0 = 1 to ᾱ_K of Ho, Jain & Abbeel 2020."""
    return torch.cat([torch.ones(1), 1 - torch.linspace(1e-4, 0.02, K)]).double().cumprod(0)


def test_a_diffusion_model_is_a_scale_and_a_clock_away() -> None:
    found = alpha_bars()
    times, scales = straight_time(found), road_scale(found)
    assert times[0] == 1 and 0 < times[-1] < 0.01 and (times.diff() < 0).all()
    torch.testing.assert_close(scales * times, found.sqrt())
    torch.testing.assert_close(scales * (1 - times), (1 - found).sqrt())
    torch.testing.assert_close(scales.max(), torch.tensor(2**0.5).double(), rtol=0, atol=1e-5)


def exact_noise(y: Tensor, k: int) -> Tensor:
    """What a perfect diffusion model of PLANE says."""
    bar = alpha_bars()[k]
    x, t = y / road_scale(bar), straight_time(bar)
    return convert(PLANE.velocity(x, t), x, t.expand(len(x)), "velocity", "noise")


def test_the_velocity_of_a_diffusion_model_is_that_of_its_data() -> None:
    velocity, x = from_diffusion(exact_noise, alpha_bars()), normal(20, 2)
    for k in (3, 400, 990):
        t = straight_time(alpha_bars())[k]
        torch.testing.assert_close(velocity(x, t.expand(20)), PLANE.velocity(x, t), rtol=0, atol=1e-10)


@pytest.fixture
def diffusers() -> Any:
    return pytest.importorskip("diffusers", reason="diffusers is not installed; it comes with the extra peers")


def test_euler_is_diffusers_flow_matching(diffusers) -> None:
    """Theirs runs from sigma = 1, noise, to 0, and its model says noise minus data."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - k / 20 for k in range(20)])
    start = x = normal(100, 2)
    for step in scheduler.timesteps:
        theirs = -PLANE.velocity(x, 1 - step.item() / 1000)
        x = scheduler.step(theirs, step, x).prev_sample
    # it computes its times in float32
    torch.testing.assert_close(euler(PLANE.velocity, start, 20), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_is_euler_on_the_straight_road(diffusers, steps: int) -> None:
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, beta_schedule="linear")
    scheduler.set_timesteps(steps)
    bars = torch.cat([torch.ones(1).double(), scheduler.alphas_cumprod.double()])
    torch.testing.assert_close(bars, alpha_bars(), rtol=1e-4, atol=0)
    start = y = normal(100, 2)
    for step in scheduler.timesteps:
        y = scheduler.step(exact_noise(y, int(step) + 1), int(step), y).prev_sample
    visited = bars[[*(int(step) + 1 for step in scheduler.timesteps), 0]]
    ours = euler(from_diffusion(exact_noise, bars), start / road_scale(visited[0]), straight_time(visited))
    torch.testing.assert_close(ours, y, rtol=0, atol=2e-3)
    assert (ours - y).square().mean().sqrt() < 1e-4


def test_ddpm_s_step_is_the_posterior(diffusers) -> None:
    """Mean and variance of q(y_{k-1} | y_k, data) by Bayes' rule, against diffusers with one and the same noise."""
    scheduler = diffusers.DDPMScheduler(clip_sample=False, beta_schedule="linear", variance_type="fixed_small")
    k, y, data = 300, normal(5, 2), normal(5, 2, seed=1)
    bars = torch.cat([torch.ones(1).double(), scheduler.alphas_cumprod.double()])
    noise = (y - bars[k].sqrt() * data) / (1 - bars[k]).sqrt()
    got = scheduler.step(noise, k - 1, y, generator=torch.Generator().manual_seed(0)).prev_sample
    alpha = bars[k] / bars[k - 1]
    variance = 1 / (alpha / (1 - alpha) + 1 / (1 - bars[k - 1]))
    mean = variance * (alpha.sqrt() / (1 - alpha) * y + bars[k - 1].sqrt() / (1 - bars[k - 1]) * data)
    drawn = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(mean + variance.sqrt() * drawn, got, rtol=0, atol=1e-5)
    assert math.isclose(variance, (1 - bars[k - 1]) / (1 - bars[k]) * (1 - alpha), rel_tol=1e-9)
