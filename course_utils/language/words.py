"""From text as people type it to words: one form for what means the same, splitting, and words that nobody has told.

`normalise` is used wherever text enters: where prompts are checked, where a tokenizer learns and where it encodes. So what
the check forgives the model never sees, and whatever `normalise` keeps is a word that the check knows or names.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff々〇"  # Chinese signs
# Punctuation, symbols and emoji; hyphen and apostrophe are none, for after `normalise` they stand inside words only.
SIGN = (
    r"!-&(-,./:-@\[-`{-~\xa1-\xbf\xd7\xf7\u2000-\u200c\u200e-\u2bff\u2e00-\u2e7f\u3001-\u3004\u3008-\u3020\u3030-\u303f"
    r"\ufe10-\ufe6f\ufff9-\uffff\U0001f000-\U0001ffff"
)
# The part of them that a joiner may tie together.
EMOJI = r"\u2190-\u2bff\U0001f000-\U0001ffff"
LETTER = rf"[^\W_{HAN}]"  # letters and digits that are no Chinese signs

BLANK = re.compile("[\\s\x00-\x1f\x7f-\x9f\u115f\u1160\u180e\u200b\u2800\ufeff_]+")
# Soft hyphens, joiners, marks of direction, selectors between the black and the colourful form of an emoji. The joiner of
# emoji (👩‍🚀) means something between two of them only.
UNSEEN = re.compile(
    "[\xad\u034f\u061c\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
    rf"|(?<![{EMOJI}])\u200d|\u200d(?![{EMOJI}])"
)
QUOTES = re.compile('["“”„‟«»‹›「」『』《》〈〉【】〔〕(){}\\[\\]]')
# Commas and the ends of sentences. Between digits they belong to a number: 3.5, 1,000, 12:30.
MARKS = ",.!?;:。¡¿،؛؟।"
PAUSE = re.compile(rf"[{MARKS}](?:(?<!\d.)|(?!\d))[{MARKS} ]*")
DASH = re.compile(rf"[—―-](?:-+|(?<=[—―])|(?<!{LETTER}-)|(?!{LETTER}))")
APOSTROPHE = re.compile(rf"'(?:(?<!{LETTER}')|(?!{LETTER}))")
IS = re.compile(r"\b(here|it|that|there|what)'s\b")

# One sign for another: apostrophes, hyphens, and the Traditional signs for words of the world `shapes`; all others stay.
SAME = str.maketrans(
    "‘’‛ʼ`′‐‒–−個側兩圓圖塊塗實寶帶幾彎愛於條滿為爲狀畫盤箇紅紋純綠緑羅與萬藍蘭號裏裡輪還邊鉆銀鏤鑽間隻頂顆體鮮黃點",
    "''''''----个侧两圆图块涂实宝带几弯爱于条满为为状画盘个红纹纯绿绿罗与万蓝兰号里里轮还边钻银镂钻间只顶颗体鲜黄点",
)
# Colours said with one sign where the full word is usual (橙的圆, 青星星, 背景是白), and 二个 for 两个.
ONE_SIGN = re.compile(
    "[橙青粉](?=的|[大小]|空心|中空|实心|条纹|圆|方|正方|三角|五角星|星星|十字|加号|爱心|心形|月|弯月|菱形|钻石|图形|形状|物体)"
    "|[白灰黑](?=的?背景)|(?:(?<=背景[是为])|(?<=背景[是为][纯雪银]))[白灰黑]$"
)
NO_BLANK = re.compile(f" (?:(?<=[{HAN}、] )|(?=[{HAN}、])|(?<=[{HAN}], ))")
TWO = re.compile("(?<![一二三四五六七八九十百千万零第])二(?=[个颗])")

PART = re.compile(
    r"[,、]"
    r"|[\U0001f1e6-\U0001f1ff]{2}"  # a flag
    rf"|[{SIGN}][\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*(?:\u200d[{EMOJI}][\U0001f3fb-\U0001f3ff]*)*"
    rf"|[{HAN}]+"
    rf"|[^\s'{SIGN}{HAN}-]+(?:'[^\s'{SIGN}{HAN}-]+)*"
)
# Known words that somebody who types something else hardly ever means: "tree" is not "three", nor "hand" "and".
POOR_SUGGESTIONS = frozenset(
    "a an and are at in is it its of on the there to with one two three single pair trio near over under plus check hand "
    "side thing things object objects 位于 还有".split()
)


def normalise(text: str) -> str:
    """The one form of all texts that say the same: what a tokenizer learns and encodes, and what the check of prompts reads.

    Compatible forms are one (NFKC: full width, ligatures), and so are capitals. White space of all kinds becomes one blank,
    none beside Chinese signs. Ends of sentences become commas, and nothing at the end of the text; quotes and brackets go.
    Traditional signs of the world `shapes` become Simplified, 橙 before a noun 橙色, 二个 两个. Letters, numbers, emoji and
    other symbols stay. A second time it changes nothing.
    """
    text = unicodedata.normalize("NFKC", UNSEEN.sub("", text).replace("´", "'")).lower()
    text = unicodedata.normalize("NFKC", text).translate(SAME)
    text = BLANK.sub(" ", QUOTES.sub(" ", text))
    text = DASH.sub(",", IS.sub(r"\1 is", APOSTROPHE.sub(" ", text)))
    chinese = language_of(text) == "zh"
    text = PAUSE.sub(", ", text if chinese else text.replace("、", ","))
    text = re.sub(" +", " ", text).replace(" ,", ",").strip(" ,、")
    return TWO.sub("两", ONE_SIGN.sub(r"\g<0>色", NO_BLANK.sub("", text))) if chinese else text


def language_of(text: str) -> str:
    """The language of a text: "zh" if there is a Chinese sign in it, else "en"."""
    return "zh" if re.search(f"[{HAN}]", text) else "en"


def split_words(text: str, known: Collection[str] | None = None) -> list[str]:
    """The words, commas and symbols of a text, normalised, in order; hyphens part words.

    Chinese is cut into the longest words that are `known`, and what lies between those stays in one piece; with known None
    each Chinese sign is a word.
    """
    words: list[str] = []
    known = None if known is None else frozenset(known)
    for part in PART.findall(normalise(text)):
        if language_of(part) == "en":
            words.append(part)
        else:
            words += list(part) if known is None else _cut(part, known)
    return words


def _cut(run: str, known: Collection[str]) -> list[str]:
    """Chinese signs cut into words by longest match; what is between known words stays in one piece."""
    longest = max(map(len, known), default=0)
    words, gap = [], ""
    while run:
        word = next((run[:n] for n in range(min(longest, len(run)), 0, -1) if run[:n] in known), "")
        if gap and word:
            words.append(gap)
            gap = ""
        if word:
            words.append(word)
        else:
            gap += run[0]
        run = run[len(word) or 1 :]
    return words + [gap] if gap else words


def unknown_words(text: str, words: Mapping[str, Iterable[str]]) -> dict[str, str | None]:
    """Each word or symbol of `text` that is in none of the lists → the nearest known word or None; {} if all are known.

    words: known words by language, as in a card. A comma is always known.
    """
    known = frozenset(word for row in words.values() for word in row) | {",", "、"}
    return {word: nearest_word(word, known) for word in split_words(text, known) if word not in known}


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """The known word of which `word` looks like a misspelling, if there is one.

    A slip leaves a letter out, puts one in, swaps two, or changes one of six or more. With fewer letters a changed one makes
    another word ("leaf" is not "left"), and so do short words and numbers ("no" is not "on"); hardly anybody gets the first
    letter wrong. Chinese words must share most of their signs.
    """
    if language_of(word) == "zh":
        options = [w for w in known if len(w) > 1 and language_of(w) == "zh" and w not in POOR_SUGGESTIONS]
        found = difflib.get_close_matches(word, sorted(options), 1, 0.6)
    elif len(word) < 4 or not word.isalpha():
        return None
    else:
        options = [w for w in known if len(w) > 2 and w[0] == word[0] and w not in POOR_SUGGESTIONS]
        close = difflib.get_close_matches(word, sorted(options), 3, 0.75)
        found = [w for w in close if min(len(w), len(word)) >= 6 or _one_slip(*sorted((w, word), key=len))]
    return found[0] if found else None


def _one_slip(short: str, long: str) -> bool:
    """Whether two words have the same letters in another order, or all but one of the longer in its order."""
    letters = iter(long)
    return sorted(short) == sorted(long) or (len(long) == len(short) + 1 and all(letter in letters for letter in short))
