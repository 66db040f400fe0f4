"""What lesson 10 rests on: byte pairs, word vectors, the tagger, the parser, Chinese words, augmentation."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from course_utils import show
from course_utils.common import CourseError
from course_utils.language import augment, bpe, cky, tagger, word2vec
from course_utils.language.tokenizer import SPECIAL, Tokenizer
from course_utils.language.words import normalise, split_words
from course_utils.worlds import everyday, grammar, tags
from course_utils.worlds.captions import caption, parse, random_parts, training_caption, word_list
from course_utils.worlds.scenes import SEEDS, scenes
from course_utils.worlds.vocabulary import HELD_OUT_SYNONYMS


def english(seed: str, n: int, synonyms: str = "train", things: int | None = None) -> list[str]:
    found = scenes(SEEDS[seed], 0, n, things=things).scenes
    return [
        caption(scene, random_parts(len(scene.things), i), seed=i, synonyms=synonyms) for i, scene in enumerate(found)
    ]


# -------------------------------------------------------------------------------------------------------- byte pairs


def strange(n: int, seed: int) -> list[str]:
    """Texts of random signs from all over Unicode."""
    dice = random.Random(seed)
    ranges = ((32, 127), (32, 127), (0xA0, 0x2000), (0x3000, 0xA000), (0x1F300, 0x1F700), (32, 34), (9, 14))
    return ["".join(chr(dice.randrange(*dice.choice(ranges))) for _ in range(dice.randrange(30))) for _ in range(n)]


def joined(pairs: list[bpe.Pair]) -> list[str]:
    return [" ".join(pair) for pair in pairs]


@pytest.fixture(scope="module")
def captions() -> list[str]:
    """Captions in both languages, normalised."""
    rows = scenes(SEEDS["flow"], 0, 400, split="train").scenes
    return [normalise(training_caption(scene, i)) for i, scene in enumerate(rows)]


def test_merges_and_encodings_are_those_of_the_library(captions: list[str]) -> None:
    assert any("\u4e00" <= sign <= "\u9fff" for text in captions for sign in text)
    library = Tokenizer.train(captions, 500)
    merges = bpe.learn(captions, 500 - 258)
    assert joined(merges) == library.merges and len(merges) == 242
    assert bpe.vocabulary(merges) == library.library.get_vocab()
    for text in [*captions[:200], *strange(500, 0), "", " ", "a  b", "<pad>", "don't", "x" * 99]:
        assert bpe.encode(text, merges) == library.library.encode(text).ids, text


@pytest.mark.parametrize("seed", range(9))
def test_ties_are_broken_as_in_the_library(seed: int) -> None:
    """Texts of few letters, in which many pairs are equally frequent; and strange ones."""
    dice = random.Random(seed)
    letters = ("ab", "abc ", "aab1 ")[seed % 3]
    few = ["".join(dice.choice(letters) for _ in range(dice.randrange(1, 25))) for _ in range(30)]
    texts = few if seed < 6 else strange(60, seed)
    merges = Tokenizer.train(texts, 330).merges
    assert joined(bpe.learn(map(normalise, texts), 330 - 258)) == merges


def test_the_order_of_the_texts_does_not_matter(captions: list[str]) -> None:
    assert bpe.learn(captions[:200][::-1], 60) == bpe.learn(captions[:200], 60)


def test_merging_goes_from_left_to_right_and_learning_ends_where_nothing_is_left() -> None:
    assert bpe.merge("aaa", ("a", "a")) == ["aa", "a"] and bpe.merge([], ("a", "b")) == []
    assert bpe.learn(["ab"], 99) == [("a", "b"), ("Ġ", "ab")]
    assert list(bpe.vocabulary([]))[:2] == SPECIAL and len(bpe.vocabulary([])) == 258
    with pytest.raises(CourseError, match="0 or more"):
        bpe.learn(["a"], -1)


# ------------------------------------------------------------------------------------------------------ word vectors

MEANING = {word: value for value in everyday.COLOURS for word in everyday.words_for("colour", value)} | {
    word: value for value in everyday.SIZED for word in everyday.words_for("size", value)
}
HELD_OUT = [word for word in HELD_OUT_SYNONYMS["en"] if word in MEANING]
CONFIG = word2vec.Word2VecConfig(steps=500)


def vectors(rows: list[str]) -> word2vec.WordVectors:
    return word2vec.train_word2vec([split_words(row) for row in rows], CONFIG)


@pytest.fixture(scope="module")
def shared() -> word2vec.WordVectors:
    return vectors(everyday.sentences(6_000))


def found(trained: word2vec.WordVectors) -> int:
    """How many of the held-out synonyms have a word of the same meaning as their nearest known one."""
    known = [word for word in MEANING if word not in HELD_OUT]
    return sum(MEANING[trained.nearest(word, 1, among=known)[0][0]] == MEANING[word] for word in HELD_OUT)


def test_held_out_synonyms_lie_near_their_words_where_they_share_contexts(shared: word2vec.WordVectors) -> None:
    assert len(HELD_OUT) == 6 and found(shared) == 6
    assert all(MEANING.get(shared.nearest(word, 1)[0][0]) == MEANING[word] for word in HELD_OUT)


def test_where_they_share_none_they_do_not() -> None:
    apart = vectors(everyday.sentences(6_000, apart=HELD_OUT))
    assert found(apart) <= 3
    assert all(apart.nearest(word, 1)[0][0] in HELD_OUT for word in HELD_OUT)


def test_analogies_of_colour_and_kind(shared: word2vec.WordVectors) -> None:
    right = []
    for (colour, kind), things in everyday.THINGS.items():
        a, b = things[0], everyday.THINGS[colour, "animal"][0]
        c, wanted = everyday.THINGS["blue", kind][0], everyday.THINGS["blue", "animal"]
        if colour != "blue" and kind != "animal":
            right.append(shared.analogy(a, b, c)[0][0] in wanted)
    assert len(right) == 12 and sum(right) >= 10


def test_the_loss_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    v, u, n = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((6, 4), (6, 4), (6, 3, 4)))
    v.requires_grad_()
    loss = word2vec.negative_sampling_loss(v, u, n)
    by_hand = -torch.sigmoid((u * v).sum(1)).log() - torch.sigmoid(-torch.einsum("bkd,bd->bk", n, v)).log().sum(1)
    assert torch.allclose(loss, by_hand.mean())
    slope = -(1 - torch.sigmoid((u * v).sum(1)))[:, None] * u
    slope = slope + (torch.sigmoid(torch.einsum("bkd,bd->bk", n, v))[..., None] * n).sum(1)
    assert torch.allclose(torch.autograd.grad(loss, v)[0], slope / 6)


def test_pairs_reach_as_far_as_the_window() -> None:
    assert word2vec.skip_grams([[1, 2, 3]], 1).tolist() == [[1, 2], [2, 1], [2, 3], [3, 2]]
    assert word2vec.skip_grams([[7], []], 2).shape == (0, 2)
    assert word2vec.count_words([["b", "a"], ["b", "c", "c"]]) == {"b": 2, "c": 2, "a": 1}


def test_vectors_belong_to_their_seed_and_say_what_they_lack(shared: word2vec.WordVectors) -> None:
    again = vectors(everyday.sentences(6_000))
    assert torch.equal(again.matrix, shared.matrix) and again.words == shared.words
    embedded = shared.embed(["scarlet", "unheard"])
    assert torch.equal(embedded[0], shared["scarlet"]) and not embedded[1].any()
    assert shared.embed([]).shape == (0, CONFIG.width)
    assert [word for word, _ in shared.nearest("red", 3, but=["ruby"])].count("red") == 0
    with pytest.raises(CourseError, match='no vector for "unheard"'):
        shared["unheard"]
    with pytest.raises(CourseError, match="no neighbours"):
        word2vec.train_word2vec([["alone"]])


def test_small_talk_belongs_to_its_seed_and_keeps_words_apart() -> None:
    rows = everyday.sentences(2_000, 5)
    assert rows == everyday.sentences(2_000, 5) != everyday.sentences(2_000, 6)
    assert {word for row in rows for word in split_words(row)} >= set(MEANING)
    talk = [split_words(row) for row in everyday.sentences(2_000, 5, apart=["azure"])]
    assert {"shop", "paint", "sold"} & {word for row in talk if "azure" in row for word in row}
    things = {thing for row in everyday.THINGS.values() for thing in row}
    assert not any(things & set(row) for row in talk if "azure" in row)


# --------------------------------------------------------------------------------------------------- tags and trees


@pytest.fixture(scope="module")
def trained() -> tagger.Tagger:
    return tagger.train_tagger([tags.tagged(text) for text in english("flow", 1_000)])


@pytest.mark.parametrize(("synonyms", "floor"), [("train", 0.98), ("held_out", 0.98)])
def test_the_tagger_finds_the_gold_tags_of_held_out_captions(
    trained: tagger.Tagger, synonyms: str, floor: float
) -> None:
    pairs = []
    for text in english("test", 400, synonyms):
        gold = tags.tagged(text)
        pairs += zip(gold, trained.tag([word for word, _ in gold]), strict=True)
    assert len(pairs) > 4_000
    assert sum(one == other for one, other in pairs) / len(pairs) >= floor


def test_gold_tags_depend_on_what_a_word_does() -> None:
    said = "a star to the left of a square shape with a heart on the left side"
    assert [tag for word, tag in tags.tagged(said) if word == "left"] == ["NOUN", "ADJ"]
    assert dict(tags.tagged("a square left of a square shape"))["left"] == "ADV"
    assert [tag for word, tag in tags.tagged("a square above a square shape") if word == "square"] == ["NOUN", "NOUN"]
    assert dict(tags.tagged("a filled-in star"))["filled"] == "ADJ"
    with pytest.raises(CourseError, match="English"):
        tags.tagged("一个红色的圆")
    with pytest.raises(CourseError, match='"dog"'):
        tags.tagged("a red dog")


def test_every_word_of_every_caption_has_a_tag_of_the_list() -> None:
    for synonyms in ("plain", "train", "held_out"):
        for text in english("validation", 500, synonyms):
            found = tags.tagged(text)
            assert [word for word, _ in found] == split_words(text)
            assert {tag for _, tag in found} <= set(tags.TAGS)


def test_a_tagger_belongs_to_its_seed_and_takes_odd_sentences(trained: tagger.Tagger) -> None:
    again = tagger.train_tagger([tags.tagged(text) for text in english("flow", 1_000)])
    assert torch.equal(again.out.weight, trained.out.weight)
    assert trained.tag([]) == [] and len(trained.tag(["zzz"])) == 1
    with pytest.raises(CourseError, match="no tagged words"):
        tagger.train_tagger([])


@pytest.mark.parametrize("synonyms", ["plain", "train", "held_out"])
def test_the_parser_recovers_who_is_where(synonyms: str) -> None:
    """The tree's answer is that of `captions.parse`, which reads by patterns, for every way to say a relation."""
    count = 0
    for text in english("test", 500, synonyms, things=2):
        wanted = parse(text)
        if wanted.relation:
            count += 1
            assert grammar.who_where(text) == (wanted.things[0], wanted.relation, wanted.things[1]), text
    assert count > 200


