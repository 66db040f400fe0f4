"""Words: one form for texts that say the same, nothing lost in silence, and suggestions only for what looks like a slip."""

from __future__ import annotations

import random

import pytest

from course_utils.language.words import SAME, nearest_word, normalise, split_words, unknown_words
from course_utils.worlds.vocabulary import LEXICON, OTHER_COUNTS, word_list

FORMS = [
    ("  A  RED\tCircle\r\n", "a red circle"),
    ("a red circle.", "a red circle"),
    ("a red circle . . .", "a red circle"),
    ("“a ‘red’ circle”!?", "a red circle"),
    ("a (red) circle…", "a red circle"),
    ("a red circle. A blue square!", "a red circle, a blue square"),
    ("a red circle — a blue square;", "a red circle, a blue square"),
    ("a red circle , a star", "a red circle, a star"),
    ("circle,star", "circle, star"),
    ("red、blue", "red, blue"),
    ("there’s a jet‑black box", "there is a jet-black box"),
    ("the dog´s bone, the boys' ball", "the dog's bone, the boys ball"),
    ("filled-in -", "filled-in"),
    ("red_circle", "red circle"),
    ("Ａ　ｒｅｄ　ｃｉｒｃｌｅ．", "a red circle"),
    ("\ufeffred\u00a0cir\u00adcle\u200b\u200fblue\x00", "red circle blue"),
    ("1,000 of 3.5 at 12:30.", "1,000 of 3.5 at 12:30"),
    ("CO₂ and ﬁsh, Straße", "co2 and fish, straße"),
    ("一 个 红 色 的\n圆 。", "一个红色的圆"),
    ("左边有一个圆。右边有 2 个方块！", "左边有一个圆,右边有2个方块"),
    ("圆 ， 方块 、 2 颗星", "圆,方块、2颗星"),
    ("「紅色」的圓", "红色的圆"),
    ("橙圆、青的星星和粉月亮", "橙色圆、青色的星星和粉色月亮"),
    ("橙色的橙子", "橙色的橙子"),
    ("青蛙, 粉红的圆", "青蛙,粉红的圆"),
    ("白背景，黑的背景", "白色背景,黑色的背景"),
    ("二个圆，十二个圆，第二个圆", "两个圆,十二个圆,第二个圆"),
    ("🔴❤️👩‍🚀 🇨🇳", "🔴❤👩‍🚀 🇨🇳"),
    ("\u200d \t。", ""),
]


@pytest.mark.parametrize(("text", "form"), FORMS)
def test_one_form_for_what_says_the_same(text, form):
    assert normalise(text) == form == normalise(form)


def test_nothing_is_lost_and_a_second_time_changes_nothing():
    """Each sign that normalising keeps is in a word, so that it is known or named as unknown."""
    odd = "ab 红圆2 1.,!?。'’\"-—、\t\u200b\u200dＡ橙的二个🔴🍕👩🇨🇳❤\ufe0f(]:;_·&+×sſﷺहिé\u0301İΣ\U000e0067"
    dice = random.Random(0)
    for _ in range(20_000):
        text = normalise("".join(dice.choice(odd) for _ in range(dice.randint(1, 9))))
        assert normalise(text) == text
        for known in (None, {"红", "的"}):
            words = split_words(text, known)
            assert "".join(words) == text.replace(" ", "").replace("-", ""), text


def test_texts_are_split_into_words():
    assert split_words("A filled-in, round T-shirt!") == ["a", "filled", "in", ",", "round", "t", "shirt"]
    assert split_words("红色的圆，2个") == [*"红色的圆", ",", "2", "个"]
    assert split_words("红色的六边形和圆", {"红色", "的", "圆"}) == ["红色", "的", "六边形和", "圆"]
    assert split_words("红色iPhone15手机", {"红色", "手机"}) == ["红色", "iphone15", "手机"]
    assert split_words("हिन्दी don't") == ["हिन्दी", "don't"]
    assert split_words("🔴🔴 ❤️🇨🇳👩‍🚀👍🏽&") == ["🔴", "🔴", "❤", "🇨🇳", "👩‍🚀", "👍🏽", "&"]


def test_symbols_are_words():
    known = word_list()
    assert unknown_words("a 🔴 + a 🟥 & a circle", known) == dict.fromkeys("🔴+🟥&")
    assert unknown_words("一个🔴和红/蓝圆", known) == {"🔴": None, "/": None}
    assert unknown_words("🍕", {"en": ["🍕"]}) == unknown_words("🍕!", {"zh": ["红", "🍕"]}) == {}
    assert unknown_words("🍔🍕", {"en": ["🍕"]}) == {"🍔": None}
    assert unknown_words("一个圆", {"en": ["a", "circle"]}) == {"一个圆": None}
    assert unknown_words("", known) == {}


@pytest.mark.parametrize(
    ("word", "near"),
    [
        *(("smal", "small"), ("circel", "circle"), ("sqaure", "square"), ("purpel", "purple"), ("bule", "blue")),
        *(
            ("yello", "yellow"),
            ("starr", "star"),
            ("backgruond", "background"),
            ("botten", None),
            ("triengle", "triangle"),
        ),
        *(("hearts", "heart"), ("五脚星", "五角星"), ("正方型", "正方形")),
        *(
            (word, None)
            for word in "no co2 dog car boat light without inside hexagon four skateboard 17 🔴 球 园形 六边形 "
            "tree threw these leaf pine rose dish desk plane plant gold tall head hands coat thin slide palm".split()
        ),
    ],
)
def test_only_what_looks_like_a_slip_gets_a_suggestion(word, near):
    known = [word for row in word_list().values() for word in row if word != "hearts"]
    assert nearest_word(word, known) == near


def test_traditional_signs_of_the_vocabulary_become_simplified():
    """A sign that Traditional writing has as it is can be encoded in Big5; every other one needs an entry in the table."""

    def is_in(sign: str, codec: str) -> bool:
        try:
            return bool(sign.encode(codec))
        except UnicodeEncodeError:
            return False

    simplified = {chr(one) for one in SAME.values()}
    signs = {sign for word in (*LEXICON["zh"], *OTHER_COUNTS["zh"]) for sign in word if sign >= "\u4e00"}
    assert not [sign for sign in signs if not is_in(sign, "big5") and sign not in simplified]
    traditional = {chr(one) for one in SAME if one >= 0x4E00}
    assert not traditional & signs and all(is_in(sign, "big5hkscs") or is_in(sign, "shift_jis") for sign in traditional)
