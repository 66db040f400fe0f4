"""The words of the world `emoji_scenes` in English and Chinese: one main word and some synonyms for everything a scene holds.

The first word of each row is the main word. Training captions use every word here except `HELD_OUT_SYNONYMS`. Places and
relations are said as in the world `shapes`.
"""

from __future__ import annotations

from typing import NamedTuple

from course_utils.worlds import vocabulary

# Of what is held out: words, nouns on backgrounds, pairs in relations. A change needs a new name.
SPLIT_NAME = "emoji-scenes-held-out-1"


class Noun(NamedTuple):
    """The emoji that may stand for a noun, by their English names; its words; the Chinese measure word it is counted with."""

    emoji: tuple[str, ...]
    en: tuple[str, ...]
    zh: tuple[str, ...]
    measure: str = "个"


# Pictures of a noun may be one of several emoji: those of a row. No two rows look alike at 18 pixels.
NOUNS: dict[str, Noun] = {
    "cat": Noun(("cat", "cat face"), ("cat", "kitten"), ("猫", "猫咪"), "只"),
    "dog": Noun(("dog", "dog face"), ("dog", "puppy"), ("狗", "狗狗"), "只"),
    "horse": Noun(("horse",), ("horse", "pony"), ("马", "马儿"), "匹"),
    "cow": Noun(("cow", "cow face"), ("cow",), ("奶牛", "牛"), "头"),
    "pig": Noun(("pig", "pig face"), ("pig", "piglet"), ("猪", "猪猪"), "头"),
    "rabbit": Noun(("rabbit", "rabbit face"), ("rabbit", "hare"), ("兔子", "兔"), "只"),
    "elephant": Noun(("elephant",), ("elephant",), ("大象",), "头"),
    "monkey": Noun(("monkey", "monkey face"), ("monkey", "ape"), ("猴子", "猴"), "只"),
    "frog": Noun(("frog",), ("frog", "toad"), ("青蛙", "蛙"), "只"),
    "turtle": Noun(("turtle",), ("turtle", "tortoise"), ("乌龟", "龟"), "只"),
    "fish": Noun(("fish", "tropical fish"), ("fish",), ("鱼", "鱼儿"), "条"),
    "bird": Noun(("bird",), ("bird", "birdie"), ("鸟", "鸟儿"), "只"),
    "duck": Noun(("duck",), ("duck", "drake"), ("鸭子", "鸭"), "只"),
    "penguin": Noun(("penguin",), ("penguin",), ("企鹅",), "只"),
    "butterfly": Noun(("butterfly",), ("butterfly",), ("蝴蝶", "彩蝶"), "只"),
    "bee": Noun(("honeybee",), ("bee", "honeybee"), ("蜜蜂",), "只"),
    "tree": Noun(("deciduous tree", "evergreen tree"), ("tree",), ("树", "树木"), "棵"),
    "cactus": Noun(("cactus",), ("cactus",), ("仙人掌",), "棵"),
    "flower": Noun(("tulip", "cherry blossom", "hibiscus"), ("flower", "bloom"), ("花", "花朵"), "朵"),
    "sunflower": Noun(("sunflower",), ("sunflower",), ("向日葵", "葵花"), "朵"),
    "mushroom": Noun(("mushroom",), ("mushroom", "toadstool"), ("蘑菇",), "朵"),
    "apple": Noun(("red apple", "green apple"), ("apple",), ("苹果",)),
    "banana": Noun(("banana",), ("banana",), ("香蕉",), "根"),
    "strawberry": Noun(("strawberry",), ("strawberry",), ("草莓",), "颗"),
    "carrot": Noun(("carrot",), ("carrot",), ("胡萝卜", "红萝卜"), "根"),
    "pizza": Noun(("pizza",), ("pizza", "slice of pizza"), ("披萨", "比萨"), "块"),
    "cake": Noun(("birthday cake", "shortcake"), ("cake",), ("蛋糕",), "块"),
    "car": Noun(("automobile", "sport utility vehicle", "taxi"), ("car", "motor car"), ("汽车", "轿车"), "辆"),
    "bus": Noun(("bus",), ("bus", "coach"), ("公交车", "巴士"), "辆"),
    "bicycle": Noun(("bicycle",), ("bicycle", "bike"), ("自行车", "单车"), "辆"),
    "train": Noun(("locomotive", "train"), ("train", "railway train"), ("火车", "列车"), "列"),
    "plane": Noun(("airplane",), ("plane", "airplane"), ("飞机", "客机"), "架"),
    "rocket": Noun(("rocket",), ("rocket", "spaceship"), ("火箭",), "枚"),
    "boat": Noun(("sailboat",), ("boat", "sailing boat"), ("帆船", "船"), "艘"),
    "house": Noun(("house", "house with garden"), ("house", "home"), ("房子", "房屋"), "座"),
    "castle": Noun(("castle",), ("castle", "fortress"), ("城堡",), "座"),
    "umbrella": Noun(("umbrella",), ("umbrella", "brolly"), ("雨伞", "伞"), "把"),
    "balloon": Noun(("balloon",), ("balloon",), ("气球",)),
    "gift": Noun(("wrapped gift",), ("gift", "present"), ("礼物", "礼盒"), "份"),
    "ball": Noun(("soccer ball", "basketball"), ("ball",), ("球", "皮球")),
    "guitar": Noun(("guitar",), ("guitar",), ("吉他",), "把"),
    "book": Noun(("closed book", "open book"), ("book",), ("书", "书本"), "本"),
    "clock": Noun(("alarm clock",), ("clock", "alarm clock"), ("闹钟", "时钟"), "只"),
    "sun": Noun(("sun", "sun with face"), ("sun",), ("太阳",)),
    "moon": Noun(("crescent moon",), ("moon", "crescent moon"), ("月亮", "月牙"), "轮"),
    "star": Noun(("star",), ("star",), ("星星", "五角星"), "颗"),
    "snowman": Noun(("snowman", "snowman without snow"), ("snowman",), ("雪人",)),
    "robot": Noun(("robot",), ("robot", "android"), ("机器人",)),
}

