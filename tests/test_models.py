"""The models and their losses: shapes, what must not matter, what must be learned."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import AUTOENCODER, FEATURES, JUDGE, dit, dit_config, tokenizer
from torch import nn

from course_utils.commands.sources import ShapesSource
from course_utils.language.tokenizer import EMPTY, PAD
from course_utils.measure.judge import Judge
from course_utils.measure.judge_data import labels
from course_utils.models.autoencoder import Autoencoder, AutoencoderConfig, autoencoder_loss
from course_utils.models.dit import (
    LABEL_SHARE,
    DiT,
    DiTConfig,
    attention_maps,
    beliefs,
    drop_captions,
    flow_loss,
    label_loss,
    patchify,
    positions,
    time_features,
    unpatchify,
)
from course_utils.models.features import FeatureNetwork, barlow_twins_loss, two_views
from course_utils.models.judge import JudgeConfig, JudgeNetwork, judge_loss, splat
from course_utils.worlds.render import render
from course_utils.worlds.scenes import COLOURS, FILLS, SHAPES, SIZES, scenes


def silent(model: nn.Module) -> list[str]:
    """Parameters that no gradient reaches."""
    return [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def learn(model: nn.Module, loss, batch, steps: int, rate: float = 2e-3) -> list[float]:
    """Losses of so many steps on one batch; the gradients of the last one stay."""
    optimiser = torch.optim.AdamW(model.parameters(), rate)
    model.train()
    found = []
    for _ in range(steps):
        optimiser.zero_grad()
        value = loss(model, batch)[0]
        value.backward()
        optimiser.step()
        found.append(float(value.detach()))
    return found


# ----------------------------------------------------------------------------------------------------------- autoencoder


@pytest.mark.parametrize("size", [16, 32, 64])
def test_pictures_become_latents_and_come_back(size):
    model = Autoencoder(AUTOENCODER).eval()
    images = torch.rand(2, 3, size, size) * 2 - 1
    latents = model.encode(images)
    assert latents.shape == (2, AUTOENCODER.latent_channels, size // 4, size // 4)
    assert model(images).shape == images.shape == model.decode(latents).shape
    assert model(images[:1]).shape == (1, 3, size, size)


def test_latents_have_unit_variance():
    torch.manual_seed(0)
    model = Autoencoder(AUTOENCODER).train()
    images = render(scenes(1, 0, 64)) * 2 - 1
    with torch.no_grad():
        first = model.encode(images)
        assert first.mean((0, 2, 3)).abs().max() < 1e-3 and (first.var((0, 2, 3)) - 1).abs().max() < 0.01
        model.encoder[-1].weight.mul_(20)  # variances far from the one that the running average starts with
        for _ in range(300):
            model.encode(images[:24])
        latents = model.eval().encode(images)
    assert latents.mean((0, 2, 3)).abs().max() < 0.3
    assert latents.var((0, 2, 3)).min() > 0.6 and latents.var((0, 2, 3)).max() < 1.5


def test_noise_on_latents_only_in_training():
    torch.manual_seed(0)
    model = Autoencoder(AUTOENCODER).eval()
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    assert torch.equal(model(images), model(images))
    assert torch.equal(model(images), model.decode(model.encode(images)))
    model.train()
    assert not torch.equal(model(images), model(images))
    quiet = Autoencoder(dataclasses.replace(AUTOENCODER, latent_noise=0.0)).train()
    assert torch.allclose(quiet(images), quiet(images), atol=1e-6)


def test_autoencoder_learns_and_every_parameter_takes_part():
    torch.manual_seed(0)
    model = Autoencoder(AUTOENCODER)
    images = render(scenes(1, 0, 4)) * 2 - 1
    losses = learn(model, autoencoder_loss, images, 25, 5e-3)
    assert losses[-1] < 0.7 * losses[0]
    assert not silent(model)
    value, details = autoencoder_loss(model.eval(), images)
    assert (
        float(value.detach()) == pytest.approx(float((model(images) - images).abs().mean().detach()), rel=1e-5)
        and details["mse"] > 0
    )


def test_what_ships_is_small_enough():
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    assert 2 * (count(DiT(DiTConfig())) + count(Autoencoder(AutoencoderConfig()))) < 10 * 2**20  # bytes in bfloat16
    assert 2 * count(JudgeNetwork(JudgeConfig())) < 2 * 2**20
    assert 2 * count(FeatureNetwork()) < 2**20


# ------------------------------------------------------------------------------------------------------------------- dit


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_are_cut_and_put_back(patch):
    x = torch.randn(2, 3, 8, 8)
    rows = patchify(x, patch)
    assert rows.shape == (2, (8 // patch) ** 2, 3 * patch**2)
    assert torch.equal(unpatchify(rows, patch), x)
    if patch == 2:  # the second patch lies right of the first
        assert torch.equal(rows[0, 1].view(3, 2, 2), x[0, :, 0:2, 2:4])


def test_time_is_told_finely_and_in_float32():
    t = torch.linspace(0, 1, 65)
    features = time_features(t, 256)
    assert features.shape == (65, 256) and features.dtype == time_features(t.bfloat16(), 256).dtype == torch.float32
    gap = torch.cdist(features, features) + 100 * torch.eye(65)
    assert gap.min() > 0.5  # also neighbouring times are well apart
    assert torch.allclose(features[0], torch.cat([torch.ones(128), torch.zeros(128)]))


def inputs(n: int = 3, space: str = "latents") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    config = dit_config(space)
    texts = ["a small red circle", "two blue stars above", "一个大的绿色三角形在左上角", ""] * n
    return torch.randn(n, config.channels, config.size, config.size), torch.rand(n), tokenizer().batch(texts[:n], 48)


@pytest.mark.parametrize(("space", "convolutions"), [("latents", 4), ("latents", 0), ("pixels", 4)])
@torch.no_grad()
def test_a_velocity_for_each_picture_by_itself(space, convolutions):
    model = dit(space, convolutions=convolutions)
    x, t, tokens = inputs(3, space)
    together = model(x, t, tokens)
    assert together.shape == x.shape and together.isfinite().all() and together.std() > 0.01
    for i in range(3):
        assert torch.allclose(model(x[i : i + 1], t[i : i + 1], tokens[i : i + 1])[0], together[i], atol=1e-4)
    wide = torch.nn.functional.pad(tokens, (0, 48 - tokens.shape[1]))
    assert torch.allclose(model(x, t, wide), together, atol=1e-4)  # padding is not heard
    assert torch.allclose(model(x, t, text=model.read(tokens)), together, atol=1e-5)


@torch.no_grad()
def test_time_words_and_place_all_matter():
    model = dit()
    x, t, tokens = inputs(1)
    here = model(x, t, tokens)
    for other in (
        model(x, 1 - t, tokens),
        model(x, t, tokens.flip(1)),
        model(x, t, tokens[:, :2]),
        model(x.flip(2), t, tokens).flip(2),
    ):
        assert (other - here).abs().max() > 1e-3


def test_a_fresh_model_says_nothing():
    """All that steers and all that goes out starts at zero, so the first loss is the variance of the velocity."""
    assert (DiT(dit_config())(*inputs()) == 0).all()


def test_drop_captions_empties_whole_captions():
    tokens = torch.randint(2, 300, (4000, 5))
    kept = drop_captions(tokens, 0.0)
    assert torch.equal(kept, tokens)
    gone = drop_captions(tokens, 1.0)
    assert (gone[:, 0] == EMPTY).all() and (gone[:, 1:] == PAD).all() and torch.equal(tokens, kept)
    torch.manual_seed(0)
    some = drop_captions(tokens, 0.1)
    dropped = (some == gone).all(1)
    assert 0.07 < dropped.float().mean() < 0.13
    assert torch.equal(some[~dropped], tokens[~dropped])


class Oracle(nn.Module):
    """Knows the data, so it knows the velocity: (data - x_t) / (1 - t)."""

    config = SimpleNamespace(drop_caption=0.1)

    def __init__(self, data: torch.Tensor, off: float = 0.0):
        super().__init__()
        self.data, self.off = data, off

    def velocity_and_labels(self, x, t, tokens):
        return (self.data - x) / (1 - t[:, None, None, None]) + self.off, None


def test_the_true_velocity_has_no_loss():
    torch.manual_seed(0)
    batch = {"data": torch.randn(64, 3, 8, 8, dtype=torch.float64), "tokens": torch.ones(64, 2, dtype=torch.int64)}
    assert flow_loss(Oracle(batch["data"]), batch)[0] < 1e-6
    assert float(flow_loss(Oracle(batch["data"], 0.5), batch)[0]) == pytest.approx(0.25, rel=1e-3)


def test_the_first_loss_is_the_variance_of_the_velocity():
    torch.manual_seed(0)
    tokens = inputs()[2][:1].expand(256, -1)
    loss, _ = flow_loss(DiT(dit_config()), {"data": torch.randn(256, 3, 8, 8), "tokens": tokens})
    assert float(loss.detach()) == pytest.approx(2.0, abs=0.05)  # noise and data of variance one each


@pytest.mark.parametrize(("space", "convolutions"), [("latents", 4), ("latents", 0), ("pixels", 4)])
def test_dit_overfits_one_batch_and_every_parameter_takes_part(space, convolutions):
    torch.manual_seed(0)
    model = DiT(dit_config(space, drop_caption=0.0, convolutions=convolutions))
    x, _, tokens = inputs(3, space)
    data = x.mean((2, 3), keepdim=True) * 10 + 0.1 * x  # mostly one tone each: soon learned
    batch = {"data": data.repeat(6, 1, 1, 1), "tokens": tokens.repeat(6, 1)}
    losses = learn(model, flow_loss, batch, 30, 5e-3)
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    assert not silent(model)


def test_words_carry_information_from_the_first_steps_on():
    """Two captions, two constant pictures: only the words can tell which one it will be at t = 0."""
    torch.manual_seed(0)
    model = DiT(dit_config(drop_caption=0.0))
    tokens = tokenizer().batch(["a red circle", "a blue square"], 48).repeat(16, 1)
    data = torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 3, 8, 8).repeat(16, 1, 1, 1)
    learn(model, flow_loss, {"data": data, "tokens": tokens}, 60, 5e-3)
    with torch.no_grad():
        v = model.eval()(torch.randn(2, 3, 8, 8), torch.zeros(2), tokens[:2])
    assert v[0].mean() > 0.4 and v[1].mean() < -0.4


# ----------------------------------------------------------------------------------------------------------------- judge


def test_splat_sums_to_one_and_its_centre_of_mass_is_the_centre():
    torch.manual_seed(0)
    centre = 0.05 + 0.9 * torch.rand(50, 3, 2, dtype=torch.float64)
    centre[0] = torch.tensor([[0.5, 0.5], [1.5 / 16, 0.5 / 16], [0.25, 0.6]])  # between cells and exactly on one
    weights = splat(centre, 16)
    assert weights.shape == (50, 3, 256) and (weights >= 0).all()
    assert torch.allclose(weights.sum(-1), torch.ones(50, 3, dtype=torch.float64))
    assert ((weights > 0).sum(-1) <= 4).all()
    ticks = (torch.arange(16) + 0.5) / 16
    grid = weights.view(50, 3, 16, 16)
    assert torch.allclose((grid.sum(2) * ticks).sum(-1), centre[..., 0])
    assert torch.allclose((grid.sum(3) * ticks).sum(-1), centre[..., 1])


def test_judge_overfits_eight_pictures_and_reads_them_back():
    torch.manual_seed(0)
    batch = scenes(3, 0, 8)
    images = render(batch)
    network = JudgeNetwork(JUDGE)
    losses = learn(network, judge_loss, {"images": images, **labels(batch)}, 100, 5e-3)
    assert losses[-1] < 0.2 * losses[0]
    assert not silent(network)
    for module in network.modules():  # the running statistics of the norms follow slowly: take those of these pictures
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(images)
    readings = Judge(network, certain=0.0).read(images)
    assert all(r.shows(s) for r, s in zip(readings, batch.scenes, strict=True))


class Said(nn.Module):
    """A network that says what it is told to."""

    config = JUDGE

    def __init__(self, cells: torch.Tensor, whole: torch.Tensor):
        super().__init__()
        self.cells, self.whole = nn.Parameter(cells), nn.Parameter(whole)

    def forward(self, images):
        return self.cells, self.whole


def test_of_what_is_no_scene_only_this_is_asked():
    torch.manual_seed(0)
    batch = labels(scenes(3, 0, 6))
    batch["valid"][3:], batch["sound"][3:], batch["attributes"][3:] = 0, -1, -1
    network = Said(torch.randn(6, 23, 16, 16), torch.randn(6, 6))
    total, parts = judge_loss(network, {"images": torch.zeros(6, 3, 32, 32), **batch})
    total.backward()
    assert network.cells.grad[3:].abs().max() == 0 and network.cells.grad[:3].abs().sum() > 0
    assert network.whole.grad[3:, 1:].abs().max() == 0 and (network.whole.grad[:, 0] != 0).all()
    assert set(parts) == {"objects", "sound", "size", "fill", "colour", "shape", "background", "valid"}
    none = {key: v[3:] for key, v in batch.items()}
    only = Said(torch.randn(3, 23, 16, 16), torch.randn(3, 6))
    assert judge_loss(only, {"images": torch.zeros(3, 3, 32, 32), **none})[0].isfinite()


def test_of_a_malformed_object_only_its_place_and_its_soundness_are_asked():
    torch.manual_seed(0)
    batch = labels(scenes(3, 0, 4, things=1))
    batch["valid"][:], batch["sound"][:, 0], batch["attributes"][:] = -1, 0, -1
    network = Said(torch.randn(4, 23, 16, 16), torch.randn(4, 6))
    judge_loss(network, {"images": torch.zeros(4, 3, 32, 32), **batch})[0].backward()
    assert network.cells.grad[:, 2:].abs().max() == 0 and (network.cells.grad[:, :2].flatten(2).abs().sum(2) > 0).all()
    assert (network.cells.grad[:, 1] >= 0).all()  # what the network says of it gets less sound
    assert network.whole.grad[:, 0].abs().max() == 0 and network.whole.grad[:, 1:].abs().sum() > 0


def test_absent_things_do_not_count():
    torch.manual_seed(0)
    batch = labels(scenes(3, 0, 6, things=1))
    network = Said(torch.randn(6, 23, 16, 16), torch.randn(6, 6))
    images = torch.zeros(6, 3, 32, 32)
    before = judge_loss(network, {"images": images, **batch})[0]
    batch["centre"][:, 1:] = 0.3
    assert judge_loss(network, {"images": images, **batch})[0] == before


# -------------------------------------------------------------------------------------------------------------- features


class Twins(nn.Module):
    """Projects both views to the same given vectors."""

    config = FEATURES

    def __init__(self, z: torch.Tensor):
        super().__init__()
        self.z = z

    def forward(self, images):
        return self.z.repeat(2, 1)

    def project(self, z):
        return z


def test_barlow_twins_loss_of_known_correlations():
    images = torch.rand(128, 3, 32, 32)
    torch.manual_seed(0)
    whitened, _ = torch.linalg.qr(torch.randn(128, 17) - torch.randn(128, 17).mean(0))
    centred = whitened - whitened.mean(0)
    identity, _ = torch.linalg.qr(centred[:, :16])  # columns of mean zero that have nothing to do with each other
    assert barlow_twins_loss(Twins(identity), images)[0] < 0.01
    alike = torch.randn(128, 1).repeat(1, 16)
    loss, details = barlow_twins_loss(Twins(alike), images)
    assert float(details["others"]) == pytest.approx(16 * 15, rel=0.05)  # all 240 pairs agree, and none should
    assert float(loss) == pytest.approx(FEATURES.redundancy * 240, rel=0.05)


def test_two_views_are_the_same_picture_changed():
    torch.manual_seed(0)
    images = render(scenes(1, 0, 8))
    a, b = two_views(images)
    assert a.shape == b.shape == images.shape and a.min() >= 0 and a.max() <= 1
    assert not torch.equal(a, b) and (a - images).abs().mean() < 0.15


def test_features_learn_without_labels():
    torch.manual_seed(0)
    network = FeatureNetwork(FEATURES)
    images = render(scenes(1, 0, 32))
    assert network(images).shape == (32, FEATURES.features)
    losses = learn(network, barlow_twins_loss, images, 25, 3e-3)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert not silent(network)


# ---------------------------------------------------------------------------------------------------- what patches show

LABELS = (2, 3, 8, 8)


def test_each_patch_knows_what_covers_it():
    source = ShapesSource(300)
    things = source.things(np.arange(300), 4)
    assert things.shape == (300, 16, 4)
    for i in range(300):
        scene = source.scenes.scenes[i]
        seen = {tuple(row) for row in things[i].tolist() if row[0] >= 0}
        there = {
            (SIZES.index(t.size), FILLS.index(t.fill), COLOURS.index(t.colour), SHAPES.index(t.shape))
            for t in scene.things
        }
        assert seen == there  # every thing covers a patch, and nothing else does
        if scene.place == "top left":
            assert (things[i, :, 0] >= 0).nonzero().flatten().tolist()[0] in (0, 1, 4, 5)
            assert (things[i, 10:, 0] < 0).all()


def test_label_loss_is_the_cross_entropy_of_what_is_asked():
    torch.manual_seed(0)
    things = torch.full((2, 3, 4), -1)
    things[0, 1] = torch.tensor([1, 2, 7, 0])
    said = torch.randn(2, 3, 22)
    shown = torch.tensor([[0.0, 1, 0], [0, 0, 0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(said[..., 0], shown)
    for (start, end), right in zip(((1, 3), (3, 6), (6, 14), (14, 22)), (1, 2, 7, 0), strict=True):
        expected = expected - said[0, 1, start:end].log_softmax(0)[right]
    assert torch.allclose(label_loss(said, things, LABELS), expected, atol=1e-5)
    assert label_loss(said, torch.full((2, 3, 4), -1), LABELS).isfinite()  # pictures without things


def test_what_patches_believe_is_learned_from_labels_alone_and_steers_the_drawing():
    torch.manual_seed(0)
    model = dit(labels=LABELS).train()
    x, t, tokens = torch.randn(2, 3, 8, 8), torch.rand(2), torch.randint(2, 400, (2, 6))
    velocity, said = model.velocity_and_labels(x, t, tokens)
    assert said.shape == (2, 16, 22) and torch.equal(model(x, t, tokens), velocity)
    velocity.square().sum().backward(retain_graph=True)
    assert model.label.weight.grad is None and model.believed.weight.grad.abs().sum() > 0
    with torch.no_grad():
        model.label.bias += 3 * torch.randn(22)
    assert (model(x, t, tokens) - velocity).abs().max() > 1e-4
    batch = {"data": x, "tokens": tokens, "things": torch.zeros(2, 16, 4, dtype=torch.long)}
    loss, details = flow_loss(model, batch)
    assert torch.allclose(loss, details["velocity"] + LABEL_SHARE * details["labels"])
    loss.backward()
    assert model.label.weight.grad.abs().sum() > 0
    assert flow_loss(model, {"data": x, "tokens": tokens})[1] == {}  # where nobody knows what patches show


def test_beliefs_are_probabilities():
    found = beliefs(torch.randn(2, 3, 22), LABELS)
    parts = [part.sum(-1) for part in found[..., 1:].split(LABELS, -1)]
    assert all(torch.allclose(part, found[..., 0], atol=1e-6) for part in parts)
    assert found.min() >= 0 and found.max() <= 1


def test_positions_tell_all_places_apart():
    found = positions(4, 24)
    assert found.shape == (16, 24) and abs(found.square().mean() - 0.5) < 0.1
    apart = torch.cdist(found, found)
    assert apart[~torch.eye(16, dtype=bool)].min() > 1
    assert torch.allclose(apart[0, 1], apart[0, 4])  # rows and columns alike


def test_attention_maps_are_what_the_blocks_do():
    model = dit()
    x, t, tokens = inputs()
    maps = attention_maps(model, x, t, tokens)
    registers = model.config.text.registers
    assert maps.shape == (2, 3, 2, 16, registers + tokens.shape[1])
    assert torch.allclose(maps.sum(-1), torch.ones(2, 3, 2, 16), atol=1e-5)
    padding = tokens == PAD
    assert padding.any() and (maps[:, :, :, :, registers:].masked_select(padding[None, :, None, None]) == 0).all()

    given: list[tuple] = []
    cross = model.blocks[1].cross
    hook = cross.register_forward_hook(lambda _, inputs, output: given.append((inputs, output)))
    with torch.no_grad():
        model(x, t, tokens)
        hook.remove()
        (_, words, _), output = given[0]
        v = cross.kv(words).unflatten(-1, (2, cross.heads, -1))[:, :, 1].transpose(1, 2)
        assert torch.allclose(cross.out((maps[1] @ v).transpose(1, 2).flatten(2)), output, atol=1e-5)
    assert not cross._forward_hooks, "no hook is left behind"
