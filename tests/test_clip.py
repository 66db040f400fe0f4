"""CLIP: the loss against its formulas, the two encoders, what duplicates cost, search measured, and what ships."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from small import shipped, text_config, tokenizer

from course_utils.common import CourseError
from course_utils.measure.retrieval import area_under_curve, chance, ranks, recall
from course_utils.models.clip import (
    Clip,
    ClipConfig,
    Matcher,
    PictureEncoder,
    clip_loss,
    contrastive_loss,
    duplicates,
)
from course_utils.weights import save_weights
from course_utils.worlds.captions import caption
from course_utils.worlds.render import render
from course_utils.worlds.scenes import SEEDS, scenes

TINY = ClipConfig(channels=(8, 8, 8), features=16, text=text_config())


def pairs(n: int, features: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of length 1 for n pairs, in float64."""
    torch.manual_seed(n)
    a, b = (F.normalize(torch.randn(n, features, dtype=torch.float64)) for _ in range(2))
    return a, b


def tiny() -> Clip:
    torch.manual_seed(0)
    return Clip(TINY).eval()


# ---------------------------------------------------------------------------------------------------------------- loss


def test_the_loss_is_two_classifications() -> None:
    a, b = pairs(5)
    table = (7 * a @ b.T).exp()
    by_hand = -sum(math.log(table[i, i] / table[i].sum()) + math.log(table[i, i] / table[:, i].sum()) for i in range(5))
    assert contrastive_loss(a, b, 7.0).item() == pytest.approx(by_hand / 10, abs=1e-12)
    assert contrastive_loss(a, b, 7.0).item() == pytest.approx(contrastive_loss(b, a, 7.0).item(), abs=1e-12)


def test_its_gradient_is_forecast_minus_truth() -> None:
    a, b = pairs(7)
    log_scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    a.requires_grad_()
    contrastive_loss(a, b, log_scale.exp()).backward()
    logits = (log_scale.exp() * a @ b.T).detach()
    residual = (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(7)) / 14
    assert torch.allclose(a.grad, log_scale.exp().detach() * residual @ b, atol=1e-12)
    assert torch.allclose(log_scale.grad, (residual * logits).sum(), atol=1e-12)


def test_a_masked_pair_is_left_out_of_the_sums_and_gets_no_gradient() -> None:
    a, b = pairs(4)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    a.requires_grad_()
    loss = contrastive_loss(a, b, 5.0, same)
    kept = (5 * a @ b.T).exp() * (~same | torch.eye(4, dtype=torch.bool))
    wanted = -((kept / kept.sum(1, keepdim=True)).diagonal().log() + (kept / kept.sum(0)).diagonal().log()).mean() / 2
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-12)
    only_that = b.clone()
    only_that[2] += 1.0  # row 0 must not care
    rows = -((5 * a @ only_that.T).masked_fill(same & ~torch.eye(4, dtype=torch.bool), -math.inf)).log_softmax(1)
    before = -(5 * a @ b.T).masked_fill(same & ~torch.eye(4, dtype=torch.bool), -math.inf).log_softmax(1)
    assert rows[0, 0].item() == pytest.approx(before[0, 0].item(), abs=1e-12)
    assert contrastive_loss(a, b, 5.0, torch.eye(4, dtype=torch.bool)) == contrastive_loss(a, b, 5.0)


def test_duplicates_cost_log_n_even_an_oracle() -> None:
    scenes_of = torch.tensor([0, 0, 0, 1, 2, 2])
    same = scenes_of[:, None] == scenes_of
    oracle, eye = 60.0 * same.double(), torch.eye(6, dtype=torch.float64)
    floor = same.sum(1).double().log().mean()
    assert contrastive_loss(oracle, eye, 1.0).item() == pytest.approx(floor.item(), abs=1e-9)
    assert contrastive_loss(oracle, eye, 1.0, same).item() == pytest.approx(0, abs=1e-9)


def test_duplicates_are_equal_pictures_or_equal_captions() -> None:
    images = torch.rand(5, 3, 4, 4)
    tokens = torch.arange(15).view(5, 3)
    images[3] = images[0]
    tokens[4] = tokens[1]
    wanted = torch.eye(5, dtype=torch.bool)
    wanted[0, 3] = wanted[3, 0] = wanted[1, 4] = wanted[4, 1] = True
    assert torch.equal(duplicates(images, tokens), wanted)


def test_the_loss_of_a_batch_masks_its_duplicates() -> None:
    model = tiny()
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    tokens = tokenizer().batch(["a red circle", "a blue star", "two stars"] * 2, 64)
    batch = {"data": images, "tokens": tokens}
    loss, details = clip_loss(model, batch)
    a, b = model(images, tokens)
    assert details["masked"] == 3 and 0 <= details["found"] <= 1
    assert loss.item() == pytest.approx(contrastive_loss(a, b, model.scale(), duplicates(images, tokens)).item())
    assert loss < contrastive_loss(a, b, model.scale())


# --------------------------------------------------------------------------------------------------------------- model