# Phrases that say where or when; in Chinese some may stand after 在.
GROUNDS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "meadow": ("in a meadow", "on the grass", "in a green field", "on a lawn"),
        "night": ("at night", "in the night", "in the dark", "on a dark night"),
        "beach": ("on the beach", "on a sandy beach", "at the seaside"),
        "snow": ("in the snow", "on snowy ground", "in winter"),
        "sunset": ("at sunset", "in the evening", "in the evening light"),
        "forest": ("in a forest", "in the forest", "in the woods"),
        "city": ("in the city", "in a city", "in town"),
        "room": ("in a room", "indoors", "in the living room"),
    },
    "zh": {
        "meadow": ("草地上", "草坪上", "田野里"),
        "night": ("夜里", "夜晚", "晚上"),
        "beach": ("海滩上", "沙滩上"),
        "snow": ("雪地里", "雪地上", "冬天"),
        "sunset": ("日落时", "傍晚", "夕阳下"),
        "forest": ("森林里", "树林里", "森林中"),
        "city": ("城市里", "城里", "城市中"),
        "room": ("房间里", "室内", "屋里"),
    },
}
SIZES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")},
    "zh": {"small": ("小", "小小的", "很小的"), "large": ("大", "大大的", "很大的")},
}
PLACES = {"en": vocabulary.ENGLISH["place"], "zh": vocabulary.CHINESE["place"]}
SIDES = {  # of the second thing, where the first one lies
    "en": {**vocabulary.ENGLISH["relation"], "next to": ("next to", "beside", "by")},
    "zh": {**vocabulary.CHINESE["relation"], "next to": ("旁边", "边上")},
}
COUNTS = {  # the usual word several times: each is as likely as another
    "en": {
        1: ("a", "a", "a", "a", "one", "a single"),
        2: ("two", "two", "a pair of"),
        3: ("three", "three", "a trio of"),
    },
    "zh": {1: ("一", "一", "一", "一", "1"), 2: ("两", "两", "两", "2"), 3: ("三", "三", "三", "3")},
}

# Words that no training caption contains, with what they mean: (attribute, value).
HELD_OUT_SYNONYMS: dict[str, dict[str, tuple[str, str]]] = {
    "en": {
        "kitty": ("noun", "cat"),
        "doggy": ("noun", "dog"),
        "bunny": ("noun", "rabbit"),
        "automobile": ("noun", "car"),
        "aircraft": ("noun", "plane"),
        "sailboat": ("noun", "boat"),
        "blossom": ("noun", "flower"),
        "cottage": ("noun", "house"),
        "miniature": ("size", "small"),
        "enormous": ("size", "large"),
        "at dusk": ("background", "sunset"),
        "by the sea": ("background", "beach"),
    },
    "zh": {
        "猫儿": ("noun", "cat"),
        "犬": ("noun", "dog"),
        "车子": ("noun", "car"),
        "脚踏车": ("noun", "bicycle"),
        "鲜花": ("noun", "flower"),
        "屋子": ("noun", "house"),
        "迷你的": ("size", "small"),
        "巨大的": ("size", "large"),
        "黄昏": ("background", "sunset"),
        "海边": ("background", "beach"),
    },
}

