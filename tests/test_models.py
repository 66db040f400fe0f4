"""The models and their losses: shapes, what must not matter, what must be learned."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math

import numpy as np
import pytest
import torch
from small import AUTOENCODER, FEATURES, JUDGE, dit, dit_config, features_weights, judge_weights, tokenizer
from torch import nn

from course_utils.common import ROOT, CourseError
from course_utils.language.tokenizer import EMPTY, PAD
from course_utils.measure.judge import Judge
from course_utils.measure.judge_data import labels
from course_utils.models import MODELS, load_model
from course_utils.models.autoencoder import EDGES, Autoencoder, AutoencoderConfig, autoencoder_loss
from course_utils.models.dit import DiT, DiTConfig, attention_maps, drop_captions, flow_loss, patchify, unpatchify
from course_utils.models.features import FeatureNetwork, barlow_twins_loss, two_views
from course_utils.models.judge import JudgeConfig, JudgeNetwork, judge_loss, splat
from course_utils.models.layers import Attention, attend, sincos, sincos_2d
from course_utils.models.text_encoder import TextEncoder, TextEncoderConfig
from course_utils.weights import read_card, save_weights, write_card
from course_utils.worlds.render import render
from course_utils.worlds.scenes import scenes


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
    with torch.no_grad():
        value, details = autoencoder_loss(model.eval(), images)
        error = (model(images) - images).numpy()
    edges = np.abs(np.diff(error, axis=2)).mean() + np.abs(np.diff(error, axis=3)).mean()
    assert float(value) == pytest.approx(np.abs(error).mean() + EDGES * edges, rel=1e-5)
    assert float(details["mse"]) == pytest.approx((error**2).mean(), rel=1e-5)


def test_what_ships_is_small_enough():
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    assert 2 * (count(DiT(DiTConfig())) + count(Autoencoder(AutoencoderConfig()))) < 10 * 2**20  # bytes in bfloat16
    assert 2 * count(JudgeNetwork(JudgeConfig())) < 2 * 2**20
    assert 2 * count(FeatureNetwork()) < 2**20


# ---------------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_the_formula(masked):
    torch.manual_seed(3)
    attention = Attention(8, 2, context_width=6)
    nn.init.normal_(attention.q_norm.weight), nn.init.normal_(attention.k_norm.weight)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, True, True], [True, False, True, False]]) if masked else None
    k, v = (context @ attention.kv.weight.T).chunk(2, -1)
    q = x @ attention.q.weight.T
    unit = lambda h: h / (h.square().mean(-1, keepdim=True) + torch.finfo(h.dtype).eps).sqrt()  # noqa: E731
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        ours, theirs = unit(q[..., part]) * attention.q_norm.weight, unit(k[..., part]) * attention.k_norm.weight
        scores = ours @ theirs.transpose(1, 2) / 2  # the root of 4 numbers a head
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], -torch.inf)
        heads.append(scores.softmax(-1) @ v[..., part])
    assert torch.allclose(attention(x, context, mask), attention.out(torch.cat(heads, -1)), atol=1e-5)


def test_attention_to_itself_is_pytorchs():
    """The library's layer with the same weights, on queries and keys that need no normalising."""
    torch.manual_seed(3)
    ours = Attention(8, 2)
    ours.q_norm = ours.k_norm = nn.Identity()
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.kv.weight]))
        theirs.in_proj_bias.zero_()
    theirs.out_proj = ours.out
    x, mask = torch.randn(2, 5, 8), torch.arange(5) < torch.tensor([[5], [3]])
    assert torch.allclose(ours(x, mask=mask), theirs(x, x, x, key_padding_mask=~mask)[0], atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_bfloat16_is_the_fused_kernel_within_its_rounding_with_gradients(masked):
    torch.manual_seed(4)
    mask = (torch.arange(7) < torch.tensor([[7], [3]]))[:, None, None] if masked else None
    found = []
    for dtype in (torch.bfloat16, torch.float32):  # written out; PyTorch's
        torch.manual_seed(5)
        q, k, v = (torch.randn(2, 3, n, 8).bfloat16().to(dtype).requires_grad_() for n in (5, 7, 7))
        out = attend(q, k, v, mask)
        assert out.dtype == dtype
        out.float().square().sum().backward()
        found.append([out.float(), *(x.grad.float() for x in (q, k, v))])
    for ours, reference in zip(*found, strict=True):
        assert (ours - reference).abs().max() < 0.03 * reference.abs().max()


def test_positions_and_times_are_told_apart():
    known = sincos(torch.tensor([0, 3]), 4, 100)  # at frequencies 1 and 1 / 10
    assert torch.allclose(known[1], torch.tensor([math.cos(3), math.cos(0.3), math.sin(3), math.sin(0.3)]))
    assert known[0].tolist() == [1, 1, 0, 0]
    times = sincos(1000 * torch.linspace(0, 1, 65), 256)
    assert times.shape == (65, 256) and sincos(torch.ones(2).bfloat16(), 8).dtype == torch.float32
    assert (torch.cdist(times, times) + 100 * torch.eye(65)).min() > 0.5  # also neighbouring times are well apart
    places = sincos_2d(4, 24)
    apart = torch.cdist(places, places)
    assert places.shape == (16, 24) and apart[~torch.eye(16, dtype=bool)].min() > 1
    assert torch.allclose(apart[0, 1], apart[0, 4])  # rows and columns alike


# ---------------------------------------------------------------------------------------------------------- text encoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(TextEncoderConfig(vocabulary=400, longest=40, width=16, depth=2, heads=2)).eval()


@torch.no_grad()
def test_each_text_is_read_by_itself_in_order_and_without_its_padding(encoder):
    torch.manual_seed(1)
    tokens = torch.randint(2, 400, (3, 9))
    tokens[1, 5:] = PAD
    context, mask, pooled = encoder(tokens)
    assert context.shape == (3, 9, 16) and mask[1].tolist() == [True] * 5 + [False] * 4 and mask[0].all()
    assert torch.allclose(pooled[1], context[1, :5].mean(0), atol=1e-6)
    wide = encoder(nn.functional.pad(tokens, (0, 20)))
    assert torch.allclose(wide.context[:, :9][mask], context[mask], atol=1e-5)
    alone = encoder(tokens[1:2, :5])
    assert torch.allclose(alone.context[0], context[1, :5], atol=1e-5)
    for same in (wide.pooled, torch.cat([pooled[:1], alone.pooled, pooled[2:]])):
        assert torch.allclose(same, pooled, atol=1e-5)
    swapped = tokens.clone()
    swapped[:, [1, 4]] = tokens[:, [4, 1]]
    assert (encoder(swapped).context - context)[:, 0].abs().max() > 1e-3  # "red … blue" is not "blue … red"
    assert encoder(torch.full((2, 1), EMPTY)).pooled.isfinite().all()


# ------------------------------------------------------------------------------------------------------------------- dit

SPACES = ["latents", "pixels"]  # where the network predicts the velocity, and where the data


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_are_cut_and_put_back(patch):
    x = torch.randn(2, 3, 8, 8)
    rows = patchify(x, patch)
    assert rows.shape == (2, (8 // patch) ** 2, 3 * patch**2)
    assert torch.equal(unpatchify(rows, patch), x)
    if patch == 2:  # the second patch lies right of the first
        assert torch.equal(rows[0, 1].view(3, 2, 2), x[0, :, 0:2, 2:4])


def inputs(n: int = 3, space: str = "latents") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    config = dit_config(space)
    texts = ["a small red circle", "two blue stars above", "一个大的绿色三角形在左上角", ""] * n
    return torch.randn(n, config.channels, config.size, config.size), torch.rand(n), tokenizer().batch(texts[:n], 48)


@pytest.mark.parametrize("space", SPACES)
@torch.no_grad()
def test_a_velocity_for_each_picture_by_itself(space):
    model = dit(space)
    x, t, tokens = inputs(3, space)
    together = model(x, t, tokens)
    assert together.shape == x.shape and together.isfinite().all() and together.std() > 0.01
    for i in range(3):
        assert torch.allclose(model(x[i : i + 1], t[i : i + 1], tokens[i : i + 1])[0], together[i], atol=1e-4)
    wide = torch.nn.functional.pad(tokens, (0, 48 - tokens.shape[1]))
    assert torch.allclose(model(x, t, wide), together, atol=1e-4)  # padding is not heard
    assert torch.allclose(model(x, t, text=model.text(tokens)), together, atol=1e-5)


@torch.no_grad()
def test_time_words_and_place_all_matter():
    model = dit()
    x, t, tokens = inputs(1)
    before = model(x, t, tokens)
    for other in (
        model(x, 1 - t, tokens),
        model(x, t, tokens.flip(1)),
        model(x, t, tokens[:, :2]),
        model(x.flip(2), t, tokens).flip(2),
    ):
        assert (other - before).abs().max() > 1e-3


@torch.no_grad()
def test_the_velocity_of_a_model_that_predicts_the_data():
    """(data - x_t) / (1 - t): the same network read in the other way; held near t = 1, where it would grow without bound."""
    data, velocity = dit(predict="data"), dit(predict="velocity")
    x, _, tokens = inputs(3)
    for time, left in ((0.0, 1.0), (0.5, 0.5), (0.94, 0.06), (0.96, 0.05), (1.0, 0.05)):
        t = torch.full((3,), time)
        assert torch.allclose(data(x, t, tokens), (velocity(x, t, tokens) - x) / left, atol=1e-3), time


@torch.no_grad()
def test_a_fresh_model_predicts_nothing():
    """What gates and what goes out starts at zero (adaLN-zero): velocity 0, or a grey picture."""
    x, t, tokens = inputs()
    assert (DiT(dit_config())(x, t, tokens) == 0).all()
    t = 0.9 * t
    assert torch.allclose(DiT(dit_config(predict="data"))(x, t, tokens), -x / (1 - t)[:, None, None, None])


def test_drop_captions_empties_whole_captions():
    tokens = torch.randint(2, 300, (4000, 5))
    kept = drop_captions(tokens, 0.0)
    assert torch.equal(kept, tokens)
    gone = drop_captions(tokens, 1.0)
    assert (gone[:, 0] == EMPTY).all() and (gone[:, 1:] == PAD).all() and torch.equal(tokens, kept)
    some = drop_captions(tokens, 0.1, torch.Generator().manual_seed(0))
    dropped = (some == gone).all(1)
    assert 0.07 < dropped.float().mean() < 0.13
    assert torch.equal(some[~dropped], tokens[~dropped])
    assert torch.equal(some, drop_captions(tokens, 0.1, torch.Generator().manual_seed(0)))


def test_the_true_velocity_has_no_loss():
    """Who knows the data knows the velocity: (data - x_t) / (1 - t)."""
    torch.manual_seed(0)
    data = torch.randn(64, 3, 8, 8, dtype=torch.float64)
    batch = {"data": data, "tokens": torch.ones(64, 2, dtype=torch.int64)}
    for off in (0.0, 0.5):
        oracle = lambda x, t, tokens, off=off: (data - x) / (1 - t[:, None, None, None]) + off  # noqa: E731
        assert float(flow_loss(oracle, batch)[0]) == pytest.approx(off**2, rel=1e-3, abs=1e-6)  # type: ignore[arg-type]
    fresh, _ = flow_loss(DiT(dit_config()).double(), batch)
    assert float(fresh.detach()) == pytest.approx(2.0, abs=0.05)  # noise and data of variance one each


@pytest.mark.parametrize("space", SPACES)
def test_dit_overfits_one_batch_and_every_parameter_takes_part(space):
    torch.manual_seed(0)
    model = DiT(dit_config(space))
    x, _, tokens = inputs(3, space)
    data = x.mean((2, 3), keepdim=True) * 10 + 0.1 * x  # mostly one tone each: soon learned
    batch = {"data": data.repeat(6, 1, 1, 1), "tokens": tokens.repeat(6, 1)}
    losses = learn(model, flow_loss, batch, 30, 5e-3)
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    assert not silent(model)


def test_words_carry_information_from_the_first_steps_on():
    """Two captions, two constant pictures: only the words can tell which one it will be at t = 0."""
    torch.manual_seed(0)
    model = DiT(dit_config())
    tokens = tokenizer().batch(["a red circle", "a blue square"], 48).repeat(16, 1)
    data = torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 3, 8, 8).repeat(16, 1, 1, 1)
    learn(model, flow_loss, {"data": data, "tokens": tokens}, 60, 5e-3)
    with torch.no_grad():
        v = model.eval()(torch.randn(2, 3, 8, 8), torch.zeros(2), tokens[:2])
    assert v[0].mean() > 0.4 and v[1].mean() < -0.4


@torch.no_grad()
def test_attention_maps_are_what_the_blocks_do():
    model = dit()
    x, t, tokens = inputs()
    maps = attention_maps(model, x, t, tokens)
    assert maps.shape == (2, 3, 2, 16, tokens.shape[1])
    assert torch.allclose(maps.sum(-1), torch.ones(2, 3, 2, 16), atol=1e-5)
    padding = tokens == PAD
    assert padding.any() and (maps.masked_select(padding[None, :, None, None]) == 0).all()

    given: list[tuple] = []
    cross = model.blocks[1].cross
    hook = cross.register_forward_hook(lambda _, inputs, output: given.append((inputs, output)))
    model(x, t, tokens)
    hook.remove()
    (h, context, _), output = given[0]
    values = cross.project(h, context)[2]
    assert torch.allclose(cross.out((maps[1] @ values).transpose(1, 2).flatten(2)), output, atol=1e-5)
    assert not cross._forward_hooks, "no hook is left behind"


WORLD = set(
    "scene scenes thing things shapes colour colours circle label labels layout parse grammar place relation".split()
)


@pytest.mark.parametrize("name", ["layers", "text_encoder", "dit", "gpt"])
def test_the_text_to_image_model_knows_nothing_of_the_world(name):
    """It learns from pictures and captions alone, so no name of what pictures show stands in its code."""
    text = (ROOT / "course_utils" / "models" / f"{name}.py").read_text(encoding="utf-8")
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)} - {"shape"}
    names |= {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg)}
    assert len(names) > 20 and not [word for word in names if set(word.lower().split("_")) & WORLD]
    assert "worlds" not in text and len(text.splitlines()) <= 220