def test_vectors_have_length_one_and_belong_to_one_text_or_picture_alone() -> None:
    model, texts = tiny(), ["a red circle", "a large striped blue square above a small green star on a grey background"]
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    a, b = model(images, tokenizer().batch(texts, 64))
    assert torch.allclose(torch.cat([a, b]).norm(dim=1), torch.ones(4), atol=1e-5)
    alone = model.captions(tokenizer().batch(texts[:1], 64))  # without the padding that the longer one makes
    assert torch.allclose(alone, b[:1], atol=1e-5) and torch.allclose(model.images(images[:1]), a[:1], atol=1e-5)


def test_the_temperature_is_learned_and_stops_where_it_is_coldest() -> None:
    model = tiny()
    assert model.scale().item() == pytest.approx(1 / TINY.temperature, rel=1e-5)
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    assert model.scale().item() == pytest.approx(1 / TINY.coldest, rel=1e-5)


def test_the_picture_encoder_knows_left_from_right() -> None:
    torch.manual_seed(0)
    encoder = PictureEncoder((8, 8, 8), 16, 32).eval()
    left = torch.full((1, 3, 32, 32), 1.0)
    left[..., 8:16, 4:12] = -1  # away from the edges, where padding would tell
    # moved by eight pixels the map of features moves by one place: its mean, and so a pooled vector, stays the same
    middle = left.roll(8, 3)
    assert (encoder(left) - encoder(middle)).abs().max() > 1e-4
    with pytest.raises(RuntimeError):
        encoder(torch.zeros(1, 3, 64, 64))
    assert PictureEncoder((8, 8, 8), 16, 64).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 16)


def test_it_learns_which_colour_is_which() -> None:
    """Four one-coloured pictures and their captions: after a few steps each finds its own."""
    torch.manual_seed(0)
    model, texts = Clip(TINY), ["red", "green", "blue", "white"]
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    images = colours[:, :, None, None].expand(-1, -1, 32, 32).contiguous()
    batch = {"data": images, "tokens": tokenizer().batch(texts, 64)}
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    first = clip_loss(model, batch)[0].item()
    for _ in range(30):
        loss, _ = clip_loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2 < first


# -------------------------------------------------------------------------------------------------------------- search


def test_ranks_and_recall() -> None:
    scores = torch.tensor([[3.0, 1, 2], [5, 4, 6], [1, 2, 0]])
    assert ranks(scores).tolist() == [1, 3, 3]
    assert recall(scores, 1).tolist() == [True, False, False] and recall(scores, 3).all()
    assert recall(scores.T, 1).tolist() == [False, True, False]
    assert not recall(torch.zeros(4, 4), 3).any()  # a constant finds nothing
    assert chance(1000, 5) == 0.005 and chance(3, 5) == 1
    torch.manual_seed(0)
    assert recall(torch.rand(2000, 2000), 100).double().mean().item() == pytest.approx(0.05, abs=0.02)


def test_the_area_under_the_curve_is_the_librarys() -> None:
    torch.manual_seed(0)
    scores, right = torch.randint(10, (200,)).float(), torch.rand(200) < 0.3
    assert area_under_curve(scores, right) == pytest.approx(roc_auc_score(right, scores), abs=1e-9)
    assert area_under_curve(right.float(), right) == 1
    assert math.isnan(area_under_curve(scores, torch.ones(200, dtype=torch.bool)))


def test_a_matcher_comes_back_from_its_weights(tmp_path: Path) -> None:
    model = tiny()
    card = {"kind": "clip", "config": dataclasses.asdict(TINY), "tokenizer": tokenizer().merges}
    matcher = Matcher.load(save_weights(tmp_path, {"clip": model.state_dict()}, card, torch.float32))
    images, texts = torch.rand(5, 3, 32, 32), ["a red circle", "三个红色的五角星", "", "two stars", "a blue square"]
    with torch.no_grad():
        a, b = model(images * 2 - 1, tokenizer().batch(texts, 64))
    assert torch.allclose(matcher.pictures(images, batch_size=2), a, atol=1e-5)
    assert torch.allclose(matcher.texts(texts, batch_size=3), b, atol=1e-5)
    assert torch.allclose(matcher.score(images, texts), (a * b).sum(1), atol=1e-5)
    with pytest.raises(CourseError, match="of the kind 'judge'"):
        Matcher.load(save_weights(tmp_path / "other", {"judge": {}}, {"kind": "judge"}))


def test_what_ships_finds_pictures_by_words_and_words_by_pictures() -> None:
    shipped("clip-shapes")
    matcher, pool = Matcher.load(), scenes(SEEDS["test"], 50_000, 300)
    vectors = matcher.pictures(render(pool))
    for language in ("en", "zh"):
        told = [caption(scene, language=language, seed=i) for i, scene in enumerate(pool.scenes)]
        scores = vectors @ matcher.texts(told).T
        for way in (scores, scores.T):
            assert recall(way, 5).double().mean() >= 0.9