# No scene of the split "train" shows these: a noun on a background, a first thing that lies so from a second.
HELD_OUT_BACKGROUNDS = (
    ("cat", "snow"),
    ("dog", "city"),
    ("horse", "beach"),
    ("penguin", "forest"),
    ("car", "night"),
    ("tree", "room"),
    ("boat", "meadow"),
    ("apple", "sunset"),
    ("bird", "night"),
    ("house", "beach"),
    ("rocket", "snow"),
    ("umbrella", "room"),
)
HELD_OUT_PAIRS = (
    ("dog", "left of", "car"),
    ("cat", "left of", "tree"),
    ("apple", "left of", "banana"),
    ("bus", "left of", "house"),
    ("turtle", "left of", "fish"),
    ("robot", "left of", "ball"),
    ("moon", "above", "castle"),
    ("bird", "above", "elephant"),
    ("butterfly", "above", "flower"),
    ("rocket", "above", "tree"),
    ("plane", "above", "boat"),
    ("frog", "above", "mushroom"),
)

SKIPPED = {
    "en": frozenset("a an the at in on to near is are there against draw".split()),
    "zh": frozenset(("的", "上", "中", "里", "图", "画面", "画", *sorted({noun.measure for noun in NOUNS.values()}))),
}
_SKIPPED_PHRASES = ("picture of", "image of")
_JOINTS = {"en": {"and": "J", ",": "J"}, "zh": dict.fromkeys("和与", "J") | {"还有": "J", ",": "J", "、": "J"}}
_VERBS = {"在": "z", "位于": "z", "有": "h", "是": "h"}
_IRREGULAR = {"fish": "fish", "snowman": "snowmen", "slice of pizza": "slices of pizza", "cactus": "cacti"}


def plural(noun: str) -> str:
    """The plural of an English noun of this vocabulary: "buses", "butterflies", "snowmen"."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch")) else "s")


def core(phrase: str) -> str:
    """An English phrase without the words that only hold it together: "in a green field" is known as "green field"."""
    words = phrase.replace("-", " ").split()
    return " ".join(word for word in words if word not in SKIPPED["en"])


Entry = tuple[str, str | int]  # what kind of word, what it stands for; "joint": one letter of the sentence's form


def _lexicon(language: str) -> dict[str, Entry]:
    english = language == "en"
    form = core if english else str
    found: dict[str, Entry] = {}
    for name, noun in NOUNS.items():
        for word in noun.en if english else noun.zh:
            found[form(word)] = ("noun", name)
    rows = (("size", SIZES), ("background", GROUNDS), ("place", PLACES), ("side", SIDES))
    for kind, table in rows:
        for value, phrases in table[language].items():
            if kind == "side" and not english and value != "next to":
                continue  # 左边 is a place or a relation
            for phrase in phrases:
                found[form(phrase)] = (kind, value or "")
    for number, words in COUNTS[language].items():
        found |= {form(word): ("count", number) for word in words if form(word)}
    found |= {form(word): entry for word, entry in HELD_OUT_SYNONYMS[language].items()}
    if english:
        found |= {plural(word): entry for word, entry in list(found.items()) if entry[0] == "noun"}
        found |= {phrase: ("skip", "") for phrase in _SKIPPED_PHRASES}
        swaps = (("centre", "center"), ("grey", "gray"))
        found |= {word.replace(*swap): entry for word, entry in list(found.items()) for swap in swaps}
    else:
        found |= {"二": ("count", 2)} | {word: ("joint", letter) for word, letter in _VERBS.items()}
    found |= {word: ("joint", letter) for word, letter in _JOINTS[language].items()}
    return found | {word: ("skip", "") for word in SKIPPED[language]}


# Every word or phrase that `parse` understands → (what kind it is, what it stands for).
LEXICON: dict[str, dict[str, Entry]] = {language: _lexicon(language) for language in ("en", "zh")}


def word_list() -> dict[str, list[str]]:
    """All known words by language, sorted, held-out synonyms included: English single words, Chinese lexicon entries."""
    english = {word for phrase in LEXICON["en"] for word in phrase.split()} - {","}
    return {"en": sorted(english), "zh": sorted(set(LEXICON["zh"]) - {",", "、"})}
