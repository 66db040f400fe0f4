"""The language model: nothing leaks from the future, probabilities sum to one, samplers do what their formulas say, `train gpt` works."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small import awake, captions, dit, tokenizer

from course_utils.__main__ import main
from course_utils.commands import train
from course_utils.common import CourseError
from course_utils.language.tokenizer import PAD, Tokenizer
from course_utils.models import gpt, load_model
from course_utils.models.gpt import BEGIN, END, GPT, GPTConfig
from course_utils.recipes import gpt as recipe_file
from course_utils.weights import read_card, save_weights
from course_utils.worlds.captions import parse

POSITIONS = ("rotary", "learned", "sinusoidal", "none")


def model(vocabulary: int = 30, **changes: object) -> GPT:
    """A tiny GPT in eval mode whose logits depend on all that goes in."""
    torch.manual_seed(0)
    config = GPTConfig(**{"vocabulary": vocabulary, "longest": 16, "width": 24, "depth": 2, "heads": 2, **changes})  # type: ignore[arg-type]
    return awake(GPT(config)).eval()  # type: ignore[return-value]


def rows(n: int = 3, length: int = 9, vocabulary: int = 30, seed: int = 1) -> torch.Tensor:
    return torch.randint(2, vocabulary, (n, length), generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------------------------ model


@pytest.mark.parametrize("positions", POSITIONS)
def test_no_place_sees_a_later_one_and_every_place_sees_the_earlier_ones(positions):
    net, tokens = model(positions=positions), rows()
    before = net(tokens)
    for place in (3, 8):
        changed = tokens.clone()
        changed[:, place] = 2 + (tokens[:, place] - 1) % 28
        moved = (net(changed) - before).abs().amax((0, 2))
        assert moved[:place].max() == 0 and moved[place:].min() > 1e-4


def test_a_shorter_row_gives_the_same_logits():
    net, tokens = model(), rows()
    assert torch.allclose(net(tokens)[:, :4], net(tokens[:, :4]), atol=1e-5)


def test_attention_is_pytorchs_causal_one():
    net, x = model(), torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(3))
    layer = net.blocks[0].attention
    q, k, v = layer.project(x)
    by_library = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(layer(x, net.mask[:7, :7]), layer.out(by_library.transpose(1, 2).flatten(2)), atol=1e-5)


def test_rotation_keeps_lengths_and_knows_only_the_distance():
    random = torch.Generator().manual_seed(2)
    q, k = torch.randn(2, 1, 12, dtype=torch.float64, generator=random)
    at = lambda x, n: gpt.rotate(x, torch.tensor([n]))  # noqa: E731
    assert torch.equal(at(q, 0), q) and torch.allclose(at(q, 9).norm(), q.norm())
    product = lambda m, n: (at(q, m) * at(k, n)).sum()  # noqa: E731
    assert torch.allclose(product(2, 7), product(12, 17), atol=1e-5)
    assert (product(2, 7) - product(7, 2)).abs() > 1e-3 and (product(2, 7) - product(2, 8)).abs() > 1e-3
    angle = torch.tensor(3.0).double()  # the first pair turns by one radian a place
    turned = at(torch.eye(12).double()[:1], 3)[0]
    assert torch.allclose(turned[[0, 6]], torch.stack([angle.cos(), angle.sin()]), atol=1e-6)


@pytest.mark.parametrize("positions", POSITIONS)
def test_one_layer_without_positions_reads_a_bag_of_words(positions):
    net, tokens = model(positions=positions, depth=1), rows()
    shuffled = torch.cat([tokens[:, [4, 0, 6, 1, 3, 7, 2, 5]], tokens[:, 8:]], 1)
    gap = (net(tokens) - net(shuffled))[:, -1].abs().max()
    assert gap < 1e-5 if positions == "none" else gap > 1e-3


def test_what_does_not_fit_is_said():
    with pytest.raises(CourseError, match="17 tokens, and this GPT reads 16"):
        model()(rows(length=17))
    for changes in ({"heads": 5}, {"width": 6, "heads": 2}, {"positions": "magic"}):
        with pytest.raises(CourseError, match="GPTConfig needs"):
            GPTConfig(**{"width": 24, "heads": 2, **changes})


def test_it_learns_one_batch_by_heart_and_every_parameter_takes_part():
    for positions in ("rotary", "learned"):
        torch.manual_seed(0)
        net = GPT(GPTConfig(vocabulary=30, longest=16, width=32, depth=2, heads=2, positions=positions))
        batch = {"tokens": F.pad(rows(4, 6), (0, 2), value=PAD)}
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(120):
            loss, _ = gpt.gpt_loss(net, batch)
            optimiser.zero_grad()
            loss.backward()
            assert step or all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
            optimiser.step()
        found = gpt.sample(net.eval(), gpt.begun(batch["tokens"][:, :1]), top_k=1)
        # all four begin differently, so the likeliest way on is the row that was learned, its end included
        assert loss < 0.5 and torch.equal(found[:, 1:8], batch["tokens"][:, :7])


def test_weights_come_back_by_name(tmp_path):
    net = model()
    save_weights(
        tmp_path / "g",
        {"gpt": net.state_dict()},
        {"kind": "gpt", "config": dataclasses.asdict(net.config)},
        torch.float32,
    )
    assert torch.equal(load_model(tmp_path / "g", "gpt")(rows()), net(rows()))
    assert {"mask", "pos_embed"}.isdisjoint(net.state_dict())


# ------------------------------------------------------------------------------------------------------ as a text encoder


def test_encode_gives_what_a_generator_hears():
    net = model(len(tokenizer()), width=16, longest=64)
    said = captions()[:6]
    tokens = tokenizer().batch([*said, ""], 63)
    text = net.encode(tokens)
    assert text.context.shape == (7, tokens.shape[1], 16) and torch.equal(text.mask, tokens != PAD)
    for i, caption in enumerate([*said, ""]):  # each by itself is the same, whatever fills up its row
        alone = net.encode(tokenizer().batch([caption], 63))
        n = alone.mask.sum()
        assert torch.allclose(alone.context[0], text.context[i, :n], atol=1e-5)
        assert torch.allclose(alone.context[0].mean(0), text.pooled[i], atol=1e-5)
    drawn = dit()(torch.randn(7, 3, 8, 8), torch.full((7,), 0.5), text=text)
    assert drawn.shape == (7, 3, 8, 8) and drawn.isfinite().all()


def test_a_caption_and_its_swap_are_told_apart():
    net = model(len(tokenizer()), longest=64)
    both = tokenizer().batch(["a red circle left of a blue square", "a blue square left of a red circle"], 63)
    assert sorted(both[0].tolist()) == sorted(both[1].tolist())
    pooled = net.encode(both).pooled
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3


# ------------------------------------------------------------------------------------------------------------------- loss


def test_surprise_is_the_sum_of_what_was_read_and_asked():
    net = model()
    tokens = torch.tensor([[5, 9, 3, PAD], [7, PAD, PAD, PAD], [2, 4, 6, 8]])
    nats, there = gpt.surprise(net, tokens)
    assert there.tolist() == [[True] * 4 + [False], [True] * 2 + [False] * 3, [True] * 5]
    for row, found in zip(tokens.tolist(), nats, strict=True):
        row = [t for t in row if t != PAD]
        read = [BEGIN]
        for t, following in enumerate([*row, END]):
            logits = net(torch.tensor([read]))[0, -1]
            assert torch.allclose(found[t], -logits.log_softmax(-1)[following], atol=1e-5)
            read.append(following)
        assert found[len(row) + 1 :].abs().sum() == 0
    loss, _ = gpt.gpt_loss(net, {"tokens": tokens})
    assert torch.allclose(loss, nats[there].mean(), atol=1e-6)


def test_texts_of_all_lengths_share_one_probability():
    net, total = model(vocabulary=4), 0.0
    for n in range(5):
        texts = torch.tensor(list(itertools.product(range(1, 4), repeat=n))).view(3**n, n).long()
        nats, _ = gpt.surprise(net, texts)
        total += (-(nats if n < 4 else nats[:, :-1]).sum(1)).exp().sum().item()  # at last all that go on
    assert total == pytest.approx(1, abs=1e-5)


# ---------------------------------------------------------------------------------------------------------------- sampler


def test_chances_are_what_the_formulas_say():
    logits = 2 * torch.randn(5, 20, generator=torch.Generator().manual_seed(4))
    p = logits.softmax(-1)
    assert torch.allclose(gpt.chances(logits), p, atol=1e-6)
    power = p**0.5 / (p**0.5).sum(-1, keepdim=True)
    assert torch.allclose(gpt.chances(logits, temperature=2.0), power, atol=1e-6)
    for row, found, three in zip(p, gpt.chances(logits, top_p=0.8), gpt.chances(logits, top_k=3), strict=True):
        order = row.argsort(descending=True).tolist()
        head = next(order[:m] for m in range(1, 21) if row[order[:m]].sum() >= 0.8)
        for kept, cut in ((head, found), (order[:3], three)):
            expected = torch.zeros(20)
            expected[kept] = row[kept] / row[kept].sum()
            assert torch.allclose(cut, expected, atol=1e-6)
    assert (gpt.chances(logits, top_p=1e-6) == F.one_hot(logits.argmax(-1), 20)).all()
    assert (gpt.chances(logits, top_k=99) - p).abs().max() < 1e-6


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}])
def test_what_no_sampler_can_do_is_said(wrong):
    with pytest.raises(CourseError, match="must be above 0"):
        gpt.chances(torch.zeros(3), **wrong)


def test_a_sample_goes_on_from_its_start_ends_once_and_follows_its_seed():
    net, start = model(), torch.full((50, 1), BEGIN)
    draw = lambda seed: gpt.sample(net, start, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    one = draw(0)
    assert torch.equal(one, draw(0)) and one.shape[1] <= 16 and (one[:, :1] == start).all()
    assert one.shape != draw(1).shape or not torch.equal(one, draw(1))
    for row in one.tolist():
        end = row.index(END) if END in row else len(row)
        assert not any(row[end:])
    told = rows(2, 5)
    assert torch.equal(gpt.sample(net, told, top_k=1)[:, :5], told)


def test_samples_are_drawn_by_the_models_probabilities():
    net, start = model(vocabulary=6, longest=3), torch.full((4_000, 2), 3)
    found = gpt.sample(net, start, generator=torch.Generator().manual_seed(0))[:, 2]
    p = net(start[:1])[0, -1].softmax(-1)
    shares = found.bincount(minlength=6) / 4_000
    assert ((shares - p).abs() < 4 * (p * (1 - p) / 4_000).sqrt() + 1e-9).all() and p.max() < 0.9


# -------------------------------------------------------------------------------------------------------------- train gpt


def recipe(*words: object):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return recipe_file.recipe(parser.parse_args(["gpt", "--device", "cpu", *map(str, words)]))


def test_batches_are_captions_of_nearly_one_length_and_a_pure_function():
    made = recipe("--captions", 200)
    tokens = Tokenizer(made.card["tokenizer"])
    draw = lambda at: made.batches(at, 16, torch.Generator().manual_seed(at))["tokens"]  # noqa: E731
    first = draw(0)
    assert torch.equal(first, draw(0)) and not torch.equal(first, draw(16)[:, : first.shape[1]])
    assert first.dtype == torch.int64 and (first[:, -1] != PAD).any()
    assert all(parse(tokens.decode(row)) for row in first.tolist())
    known = {tokens.decode(tokens.encode(text)) for text in captions(200)}
    assert {tokens.decode(row) for row in first.tolist()} <= known


@pytest.mark.parametrize("world", ["shapes", "emoji"])
def test_train_gpt_from_nothing_to_a_caption(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    words = ["train", "gpt", "--world", world, "--captions", "150", "--images", "64", "--batch-size", "16"]
    name = str(tmp_path / "weights" / ("gpt-captions" if world == "shapes" else "gpt-captions-emoji"))
    assert main([*words, "--format", "int8"]) in (0, None) and f"wrote {name}" in capsys.readouterr().out
    card, net = read_card(name), load_model(name, "gpt")
    assert card["kind"] == "gpt" and card["images_seen"] == 64 and card["world"] == world and card["words"]["en"]
    assert card["command"].startswith("python -m course_utils train gpt") and "captions" in card["data"]
    tokens = Tokenizer(card["tokenizer"])
    assert len(tokens) == net.config.vocabulary
    found = gpt.sample(net, torch.full((2, 1), BEGIN), generator=torch.Generator().manual_seed(0))
    assert all(isinstance(tokens.decode(row), str) for row in found.tolist())


def test_no_captions_are_a_sentence():
    with pytest.raises(CourseError, match="--captions is 0"):
        recipe("--captions", 0)
