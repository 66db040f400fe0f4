"""The tokenizer and the text encoder: any text goes in and comes back, and padding is never heard."""

from __future__ import annotations

import unicodedata

import pytest
import torch
from small import captions, tokenizer

from course_utils.language.text_encoder import Attention, TextEncoder, TextEncoderConfig, attend
from course_utils.language.tokenizer import EMPTY, PAD, Tokenizer
from course_utils.worlds.captions import training_caption
from course_utils.worlds.scenes import SEEDS, scenes

STRANGE = [
    "🙂👩‍👩‍👧 emoji",
    "مرحبا بالعالم",
    "ünïcödé – “quotes”",
    "x" * 300,
    "tab\tand\nline",
    "a  b   c",
    "Ａ ｒｅｄ circle",
    "<pad>",
    "a <empty> red <pad> circle",
    "\x00",
    "1234567890",
]


def written(text: str) -> str:
    """What the tokenizer keeps of a text: compatible forms are one, and so are capitals."""
    return unicodedata.normalize("NFKC", text).lower().strip()


def test_captions_come_back_in_both_languages():
    fresh = [training_caption(s, i) for i, s in enumerate(scenes(SEEDS["flow"], 5000, 200).scenes)]
    for text in [*captions()[:200], *fresh, "A SMALL Red circle", "一个红色的小圆在蓝色大方块的上面"]:
        assert tokenizer().decode(tokenizer().encode(text)) == written(text)
    assert any("\u4e00" <= sign <= "\u9fff" for text in fresh for sign in text)


@pytest.mark.parametrize("text", STRANGE)
def test_any_text_can_be_encoded_and_comes_back(text):
    tokens = tokenizer().encode(text)
    assert tokens and all(
        EMPTY < token < len(tokenizer()) for token in tokens
    )  # never a special token, whatever is typed
    assert tokenizer().decode(tokens) == written(text)
    assert tokenizer().batch([text], 400)[0].tolist() == tokens


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u3000"])
def test_nothing_is_the_empty_token(text):
    assert tokenizer().encode(text) == [EMPTY]
    assert tokenizer().batch([text, "red"], 8)[0].tolist() == [EMPTY] + [PAD] * (len(tokenizer().encode("red")) - 1)
    assert tokenizer().decode([EMPTY]) == tokenizer().decode([PAD, PAD]) == ""


def test_a_batch_is_filled_up_and_cut_at_longest():
    texts = ["a red circle", "", "two blue stars on a dotted background, small and striped", "红色的圆"]
    rows = [tokenizer().encode(text) for text in texts]
    batch = tokenizer().batch(texts, 64)
    assert batch.dtype == torch.int64 and batch.shape == (4, max(map(len, rows)))
    for row, tokens in zip(batch.tolist(), rows, strict=True):
        assert row == tokens + [PAD] * (len(row) - len(tokens))
    cut = tokenizer().batch(texts, 3)
    assert cut.shape == (4, 3) and cut[2].tolist() == rows[2][:3]
    assert torch.equal(tokenizer().batch(texts[:1], 64)[0], batch[0, : len(rows[0])])


def test_every_token_of_the_text_counts():
    assert len({tuple(tokenizer().encode(text)) for text in captions()}) == len({written(text) for text in captions()})
    assert tokenizer().encode("red circle") == tokenizer().encode("  RED circle ")  # the same words, the same tokens


def test_training_is_deterministic_and_the_merges_are_everything():
    again = Tokenizer.train(captions(), 400)
    assert again.merges == tokenizer().merges and len(again) == 400
    loaded = Tokenizer(again.merges)
    assert loaded.merges == again.merges and loaded.encode("a scarlet ☂") == again.encode("a scarlet ☂")
    assert len(Tokenizer.train(captions()[:50], 300)) == 300


def test_captions_fit_into_the_text_encoder():
    """What goes beyond `longest` would be cut off without a word; the shipped tokenizer has 768 tokens, so a bit fewer."""
    large = Tokenizer.train(captions(1500), 768)
    longest = TextEncoderConfig().longest
    batch = scenes(SEEDS["validation"], 0, 600, things=3).scenes
    assert max(len(large.encode(training_caption(s, i))) for i, s in enumerate(batch)) < 0.8 * longest


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(TextEncoderConfig(vocabulary=400, longest=40, width=16, depth=2, heads=2)).eval()


def test_padding_is_not_heard(encoder):
    torch.manual_seed(1)
    tokens = torch.randint(2, 400, (3, 9))
    tokens[1, 5:] = PAD
    alone, seen, summary = encoder(tokens)
    registers = encoder.config.registers
    assert seen.shape == (3, 1, 1, registers + 9)
    assert seen[1, 0, 0].tolist() == [True] * (registers + 5) + [False] * 4
    wide, _, same = encoder(torch.nn.functional.pad(tokens, (0, 20)))
    there = seen[:, 0, 0]
    assert torch.allclose(wide[:, : registers + 9][there], alone[there], atol=1e-5)
    short, _, again = encoder(tokens[1:2, :5])
    assert torch.allclose(short[0], alone[1, : registers + 5], atol=1e-5)
    assert torch.allclose(same, summary, atol=1e-5) and torch.allclose(again[0], summary[1], atol=1e-5)


def test_each_text_is_read_by_itself_and_in_order(encoder):
    torch.manual_seed(2)
    tokens = torch.randint(2, 400, (4, 7))
    together, _, _ = encoder(tokens)
    for i in range(4):
        assert torch.allclose(encoder(tokens[i : i + 1])[0][0], together[i], atol=1e-5)
    swapped = tokens.clone()
    swapped[:, [1, 4]] = tokens[:, [4, 1]]
    assert (encoder(swapped)[0] - together)[:, 0].abs().max() > 1e-3  # "red … blue" is not "blue … red"
    assert encoder(torch.full((2, 1), EMPTY))[0].isfinite().all()


def test_attention_equals_the_formula():
    torch.manual_seed(3)
    attention = Attention(8, 2, source_width=6)
    x, source = torch.randn(2, 5, 8), torch.randn(2, 4, 6)
    seen = torch.tensor([[True, True, True, True], [True, False, True, False]])[:, None, None]
    k, v = (source @ attention.kv.weight.T).chunk(2, -1)
    q = x @ attention.q.weight.T
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        score = q[..., part] @ k[..., part].transpose(1, 2) / 2  # the root of 4 numbers a head
        weight = score.masked_fill(~seen[:, 0], -torch.inf).softmax(-1)
        heads.append(weight @ v[..., part])
    assert torch.allclose(attention(x, source, seen), attention.out(torch.cat(heads, -1)), atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_bfloat16_is_the_fused_kernel_within_its_rounding_with_gradients(masked):
    torch.manual_seed(4)
    seen = (torch.arange(7) < torch.tensor([[7], [3]]))[:, None, None] if masked else None
    found = []
    for dtype in (torch.bfloat16, torch.float32):  # written out; PyTorch's
        torch.manual_seed(5)
        q, k, v = (torch.randn(2, 3, n, 8).bfloat16().to(dtype).requires_grad_() for n in (5, 7, 7))
        out = attend(q, k, v, seen)
        assert out.dtype == dtype
        out.float().square().sum().backward()
        found.append([out.float(), *(x.grad.float() for x in (q, k, v))])
    for ours, reference in zip(*found, strict=True):
        assert (ours - reference).abs().max() < 0.03 * reference.abs().max()
