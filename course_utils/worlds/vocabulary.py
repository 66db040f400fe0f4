"""The words of the world `shapes` in English and Chinese: one main word and some synonyms for everything a scene can be.

The first word of each row is the main word. Training captions use every word here except `HELD_OUT_SYNONYMS`.
"""

from __future__ import annotations

from functools import cache

SPLIT_NAME = "shapes-held-out-1"  # `HELD_OUT_SYNONYMS` and `scenes.HELD_OUT_COMBINATIONS`: a change needs a new name

# Words that no training caption contains, with what they mean: (attribute, value).
HELD_OUT_SYNONYMS: dict[str, dict[str, tuple[str, str]]] = {
    "en": {
        "miniature": ("size", "small"),
        "enormous": ("size", "large"),
        "unfilled": ("fill", "outlined"),
        "scarlet": ("colour", "red"),
        "canary": ("colour", "yellow"),
        "azure": ("colour", "blue"),
        "violet": ("colour", "purple"),
        "lozenge": ("shape", "diamond"),
    },
    "zh": {
        "迷你": ("size", "small"),
        "巨大": ("size", "large"),
        "镂空": ("fill", "outlined"),
        "朱红色": ("colour", "red"),
        "碧绿色": ("colour", "green"),
        "湛蓝色": ("colour", "blue"),
        "桃心": ("shape", "heart"),
    },
}

Words = dict[str, dict[str | None, tuple[str, ...]]]  # attribute → value → words; shape None is "any shape"

ENGLISH: Words = {
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")},
    "fill": {
        "solid": ("solid", "filled", "filled-in"),
        "outlined": ("outlined", "hollow", "empty"),
        "striped": ("striped", "stripy", "banded"),
    },
    "colour": {
        "red": ("red", "crimson", "ruby"),
        "orange": ("orange", "tangerine", "amber"),
        "yellow": ("yellow", "lemon", "golden"),
        "green": ("green", "emerald", "jade"),
        "cyan": ("cyan", "turquoise", "teal", "aqua"),
        "blue": ("blue", "cobalt", "sapphire"),
        "purple": ("purple", "plum", "amethyst"),
        "pink": ("pink", "rosy", "bubblegum"),
    },
    "shape": {
        "circle": ("circle", "disc", "disk", "round shape"),
        "square": ("square", "box", "square shape"),
        "triangle": ("triangle", "triangular shape", "wedge"),
        "star": ("star", "star shape"),
        "cross": ("cross", "plus", "plus sign"),
        "heart": ("heart", "love heart", "heart shape"),
        "moon": ("moon", "crescent", "crescent moon"),
        "diamond": ("diamond", "rhombus", "diamond shape"),
        None: ("shape", "thing", "object"),
    },
    "background": {
        "white": ("white", "plain white", "snow-white"),
        "grey": ("grey", "gray", "plain grey"),
        "black": ("black", "jet-black", "pitch-black"),
        "checkered": ("checkered", "chequered", "checked", "checkerboard"),
        "dotted": ("dotted", "spotted", "polka-dot"),
    },
    "place": {
        "top left": (
            "at the top left",
            "in the top left corner",
            "in the top left-hand corner",
            "in the upper left",
            "in the upper left corner",
        ),
        "top": ("at the top", "near the top", "at the top centre"),
        "top right": (
            "at the top right",
            "in the top right corner",
            "in the top right-hand corner",
            "in the upper right",
            "in the upper right corner",
        ),
        "left": ("on the left", "on the left side", "on the left-hand side"),
        "centre": ("in the centre", "in the middle", "in the center"),
        "right": ("on the right", "on the right side", "on the right-hand side"),
        "bottom left": (
            "at the bottom left",
            "in the bottom left corner",
            "in the bottom left-hand corner",
            "in the lower left",
            "in the lower left corner",
        ),
        "bottom": ("at the bottom", "near the bottom", "at the bottom centre"),
        "bottom right": (
            "at the bottom right",
            "in the bottom right corner",
            "in the bottom right-hand corner",
            "in the lower right",
            "in the lower right corner",
        ),
    },
    "relation": {  # which way the first thing lies from the second
        "left": ("to the left of", "left of"),
        "right": ("to the right of", "right of"),
        "top": ("above", "over", "on top of"),
        "bottom": ("below", "under", "beneath", "underneath"),
    },
    "count": {"1": ("a", "one", "a single", "1"), "2": ("two", "a pair of", "2"), "3": ("three", "a trio of", "3")},
    "ground": {None: ("background", "backdrop")},
}

