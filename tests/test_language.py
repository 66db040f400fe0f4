"""The tokenizer: any text goes in and comes back."""

from __future__ import annotations

import re

import pytest
import torch
from small import captions, tokenizer

from course_utils.language.tokenizer import EMPTY, PAD, Tokenizer
from course_utils.language.words import normalise
from course_utils.models.text_encoder import TextEncoderConfig
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
    "1234567890",
]

CHINESE = re.compile("[\u4e00-\u9fff]")
VARIANTS = {  # of a caption as people type it
    "full stop": lambda text: text + ("。" if CHINESE.search(text) else "."),
    "exclamation": lambda text: text + " !",
    "quotes": lambda text: f"“{text}”",
    "newlines": lambda text: re.sub("(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])| ", "\n", text) + "\r\n",
    "tabs": lambda text: text.replace(" ", "\t") + "\t",
    "blanks between signs": lambda text: " ".join(text) if CHINESE.search(text) else text.replace(" ", " \u00a0 "),
    "zero width": lambda text: "\ufeff" + text.replace("的", "\u200b的").replace(" ", "\u200b \u200d"),
    "full width": lambda text: re.sub("[!-~]", lambda sign: chr(ord(sign[0]) + 0xFEE0), text).replace(" ", "\u3000"),
    "capitals": str.upper,
    "commas": lambda text: text.replace("，", " ,").replace(", ", ","),
    "Traditional": lambda text: text.translate(
        str.maketrans("红蓝黄绿圆个实条纹与颗边画", "紅藍黃綠圓個實條紋與顆邊畫")
    ),
    "one sign": lambda text: re.sub("([橙青粉白灰黑])色(?!的背景)", r"\1", text),
    "二": lambda text: text.replace("两", "二"),
}


def test_captions_come_back_in_both_languages():
    fresh = [training_caption(s, i) for i, s in enumerate(scenes(SEEDS["flow"], 5000, 200).scenes)]
    for text in [*captions()[:200], *fresh, "A SMALL Red circle", "一个红色的小圆在蓝色大方块的上面"]:
        assert tokenizer().decode(tokenizer().encode(text)) == normalise(text)
    assert any("\u4e00" <= sign <= "\u9fff" for text in fresh for sign in text)


@pytest.mark.parametrize("text", STRANGE)
def test_any_text_can_be_encoded_and_comes_back(text):
    tokens = tokenizer().encode(text)
    assert tokens and all(
        EMPTY < token < len(tokenizer()) for token in tokens
    )  # never a special token, whatever is typed
    assert tokenizer().decode(tokens) == normalise(text)
    assert tokenizer().batch([text], 400)[0].tolist() == tokens


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u3000", "\x00", "?!", "“”"])
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
    assert len({tuple(tokenizer().encode(text)) for text in captions()}) == len(
        {normalise(text) for text in captions()}
    )
    assert tokenizer().encode("red circle") == tokenizer().encode("  RED circle ")  # the same words, the same tokens


def test_normalising_leaves_the_tokens_of_captions_as_they_were():
    """The weights that ship learned from captions in NFKC and lower case, which is what normalising must make of them."""
    from tokenizers import normalizers

    rows = [training_caption(s, i) for i, s in enumerate(scenes(SEEDS["flow"], 0, 2_000, split="train").scenes)]
    before = Tokenizer(tokenizer().merges).library
    before.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    assert [tokenizer().encode(text) for text in rows] == [before.encode(text).ids for text in rows]
    assert (
        before.encode("a red circle.").ids != tokenizer().encode("a red circle.") == tokenizer().encode("a red circle")
    )


@pytest.mark.parametrize("change", VARIANTS)
def test_a_variant_of_a_caption_has_the_tokens_of_the_caption(change):
    """Equal tokens are equal pictures, whatever the weights."""
    for text in captions(1500)[::10]:
        assert tokenizer().encode(VARIANTS[change](text)) == tokenizer().encode(text)
    learned = Tokenizer.train(map(VARIANTS[change], captions()), 400)
    assert learned.merges == tokenizer().merges


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
