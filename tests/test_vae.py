"""Variational autoencoders against known answers, in float64; the worlds `digits` and `mnist`; the explorer."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from course_utils import show
from course_utils.common import CourseError
from course_utils.models import vae
from course_utils.models.vae import VAE, VAEConfig
from course_utils.worlds import classics
from course_utils.worlds.classics import mnist
from course_utils.worlds.digits import digits

SMALL = {
    "mlp": VAEConfig(shape=(1, 8, 8), latents=3, hidden=(16,)),
    "linear": VAEConfig(shape=(1, 8, 8), latents=3, hidden=(), decoder="gaussian", sigma=0.5),
    "conv": VAEConfig(shape=(3, 16, 16), latents=5, channels=(4, 8), decoder="gaussian"),
    "mnist": VAEConfig(shape=(1, 28, 28), latents=2, channels=(4, 8)),
}


def pictures(config: VAEConfig, n: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random pictures in the range of a config's decoder."""
    low, high = vae.RANGES[config.decoder]
    return low + (high - low) * torch.rand(n, *config.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------------------------------- identities


def test_kl_equals_the_library() -> None:
    mean, log_variance = torch.randn(2, 50, 4, dtype=torch.float64)
    mine = vae.kl_to_prior(mean, log_variance)
    theirs = kl_divergence(
        Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    )
    assert torch.allclose(mine, theirs, atol=1e-12)
    assert vae.kl_to_prior(torch.zeros(3), torch.zeros(3)).abs().max() == 0


def test_log_densities_equal_the_library() -> None:
    x, logits = pictures(SMALL["mlp"]), torch.randn(6, 1, 8, 8, dtype=torch.float64)
    ink = (x > 0.5).double()
    theirs = Bernoulli(logits=logits).log_prob(ink).flatten(1).sum(1)
    assert torch.allclose(vae.bernoulli_log_likelihood(logits, ink), theirs, atol=1e-10)
    signed, log_sigma = 2 * x - 1, torch.tensor(-1.3, dtype=torch.float64)
    theirs = Normal(logits, log_sigma.exp()).log_prob(signed).flatten(1).sum(1)
    assert torch.allclose(vae.gaussian_log_likelihood(logits, log_sigma, signed), theirs, atol=1e-10)
    theirs = Normal(logits, 2.0).log_prob(x)
    assert torch.allclose(vae.normal_log_density(x, logits, math.log(4.0)), theirs, atol=1e-12)


def known_answer(latents: int = 3, sigma: float = 0.5) -> tuple[VAE, Tensor, Tensor]:
    """A linear Gaussian VAE whose encoder misses the posterior, pictures of its world, and their exact log p(x)."""
    model = VAE(VAEConfig(shape=(1, 4, 4), latents=latents, hidden=(), decoder="gaussian", sigma=sigma)).double()
    weight, offset = model.decoder[0][0].weight, model.decoder[0][0].bias
    with torch.no_grad():
        weight.mul_(0.2), offset.mul_(0.1)  # so that pictures stay in [-1, 1]
        exact = torch.exp(2 * model.log_sigma)
        x = (torch.randn(8, latents, dtype=torch.float64) @ weight.T + offset + 0.1 * torch.randn(8, 16)).clamp(-1, 1)
        covariance = weight @ weight.T + exact * torch.eye(16, dtype=torch.float64)
        log_p = MultivariateNormal(offset, covariance).log_prob(x)
    return model, x.view(8, 1, 4, 4), log_p


@torch.no_grad()
def test_elbo_below_importance_bound_below_the_truth() -> None:
    model, x, log_p = known_answer()
    noise = torch.randn(100_000, 8, 3, dtype=torch.float64)
    bounds = [vae.elbo(model, x, noise=noise)[0]]
    log_w = vae.log_weights(model, x, noise)
    for k in (5, 50, 500):
        bounds.append(log_w.view(-1, k, 8).logsumexp(1).sub(math.log(k)).mean(0))
    bounds.append(log_p)
    for lower, higher in pairwise(bounds):
        assert (lower <= higher + 0.01).all()
    assert (bounds[0] < log_p - 0.02).all(), "the encoder was meant to miss"
    assert torch.allclose(vae.importance_bound(model, x, noise=noise), log_p, atol=0.02)


@torch.no_grad()
def test_with_the_true_posterior_the_bound_is_tight() -> None:
    model, x, log_p = known_answer(latents=1)  # one latent: the posterior is in the encoder's family
    weight, offset, variance = model.decoder[0][0].weight, model.decoder[0][0].bias, (2 * model.log_sigma).exp()
    shrunk = variance / (weight.square().sum() + variance)
    head = model.encoder[1][0]
    head.weight.copy_(torch.cat([shrunk / variance * weight.T, torch.zeros(1, 16)]))
    head.bias.copy_(torch.stack([-(head.weight[0] @ offset), shrunk.log()]))
    noise = torch.randn(7, 8, 1, dtype=torch.float64)
    assert torch.allclose(vae.log_weights(model, x, noise), log_p.expand(7, -1), atol=1e-10)  # every weight is p(x)
    assert torch.allclose(vae.importance_bound(model, x, noise=noise), log_p, atol=1e-10)


@pytest.mark.parametrize("kind", SMALL)
@torch.no_grad()
def test_one_importance_sample_is_the_elbo_on_average(kind: str) -> None:
    model, x = VAE(SMALL[kind]).double(), pictures(SMALL[kind], 2)
    noise = torch.randn(400, 2, SMALL[kind].latents, dtype=torch.float64)
    log_w, bound = vae.log_weights(model, x, noise), vae.elbo(model, x, noise=noise)[0]
    drawn = vae.elbo(model, x, noise=noise)[1]["reconstruction"] - log_w.mean(0)  # the rate, by drawing
    rate = vae.elbo(model, x, noise=noise)[1]["kl"].sum(-1)
    assert ((drawn - rate).abs() < 0.25).all() and torch.allclose(bound, log_w.mean(0) + drawn - rate)


@torch.no_grad()
def test_beta_is_the_variance_of_a_gaussian_decoder() -> None:
    beta, one = 3.0, VAE(SMALL["linear"]).double()
    other = VAE(SMALL["linear"]).double()
    other.load_state_dict({**one.state_dict(), "log_sigma": one.log_sigma + 0.5 * math.log(beta)})
    x, noise = pictures(SMALL["linear"]), torch.randn(4, 6, 3, dtype=torch.float64)
    difference = vae.elbo(one, x, beta=beta, noise=noise)[0] - beta * vae.elbo(other, x, noise=noise)[0]
    assert difference.std() < 1e-10 and difference.abs().min() > 1


@pytest.mark.parametrize("kind", SMALL)
def test_gradients_equal_finite_differences(kind: str) -> None:
    model, x = VAE(SMALL[kind]).double(), pictures(SMALL[kind], 3)
    noise = torch.randn(2, 3, SMALL[kind].latents, dtype=torch.float64)
    for loss in (
        lambda: vae.elbo(model, x, beta=2.0, noise=noise)[0].mean(),
        lambda: vae.importance_bound(model, x, noise=noise).mean(),
    ):
        model.zero_grad()
        loss().backward()
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            flat, gradient = parameter.data.view(-1), parameter.grad
            assert gradient is not None, name
            where, h, values = int(gradient.abs().argmax()), 1e-6, []
            with torch.no_grad():
                for side in (1, -1):
                    flat[where] += side * h
                    values.append(loss().item())
                    flat[where] -= side * h
            finite = (values[0] - values[1]) / (2 * h)
            assert gradient.view(-1)[where].item() == pytest.approx(finite, rel=1e-4, abs=1e-5), name


@torch.no_grad()
def test_a_grey_picture_is_the_average_of_black_and_white_ones() -> None:
    model, x = VAE(SMALL["mlp"]).double(), pictures(SMALL["mlp"], 1)
    z = torch.randn(1, 3, dtype=torch.float64)
    coins = (torch.rand(20_000, 1, 8, 8, dtype=torch.float64) < x).double()
    drawn = model.log_likelihood(coins, z)
    assert abs(drawn.mean() - model.log_likelihood(x, z)) < 4 * drawn.std() / len(coins) ** 0.5


# ------------------------------------------------------------------------------------------------- shapes, ranges, learning


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("n", [1, 5])
def test_shapes_and_each_picture_by_itself(kind: str, n: int) -> None:
    config = SMALL[kind]
    model, x = VAE(config).double(), pictures(config, n)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (n, config.latents)
    assert model.decode(mean).shape == x.shape
    shown = model.pictures(torch.randn(2, n, config.latents, dtype=torch.float64))
    assert shown.shape == (2, *x.shape) and shown.min() >= 0 and shown.max() <= 1
    noise = torch.randn(4, n, config.latents, dtype=torch.float64)
    bound, parts = vae.elbo(model, x, noise=noise)
    assert bound.shape == parts["reconstruction"].shape == (n,) and parts["kl"].shape == (n, config.latents)
    assert vae.importance_bound(model, x, noise=noise).shape == (n,)
    alone = vae.elbo(model, x[-1:], noise=noise[:, -1:])[0]
    assert torch.allclose(alone, bound[-1:], atol=1e-10)


@pytest.mark.parametrize("kind", SMALL)
def test_the_loss_falls_and_every_parameter_takes_part(kind: str) -> None:
    config = SMALL[kind]
    model, x = VAE(config), pictures(config, 16, torch.float32)
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(40):
        optimiser.zero_grad()
        loss, details = vae.vae_loss(model, x)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
    assert set(details) == {"reconstruction", "kl"} and not any(value.requires_grad for value in details.values())
    silent = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum())]
    assert not silent
    assert vae.importance_loss(model, x, 3)[0].isfinite()