# -------------------------------------------------------------------------------------------------------------- registry


def test_every_kind_of_weights_can_be_built(tmp_path):
    for kind, (module, config_name, model_name, part) in MODELS.items():
        found = importlib.import_module(f"course_utils.models.{module}")
        config = getattr(found, config_name)()
        if kind == "layout-flow":
            config = dataclasses.replace(config, labels=(2, 3))
        model = getattr(found, model_name)(config)
        folder = save_weights(
            tmp_path / kind,
            {part: model.state_dict()},
            {"kind": kind, "config": dataclasses.asdict(config)},
            torch.float32,
        )
        back = load_model(folder, kind)
        assert type(back) is type(model) and back.config == config and not back.training
        assert all(torch.equal(value, back.state_dict()[key]) for key, value in model.state_dict().items())


def test_what_is_no_model_is_said_in_one_sentence(tmp_path):
    folder = judge_weights(tmp_path / "judge")
    card = read_card(folder)
    for changes, said in (
        ({"kind": "toaster"}, "'toaster' is no model"),
        ({"config": {**card["config"], "depth": 2}}, "does not describe"),
        ({"config": {"colour": "red"}}, "does not describe"),
        ({"config": None}, "does not describe"),
        ({"kind": None}, "None is no model"),
    ):
        write_card(folder, {**card, **changes})
        with pytest.raises(CourseError, match=said) as error:
            load_model(folder)
        assert "\n" not in str(error.value)
    with pytest.raises(CourseError, match="of the kind 'features', and 'judge' is needed"):
        load_model(features_weights(tmp_path / "features"), "judge")
    with pytest.raises(CourseError, match="no weights called 'nothing'"):
        load_model("nothing")


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
