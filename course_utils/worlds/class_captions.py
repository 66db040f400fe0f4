"""Captions of worlds with classes: each class's names in English and Chinese, and sentences to put them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from course_utils.worlds.captioned import Captioned, Captions

Names = Sequence[Sequence[str]]  # class → its names, the main one first

_DIGITS_EN = [(word, str(n)) for n, word in enumerate("zero one two three four five six seven eight nine".split())]
_DIGITS_ZH = [(word, str(n)) for n, word in enumerate("零一二三四五六七八九")]
_DIGITS: dict[str, tuple[Sequence[str], Names]] = {
    "en": (("the digit {}", "a handwritten {}", "the handwritten digit {}", "the number {}"), _DIGITS_EN),
    "zh": (("数字{}", "手写的{}", "手写数字{}", "一个手写的数字{}"), _DIGITS_ZH),
}
_PICTURES = ("{}", "a picture of {}", "an image of {}")
_PHOTOS = ("{}", "a photo of {}", "a small photo of {}", "a picture of {}")

# world → language → (sentences, names of each class in the order of its labels)
CLASSES: dict[str, dict[str, tuple[Sequence[str], Names]]] = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "fashion_mnist": {
        "en": (
            _PICTURES,
            [
                ("a T-shirt", "a top", "a T-shirt or top"),
                ("trousers", "a pair of trousers"),
                ("a pullover", "a jumper"),
                ("a dress",),
                ("a coat",),
                ("a sandal", "a summer shoe"),
                ("a shirt",),
                ("a sneaker", "a trainer"),
                ("a bag", "a handbag"),
                ("an ankle boot", "a short boot"),
            ],
        ),
        "zh": (
            ("{}", "{}的图片", "图中是{}"),
            [
                ("一件T恤", "一件短袖上衣"),
                ("一条裤子", "一条长裤"),
                ("一件套头衫", "一件毛衣"),
                ("一条连衣裙", "一条裙子"),
                ("一件外套", "一件大衣"),
                ("一只凉鞋",),
                ("一件衬衫",),
                ("一只运动鞋",),
                ("一个包", "一个手提包"),
                ("一只短靴", "一只踝靴"),
            ],
        ),
    },
    "cifar10": {
        "en": (
            _PHOTOS,
            [
                ("an airplane", "a plane", "an aeroplane"),
                ("a car", "an automobile"),
                ("a bird",),
                ("a cat",),
                ("a deer",),
                ("a dog",),
                ("a frog",),
                ("a horse",),
                ("a ship", "a boat"),
                ("a truck", "a lorry"),
            ],
        ),
        "zh": (
            ("{}", "{}的照片", "照片里是{}"),
            [
                ("一架飞机",),
                ("一辆汽车", "一辆轿车"),
                ("一只鸟",),
                ("一只猫",),
                ("一头鹿",),
                ("一只狗",),
                ("一只青蛙",),
                ("一匹马",),
                ("一艘船", "一条船"),
                ("一辆卡车",),
            ],
        ),
    },
}


def class_captions(name: str, label: int) -> Captions:
    """All that can be said of a picture of world `name` with this label, by language, the plainest first."""
    return {
        language: [sentence.format(word) for sentence in sentences for word in names[label]]
        for language, (sentences, names) in CLASSES[name].items()
    }


def of_classes(name: str, split: str, read: Callable[[Tensor], Tensor], labels: Tensor) -> Captioned:
    """The world of pictures that `read` gives, whose captions follow from their labels (N,)."""
    return Captioned(name, split, len(labels), read, lambda i: class_captions(name, int(labels[i])), labels)