CHINESE: Words = {
    "size": {"small": ("小", "小小", "很小"), "large": ("大", "大大", "很大")},
    "fill": {
        "solid": ("实心", "涂满"),
        "outlined": ("空心", "中空", "只有轮廓"),
        "striped": ("条纹", "带条纹", "有条纹"),
    },
    "colour": {
        "red": ("红色", "红", "鲜红色", "赤红色"),
        "orange": ("橙色", "橘色", "橘黄色"),
        "yellow": ("黄色", "黄", "金黄色", "明黄色"),
        "green": ("绿色", "绿", "翠绿色", "草绿色"),
        "cyan": ("青色", "青蓝色", "蓝绿色"),
        "blue": ("蓝色", "蓝", "宝蓝色", "海蓝色"),
        "purple": ("紫色", "紫", "紫罗兰色"),
        "pink": ("粉色", "粉红色", "桃红色"),
    },
    "shape": {
        "circle": ("圆", "圆形", "圆圈", "圆盘"),
        "square": ("方块", "正方形", "方形"),
        "triangle": ("三角形", "三角"),
        "star": ("五角星", "星星"),
        "cross": ("十字", "十字形", "加号"),
        "heart": ("爱心", "心形"),
        "moon": ("月牙", "月亮", "弯月", "新月"),
        "diamond": ("菱形", "钻石"),
        None: ("图形", "形状", "物体"),
    },
    "background": {
        "white": ("白色", "纯白色", "雪白色"),
        "grey": ("灰色", "银灰色"),
        "black": ("黑色", "纯黑色"),
        "checkered": ("棋盘格", "格子", "方格"),
        "dotted": ("圆点", "波点"),
    },
    "whole background": {"white": ("白底",), "grey": ("灰底",), "black": ("黑底",)},
    "place": {
        "top left": ("左上角", "左上方"),
        "top": ("上方", "顶部", "上面", "上边"),
        "top right": ("右上角", "右上方"),
        "left": ("左边", "左侧", "左面"),
        "centre": ("中间", "中央", "中心", "正中间", "正中央"),
        "right": ("右边", "右侧", "右面"),
        "bottom left": ("左下角", "左下方"),
        "bottom": ("下方", "底部", "下面", "下边"),
        "bottom right": ("右下角", "右下方"),
    },
    "relation": {
        "left": ("左边", "左侧", "左面"),
        "right": ("右边", "右侧", "右面"),
        "top": ("上面", "上方", "上边"),
        "bottom": ("下面", "下方", "下边"),
    },
    "count": {"1": ("一", "1"), "2": ("两", "2"), "3": ("三", "3")},
    "ground": {None: ("背景",)},
    "ground is": {None: ("背景是", "背景为")},
}

LANGUAGES: dict[str, Words] = {"en": ENGLISH, "zh": CHINESE}

# Words that only hold a sentence together, by what they do in it.
FUNCTION_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "join": ("and", ","),
        "with": ("with", "together with"),
        "over": ("over",),  # a relation, or "over a white background"
        "it": ("it", "its"),
        "skip": ("the", "at", "in", "on", "to", "near", "is", "are", "there", "against", "draw")
        + ("a picture of", "an image of", "picture of", "image of"),
        "count": ("an",),
    },
    "zh": {
        "join": ("和", "与", "还有", ",", "、"),
        "at": ("在", "位于"),
        "has": ("有", "是"),
        "skip": ("的", "个", "颗", "上", "中", "里", "图", "画面", "画"),
    },
}