def test_loss_is_minus_the_mean_bound() -> None:
    model, x = VAE(SMALL["mlp"]).double(), pictures(SMALL["mlp"])
    torch.manual_seed(3)
    loss, details = vae.vae_loss(model, x, beta=4.0)
    torch.manual_seed(3)
    assert loss == -vae.elbo(model, x, beta=4.0)[0].mean()
    assert torch.allclose(loss, 4 * details["kl"] - details["reconstruction"])


def test_decoders_refuse_the_wrong_range() -> None:
    model = VAE(SMALL["mlp"])
    with pytest.raises(CourseError, match=r"explains pixels in \[0, 1\]; .* take \(images \+ 1\) / 2"):
        vae.vae_loss(model, 2 * pictures(SMALL["mlp"], dtype=torch.float32) - 1)
    with pytest.raises(CourseError, match=r"gaussian decoder explains pixels in \[-1, 1\]; these go from 0 to 255"):
        vae.check_range(torch.tensor([0.0, 255.0]), "gaussian")
    with pytest.raises(CourseError, match="nan"):
        vae.check_range(torch.tensor([math.nan]), "bernoulli")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape": (1, 28, 28), "channels": (4, 4, 4)}, "28x28 cannot be halved 3 times"),
        ({"decoder": "poisson"}, "must be one of bernoulli, gaussian"),
        ({"latents": 0}, "at least one latent"),
        ({"sigma": 0.0}, "a sigma above 0"),
    ],
)
def test_configs_that_cannot_be(changed: dict, words: str) -> None:
    with pytest.raises(CourseError, match=words):
        VAEConfig(**changed)


