"""Captions of `shapes`: what is written is read back, in both languages, and nonsense is told from sense."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest

from course_utils.common import CourseError
from course_utils.language.words import unknown_words
from course_utils.worlds import captions
from course_utils.worlds.captions import CaptionError, Parts, UnknownWords, caption, matches, parse, restrict
from course_utils.worlds.scenes import (
    BACKGROUNDS,
    COLOURS,
    FILLS,
    HELD_OUT_COMBINATIONS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
)
from course_utils.worlds.vocabulary import CHINESE, ENGLISH, HELD_OUT_SYNONYMS, LEXICON

LANGUAGES = ("en", "zh")
CHOICES = {"size": SIZES, "fill": FILLS, "colour": COLOURS, "shape": SHAPES}


def random_scene(seed: int, n: int | None = None) -> Scene:
    """A full scene; every third one has equal things among its things."""
    random = Random(seed)
    n = n or random.randint(1, 3)
    things = [Thing(*(random.choice(values) for values in CHOICES.values())) for _ in range(n)]
    if random.random() < 1 / 3:
        things[-1] = things[0]
        if random.random() < 1 / 2:
            things = things[:1] * n
    place = random.choice(PLACES) if n == 1 else None
    relation = random.choice(RELATIONS) if n == 2 else None
    return Scene(tuple(things), place, relation, random.choice(BACKGROUNDS))


def every_parts(n: int, seed: int) -> Parts:
    """Parts where each is said or not by the toss of a coin."""
    random = Random(seed)
    coin = lambda: random.random() < 0.5  # noqa: E731
    return Parts(tuple((coin(), coin(), coin(), coin()) for _ in range(n)), coin(), coin(), coin())


SCENES = [random_scene(seed) for seed in range(800)]
TRAINING = [s for s in SCENES if not any((t.colour, t.shape) in HELD_OUT_COMBINATIONS for t in s.things)]
CAPTIONS = {
    language: [
        caption(s, language=language, seed=seed) for i, s in enumerate(TRAINING) for seed in range(4 * i, 4 * i + 4)
    ]
    for language in LANGUAGES
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("synonyms", ["plain", "train", "held_out"])
def test_what_is_written_is_read(language, synonyms):
    for i, scene in enumerate(SCENES):
        n = len(scene.things)
        for parts in (Parts.all(n), captions.random_parts(n, i), every_parts(n, i)):
            text = caption(scene, parts, language=language, seed=i, synonyms=synonyms)
            assert parse(text) == restrict(scene, parts), text
            assert not unknown_words(text, captions.word_list()), text


def test_every_choice_of_parts_of_one_thing():
    scene = random_scene(3, n=1)
    for bits in range(64):
        said = tuple(bool(bits >> i & 1) for i in range(6))
        parts = Parts((said[:4],), place=said[4], background=said[5])
        partial = restrict(scene, parts)
        thing = partial.things[0]
        told = (thing.size, thing.fill, thing.colour, thing.shape, partial.place, partial.background)
        assert tuple(value is not None for value in told) == said
        for language in LANGUAGES:
            assert parse(caption(scene, parts, language=language, seed=bits)) == partial


def test_a_partial_scene_can_be_said_again():
    for i, scene in enumerate(SCENES):
        partial = restrict(scene, every_parts(len(scene.things), i))
        assert restrict(partial, Parts.all(len(partial.things))) == partial == captions.canonical(partial)
        assert parse(caption(partial, seed=i)) == partial


def test_a_caption_matches_its_scene_and_no_other():
    for i, scene in enumerate(SCENES):
        partial = restrict(scene, every_parts(len(scene.things), i))
        assert matches(partial, scene)
        if partial.relation is None:
            assert matches(partial, replace(scene, things=scene.things[::-1]))
        assert not matches(partial, replace(scene, things=(*scene.things, Thing())))
        for name, values in (("place", PLACES), ("relation", RELATIONS), ("background", BACKGROUNDS)):
            if getattr(partial, name) is not None:
                for value in {*values, None} - {getattr(partial, name)}:
                    assert not matches(partial, replace(scene, **{name: value}))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_matches_against_counting_all_assignments(n):
    """Change one said attribute of all things to a value that nobody said: nothing fits any more."""
    for i in range(300):
        scene = random_scene(i, n)
        partial = restrict(scene, every_parts(n, i))
        for name, values in CHOICES.items():
            said = {getattr(thing, name) for thing in partial.things} - {None}
            free = [value for value in values if value not in said]
            if said and free:
                wrong = tuple(replace(thing, **{name: free[0]}) for thing in scene.things)
                assert not matches(partial, replace(scene, things=wrong))


def test_matches_by_hand():
    red_circle, blue_square, red_square = (
        Thing("small", "solid", "red", "circle"),
        Thing("large", "solid", "blue", "square"),
        Thing("large", "striped", "red", "square"),
    )
    scene = Scene((red_circle, blue_square), None, "above", "white")
    assert matches(parse("a square and a circle"), scene)
    assert matches(parse("a blue square below a circle"), scene)
    assert not matches(parse("a circle below a square"), scene)
    assert not matches(parse("a circle to the left of a square"), scene)
    assert not matches(parse("a blue circle and a red square"), scene)  # right words, wrong binding
    assert not matches(parse("a circle"), scene)
    three = Scene((red_circle, blue_square, red_square), None, None, "white")
    assert matches(parse("a red shape, a square and a small shape"), three)
    assert not matches(parse("a blue shape, a small shape and a circle"), three)  # the circle cannot be both


@pytest.mark.parametrize("language", LANGUAGES)
def test_training_captions_hold_nothing_held_out(language):
    held = set(HELD_OUT_SYNONYMS[language])
    held |= {word.removesuffix("色") for word in held}
    for text in CAPTIONS[language]:
        words = set(re.findall(r"\w+", text)) if language == "en" else text
        assert not any(word in words or word + "s" in words for word in held), text
        assert not any((thing.colour, thing.shape) in HELD_OUT_COMBINATIONS for thing in parse(text).things), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_training_word_occurs(language):
    scenes = [Scene(s.things[:1] * n, None, None, s.background) for s in TRAINING for n in (2, 3)]  # plurals
    texts = CAPTIONS[language] + [caption(s, language=language, seed=i) for i, s in enumerate(scenes)]
    open_shapes = [Parts(((True, True, True, False),) * len(s.things)) for s in TRAINING]
    texts += [
        caption(s, p, language=language, seed=i) for i, (s, p) in enumerate(zip(TRAINING, open_shapes, strict=True))
    ]
    written = "\n".join(texts).replace("-", " ")
    held = set(HELD_OUT_SYNONYMS[language])
    held |= {word.removesuffix("色") for word in held} | {word + "s" for word in held}
    only_read = {"背景上面", "背景上边", "中", "里", "图", "、", ","}
    for phrase in set(LEXICON[language]) - held - only_read:
        spelled = phrase.replace("center", "centre").replace("gray", "grey") if " " in phrase else phrase
        assert re.search(rf"\b{spelled}\b", written) if language == "en" else phrase in written, phrase
    assert all(len(row) > 1 for words in (ENGLISH, CHINESE) for name in CHOICES for row in words[name].values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_synonyms_are_used_where_they_can_be(language):
    held = {word.removesuffix("色") for word in HELD_OUT_SYNONYMS[language]}
    seen = set()
    for i, scene in enumerate(SCENES):
        parts = every_parts(len(scene.things), i)
        text = caption(scene, parts, language=language, seed=i, synonyms="held_out")
        found = {word for word in held if re.search(rf"\b{word}" if language == "en" else word, text)}
        assert len(found) == captions.has_held_out_synonym(scene, parts, language), text
        seen |= found
    assert seen == held


def test_articles_and_tidy_sentences():
    for text in CAPTIONS["en"]:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  |^ | $| ,|,,", text), text
        assert text == text.lower() and not text.endswith("."), text
    for text in CAPTIONS["zh"]:
        assert not re.search(r"的的|小心|[a-z ,.。]|，，|心心|有有|一颗圆", text), text


def test_two_things_said_either_way_round():
    for a, b in [
        ("a red circle to the left of a star", "a star to the right of a red circle"),
        ("a red circle above a star", "a star with a red circle above it"),
        ("a red circle above a star", "below a red circle there is a star"),
        ("a red circle and a star", "a star and a red circle"),
        ("a red circle and a star", "一颗星星和一个红色的圆"),
        ("a red circle on the left and a star on the right", "a star on the right, a red circle on the left"),
        ("a red circle on the left and a star on the right", "右边是一颗五角星，左边是一个红圆"),
        ("a star with a red circle to its left", "a red circle left of a star"),
        ("a red circle on top of a star", "红色的圆下面有一颗星星"),
        ("two stars and a moon", "a moon, a star and a star"),
        ("a moon to the left of a moon", "two moons"),  # a relation between equals says nothing
    ]:
        assert parse(a) == parse(b)
    assert parse("a circle above a star") != parse("a star above a circle")


def test_what_must_be_understood():
    circle, square = Thing("small", None, "red", "circle"), Thing("large", None, "blue", "square")
    both = Scene((circle, square), None, "above", None)
    assert parse("a small red circle above a large blue square") == both
    assert parse("一个红色的小圆在蓝色大方块的上面") == both
    assert parse("Two tiny crimson discs on a black background.") == Scene((circle, circle), None, None, "black")
    assert parse("three stars") == Scene((Thing(shape="star"),) * 3)
    assert parse("a crescent moon") == parse("a crescent") == parse("moon") == Scene((Thing(shape="moon"),))
    assert parse("a red diamond shape and a red shape") == Scene(
        (Thing(colour="red", shape="diamond"), Thing(colour="red"))
    )
    assert parse("白色背景上面有一个圆") == Scene((Thing(shape="circle"),), None, None, "white")
    assert parse("白色背景的上面有一个圆") == Scene((Thing(shape="circle"),), "top", None, "white")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  A   RED, hollow-circle!  ", "a red hollow circle"),
        ("Ａ　ｒｅｄ　ｃｉｒｃｌｅ．", "a red circle"),
        ("There’s a red circle", "a red circle"),
        ("one red circle over a white background", "a red circle on a white background"),
        ("１ 个红色的圆 , 在左上角。", "左上角有一个红色的圆"),
        ("2 red circles and 1 star", "two red circles and a star"),
        ("“A red\tcircle”,\r\non a white back\u00adground…", "a red circle on a white background"),
        ("左上角，有一個『橙』的圓。", "左上角有一个橙色的圆"),
        ("二个青星星，背景为纯白", "两个青色星星，纯白色背景"),
    ],
)
def test_spelling_is_forgiven(text, plain):
    assert parse(text) == parse(plain)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        (" ?! ", "empty"),
        ("x" * 1001, "1,001"),
        (["a star"], "not list"),
        ("red above", '"red" needs a shape'),
        ("above", "no shape"),
        ("stars", "how many"),
        ("four stars", 'one to three things, not "four"'),
        ("12 stars", 'one to three things, not "12"'),
        ("四个圆", 'one to three things, not "四"'),
        ("十二颗星星", "十二"),
        ("two stars and two moons", "not 4"),
        ("a red blue circle", '"blue" contradicts'),
        ("a white circle", "background"),
        ("a circle on a red background", 'white, grey, black, checkered or dotted, not "red"'),
        ("a circle on a white background on a black background", "two backgrounds"),
        ("a circle at the top left at the bottom", "at most one place"),
        ("two circles at the top", "no place"),
        ("a circle at the top left and a star on the right", "no place"),
        ("a star above two circles", "three things"),
        ("一个圆在方块的左上角", "one relation"),
        ("plus sign sign", '"sign" is out of place'),
    ],
)
def test_nonsense_is_told(text, told):
    with pytest.raises(CaptionError, match=re.escape(told)) as caught:
        parse(text)
    assert isinstance(caught.value, CourseError) and not isinstance(caught.value, UnknownWords)
    assert "\n" not in str(caught.value)


def test_unknown_words_are_named_with_the_nearest():
    with pytest.raises(UnknownWords, match='"purpel" .nearest known: "purple"') as caught:
        parse("a purpel hexagon above a sqare, purpel")
    assert caught.value.words == ["purpel", "hexagon", "sqare"]
    assert caught.value.nearest == {"purpel": "purple", "sqare": "square"}
    with pytest.raises(UnknownWords) as caught:
        parse("一个红色的五脚星和一个六边形")
    assert caught.value.words == ["五脚星", "六边形"] and caught.value.nearest == {"五脚星": "五角星"}
    with pytest.raises(UnknownWords, match='word "🔴"; write'):
        parse("🔴")
    known = captions.word_list()
    assert unknown_words("above four purpel", known) == {"four": None, "purpel": "purple"}  # need not make sense
    for text in ("A miniature scarlet lozenge.", "一颗巨大的朱红色桃心", "2個紅色的圓形，在銀灰色的背景上。"):
        assert unknown_words(text, known) == {}


def test_odd_captions_are_remarked_on():
    for text in ("a small red circle", "two red circles and a blue square", "左上角有一个红色的圆", "a circle, no dog"):
        assert captions.remarks(text) == []  # unknown words are named elsewhere
    for text, told in [
        ("a gray circle", '"gray" is said of a background'),
        ("red circle blue square", 'nothing stands between two things; put "and", a comma or a relation'),
        ("红色的圆蓝色的方块", 'put "和" or a relation'),
        ("a circle left of a square left of a star", "three things have neither place nor relation"),
        ("four stars", "one to three things"),
        ("一个red圆", '"red" is of another language'),
        ("一个绿色三角形在左边", '"green triangle" is held out'),
        ("two orange diamonds and a blue moon", '"orange diamond" is held out'),
    ]:
        assert told in " ".join(captions.remarks(text))
    assert len(captions.remarks("two orange diamonds and a blue moon")) == 2


def test_word_list():
    words = captions.word_list()
    assert set(words) == set(LANGUAGES) and all(row == sorted(set(row)) for row in words.values())
    assert {"crimson", "discs", "rhombuses", "the", "scarlet", "lozenges"} <= set(words["en"])
    assert {"红色", "五角星", "的", "朱红色"} <= set(words["zh"])
    assert not any(" " in word for word in words["en"])


def test_wrong_arguments():
    with pytest.raises(CaptionError, match="'fr'"):
        caption(SCENES[0], language="fr")
    with pytest.raises(ValueError):
        restrict(random_scene(0, n=2), Parts.all(3))


def test_seeds_vary_captions():
    scene = random_scene(11, n=2)
    for language in LANGUAGES:
        assert len({caption(scene, language=language, seed=seed) for seed in range(200)}) > 150
        assert len({caption(scene, language=language, seed=seed, synonyms="plain") for seed in range(20)}) == 1


def test_random_parts_leave_out_as_people_do():
    parts = [captions.random_parts(2, seed) for seed in range(4000)]
    share = [sum(p.things[k][i] for p in parts for k in (0, 1)) / 8000 for i in range(4)]
    assert share == pytest.approx([0.8, 0.8, 0.8, 0.95], abs=0.02)
    said = [sum(getattr(p, name) for p in parts) / 4000 for name in ("place", "relation", "background")]
    assert said == pytest.approx([0.8, 0.8, 0.5], abs=0.025)


FIXED = [
    Scene((Thing("small", "outlined", "orange", "moon"),), "top left", None, "dotted"),
    Scene(
        (Thing("small", "solid", "red", "circle"), Thing("large", "striped", "blue", "square")), None, "above", "white"
    ),
    Scene(
        (Thing("large", "solid", "green", "star"), *(Thing("small", "solid", "pink", "diamond"),) * 2),
        None,
        None,
        "grey",
    ),
]
GOLDEN = [
    (0, 0, "en", "plain", "a small outlined orange moon at the top left on a dotted background"),
    (0, 1, "en", "train", "on a dotted background, a hollow small amber moon is at the top left"),
    (
        0,
        -1000000000000,
        "en",
        "held_out",
        "draw a miniature outlined tangerine moon in the upper left corner against a polka-dot backdrop",
    ),
    (1, 0, "en", "plain", "a small solid red circle above a large striped blue square on a white background"),
    (
        1,
        2,
        "en",
        "train",
        "a large stripy blue square shape below a small filled-in red round shape, on a plain white background",
    ),
    (
        1,
        -1000000000001,
        "en",
        "held_out",
        "a single enormous cobalt striped square shape underneath a small red solid circle on a plain white backdrop",
    ),
    (2, 0, "en", "plain", "a large solid green star and two small solid pink diamonds on a grey background"),
    (
        2,
        3,
        "en",
        "train",
        "a picture of a huge solid green star shape with a tiny filled-in rosy diamond shape and a small solid bubblegum rhombus against a plain grey background",
    ),
    (
        2,
        -1000000000002,
        "en",
        "held_out",
        "a miniature filled-in pink diamond, a tiny pink filled rhombus and a huge filled emerald star on a gray backdrop",
    ),
    (0, 0, "zh", "plain", "圆点背景的左上角有一个橙色的空心小月牙"),
    (0, 1, "zh", "train", "左上方有一个橘黄色的中空小月牙，背景是波点"),
    (0, -1000000000000, "zh", "held_out", "在波点背景上，一个迷你的橘色空心月牙在左上方"),
    (1, 0, "zh", "plain", "白色背景上，一个红色的实心小圆在一个蓝色的条纹大方块的上面"),
    (1, 2, "zh", "train", "白色的背景上，一个涂满的红色小圆形在一个蓝色的条纹大方块上边"),
    (1, -1000000000001, "zh", "held_out", "白色背景上，一个很小的红色的实心圆圈位于一个巨大的蓝色条纹方块的上面"),
    (2, 0, "zh", "plain", "灰色背景上有一个绿色的实心大五角星和两个粉色的实心小菱形"),
    (2, 3, "zh", "train", "灰底上是一颗很大的绿色实心星星、一个很小的粉红色实心钻石与一颗桃红色的实心小钻石"),
    (
        2,
        -1000000000002,
        "zh",
        "held_out",
        "一个迷你的粉色实心菱形，一个小小的粉红色实心菱形和一个很大的草绿色实心星星，银灰色背景",
    ),
]


@pytest.mark.parametrize(("which", "seed", "language", "synonyms", "text"), GOLDEN)
def test_captions_are_the_same_on_every_machine(which, seed, language, synonyms, text):
    assert caption(FIXED[which], language=language, seed=seed, synonyms=synonyms) == text


def test_parts_are_the_same_on_every_machine():
    assert captions.random_parts(2, 5) == Parts(
        ((True, False, True, False), (True, False, True, True)), False, True, False
    )
    assert captions.random_parts(1, -1) == Parts(((True, True, True, True),), True, True, True)