# Counts that the world cannot hold.
OTHER_COUNTS = {
    "en": frozenset("no zero four five six seven eight nine ten eleven twelve dozen several many".split()),
    "zh": frozenset("零四五六七八九十百千万几多"),
}

# Chinese: fills that stand only in front, with 的; shapes that may be counted with 颗 instead of 个.
LONG_FILLS = frozenset({"涂满", "只有轮廓", "带条纹", "有条纹"})
COUNTED_WITH_KE = frozenset({"五角星", "星星", "爱心", "桃心", "钻石"})


def plural(noun: str) -> str:
    """The plural of an English noun of this vocabulary: "crosses", "diamond shapes"."""
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def short(colour: str) -> str:
    """A Chinese colour as it may stand before 的: 鲜红 for 鲜红色, but 红色 and 紫罗兰色 stay."""
    return colour[:2] if len(colour) == 3 else colour


def _english_lexicon() -> dict[str, tuple[str, str | None]]:
    lexicon: dict[str, tuple[str, str | None]] = {}
    for attribute, rows in ENGLISH.items():
        for value, phrases in rows.items():
            for phrase in phrases:
                # "in the top left corner" is known as "top left corner", "to the left of" as "left of"
                core = phrase.split(" the ")[-1].replace("-", " ")
                for spelling in (core, core.replace("centre", "center").replace("grey", "gray")):
                    lexicon[spelling] = (attribute, value)
                if attribute == "shape":
                    lexicon[plural(core)] = ("shapes", value)
    for word, (attribute, value) in HELD_OUT_SYNONYMS["en"].items():
        lexicon[word] = (attribute, value)
        if attribute == "shape":
            lexicon[plural(word)] = ("shapes", value)
    values = {"an": "1", "over": "top"}
    for kind, words in FUNCTION_WORDS["en"].items():
        lexicon |= {word: (kind, values.get(word)) for word in words}
    return lexicon


def _chinese_lexicon() -> dict[str, tuple[str, str | None]]:
    lexicon: dict[str, tuple[str, str | None]] = {}
    for attribute, rows in CHINESE.items():
        for value, words in rows.items():
            kind = "place" if attribute == "relation" else attribute  # 上面 is a place or a relation
            lexicon |= {word: (kind, value) for word in words}
            if attribute == "colour":
                lexicon |= {short(word): (kind, value) for word in words}
    for word, (attribute, value) in HELD_OUT_SYNONYMS["zh"].items():
        lexicon[word] = lexicon[short(word)] = (attribute, value)
    for kind, words in FUNCTION_WORDS["zh"].items():
        lexicon |= {word: (kind, None) for word in words}
    # "白色背景上面有…" says what lies on the background; "白色背景的上面有…" says where
    lexicon |= {"背景上面": ("ground", None), "背景上边": ("ground", None)}
    return lexicon


# Every word or phrase that `parse` understands → (what kind it is, what it stands for).
LEXICON: dict[str, dict[str, tuple[str, str | None]]] = {"en": _english_lexicon(), "zh": _chinese_lexicon()}


@cache
def word_list() -> dict[str, list[str]]:
    """All known words by language, sorted, held-out synonyms included: English single words, Chinese lexicon entries."""
    english = {word for phrase in LEXICON["en"] for word in phrase.split()} - {","}
    return {"en": sorted(english), "zh": sorted(set(LEXICON["zh"]) - {",", "、"})}


def is_count(word: str, language: str) -> bool:
    """Whether an unknown word counts to zero or to more than three."""
    if word.isdigit():
        return True
    others = OTHER_COUNTS[language]
    return word in others or (language == "zh" and word[0] in others and set(word) <= others | set("一二三"))