def test_what_is_no_such_sentence_is_not_read() -> None:
    for text in ("a red circle", "red left square", "a circle a square", ""):
        with pytest.raises(CourseError, match="cannot read"):
            grammar.who_where(text)


def test_the_chart_holds_every_reading() -> None:
    """A grammar with a known number of stretches: balanced brackets."""
    rules = [
        cky.Rule("S", "S", "S", lambda a, b: a + b),
        cky.Rule("S", "(", ")", lambda a, b: 1),
        cky.Rule("S", "(", "R", lambda a, b: b),
        cky.Rule("R", "S", ")", lambda a, b: a + 1),
    ]
    brackets = cky.Grammar({("(",): [("(", 0)], (")",): [(")", 0)]}, rules)
    assert cky.parse("(()())()", brackets).meaning == 4
    assert str(cky.parse("()", brackets)) == "[S [( (] [) )]]"
    for text in ("(", "())", ")("):
        with pytest.raises(CourseError):
            cky.parse(text, brackets)


# ------------------------------------------------------------------------------------------- Chinese, and other words


def test_chinese_words_by_jieba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jieba")
    from course_utils.language import chinese

    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    chinese._folder.cache_clear()
    splitter = chinese.Splitter()
    assert splitter.words("一个红色的小圆在蓝色大方块的上面") == "一个 红色 的 小 圆 在 蓝色 大 方块 的 上面".split()
    assert list(tmp_path.rglob("jieba*"))
    known = word_list()["zh"]
    shares = []
    for cutter in (splitter, chinese.Splitter(known)):
        hits = total = 0
        for i, scene in enumerate(scenes(SEEDS["test"], 0, 60).scenes):
            text = normalise(caption(scene, language="zh", seed=i))
            gold, cut = (chinese.boundaries(words) for words in (split_words(text, known), cutter.words(text)))
            hits, total = hits + len(gold & cut), total + len(cut)
        shares.append(hits / total)
    assert 0.9 < shares[0] < shares[1]
    assert ("在", "p") in splitter.tagged("圆在上面") and splitter.words(" ") == []
    with pytest.raises(CourseError, match="not int"):
        splitter.words(7)  # type: ignore[arg-type]
    chinese._folder.cache_clear()