def test_sigma_is_learned_only_where_it_means_something() -> None:
    learned = {kind: VAE(config).log_sigma.requires_grad for kind, config in SMALL.items()}
    assert learned == {"mlp": False, "linear": False, "conv": True, "mnist": False}
    assert VAE(SMALL["linear"]).log_sigma.exp().item() == pytest.approx(0.5)


def test_a_silent_latent_is_seen() -> None:
    model, x = VAE(SMALL["mlp"]).double(), pictures(SMALL["mlp"], 50)
    head = model.encoder[-1][-1]
    with torch.no_grad():
        head.weight.mul_(10)
        for row in (1, 4):  # mean and log-variance of the second latent
            head.weight[row], head.bias[row] = 0.0, 0.0
    assert vae.active_units(model, x).tolist() == [True, False, True]
    said = vae.kl_per_latent(model, x)
    assert said[1] == 0 and said[0] > 0 and said[2] > 0


# ------------------------------------------------------------------------------------------------------------------ worlds


def test_digits() -> None:
    train, test, everything = (digits(split) for split in ("train", "test", "all"))
    assert train.images.shape == (1438, 1, 8, 8) and test.images.shape == (359, 1, 8, 8)
    assert len(everything.labels) == 1797 and everything.images.dtype == torch.float32
    assert everything.images.min() == 0 and everything.images.max() == 1
    assert (everything.images * 16 % 1 == 0).all()
    assert torch.equal(test.images, everything.images[4::5]) and torch.equal(test.labels, everything.labels[4::5])
    for part in (train, test):
        assert torch.bincount(part.labels, minlength=10).min() > 0.05 * len(part.labels)
    with pytest.raises(CourseError, match="no split 'valid'"):
        digits("valid")


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the format of MNIST's files."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def small_mnist(folder: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    originals = {}
    for part, n in (("train", 6), ("t10k", 4)):
        images = np.arange(n)[:, None, None] * 20 + np.zeros((n, 28, 28))
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(n))):
            data, path = idx(array), raw / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
            originals[f"{part}-{name}-ubyte"] = hashlib.md5(data).hexdigest()
    monkeypatch.setitem(classics.ORIGINALS, "mnist", originals)


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_from_the_readers_folder(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_mnist(tmp_path / "mine", packed, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    for _ in range(2):  # the second time what was unpacked is there
        train, test = mnist("train", n=5), mnist("test")
        assert train.images.shape == (5, 1, 28, 28) and test.images.shape == (4, 1, 28, 28)
        assert train.labels.tolist() == [0, 1, 2, 3, 4] and train.labels.dtype == torch.int64
        assert torch.allclose(train.images[:, 0, 0, 0], torch.arange(5) * 20 / 255)
    assert (tmp_path / "home").exists() == packed
    assert [path for path in sorted(tmp_path.rglob("*")) if "home" not in path.parts[len(tmp_path.parts) :]] == before


def test_mnist_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(
        CourseError, match="set the environment variable COURSE_DATA to the folder that holds MNIST/raw"
    ):
        mnist()
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(CourseError, match="run `python -m course_utils fetch mnist`"):
        mnist()
    with pytest.raises(CourseError, match="no split 'valid'"):
        mnist("valid")
    small_mnist(tmp_path, True, monkeypatch)
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.rename(path.with_name("mislaid"))
    with pytest.raises(CourseError, match=r"has no MNIST/raw/t10k-images-idx3-ubyte and no \.gz of it"):
        mnist()
    path.write_bytes(path.with_name("mislaid").read_bytes()[:-20])
    with pytest.raises(CourseError, match=r"t10k-images-idx3-ubyte\.gz cannot be unpacked"):
        mnist()


def test_the_real_mnist() -> None:
    if not os.environ.get("COURSE_DATA"):
        pytest.skip("COURSE_DATA names no folder with MNIST/raw")
    train, test = mnist("train"), mnist("test")
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert abs(train.images.mean().item() - 0.1307) < 1e-4
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


# ---------------------------------------------------------------------------------------------------------------- explorer


def test_the_explorer_follows_its_sliders() -> None:
    asked = []

    def draw(a: float, b: float) -> Tensor:
        asked.append((round(a, 3), round(b, 3)))
        return torch.full((2, 1, 8, 8), 0.5)

    box = show.explore(draw, {"a": (-1, 1), "b": (0, 4)}, alt="two grey squares")
    sliders, picture = box.children[0].children, box.children[1]
    assert asked == [(0.0, 2.0)] and picture.value.count("<img") == 2
    sliders[0].value = 0.5
    assert asked[-1] == (0.5, 2.0) and "two grey squares (a = 0.50, b = 2.00)" in picture.value
    for ranges, alt in (({}, "x"), ({"a": (1, 1)}, "x"), ({"a": (0, 1)}, " ")):
        with pytest.raises(CourseError, match="explore needs"):
            show.explore(draw, ranges, alt=alt)