def test_synonyms_and_dropped_words() -> None:
    table = {"red": ["amber", "ruby"], "circle": ["disc"]}
    swapped = {augment.swap_synonyms("a red circle", table, 100, seed) for seed in range(40)}
    assert swapped == {"an amber disc", "a ruby disc"}
    assert augment.swap_synonyms("a red circle", table, 0, 1) == "a red circle"
    changed = sum("red" not in augment.swap_synonyms("a red star", table, 30, seed) for seed in range(2_000))
    assert 500 < changed < 700
    kept = [augment.drop_words("one two three four", 25, seed).split() for seed in range(2_000)]
    assert 0.72 < sum(map(len, kept)) / 8_000 < 0.78 and min(map(len, kept)) == 1
    assert augment.drop_words("a b", 100, 3) in ("a", "b") and augment.drop_words("", 50, 0) == ""
    for wrong in (-1, 101):
        with pytest.raises(CourseError, match="between 0 and 100"):
            augment.drop_words("a", wrong, 0)
        with pytest.raises(CourseError, match="between 0 and 100"):
            augment.swap_synonyms("a", table, wrong, 0)


def test_a_word_map_has_a_point_for_each_word() -> None:
    figure = show.word_map(
        {"one": (["a", "b", "c"], [[0, 0], [1, 1], [2, 0]])},
        {"first": ["a", "b"], "second": ["c", "gone"]},
        starred=["c"],
    )
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [len(dots.get_offsets()) for dots in axes.collections] == [2, 0, 0, 1]
    assert [text.get_text() for text in axes.texts] == ["c"]
    with pytest.raises(CourseError, match=r"needs points \(1, 2\)"):
        show.word_map({"one": (["a"], [[0, 0, 0]])}, {})
