"""The world `celeba`: 202,599 photographs of celebrities' faces (Liu et al. 2015), with captions made of 40 attributes.

**What these captions hide.** Each attribute is a yes or no that annotators gave to a picture. `Male` is what they took
a face for, not what the person says. `Young` has no years: who is "not young" may be forty or eighty, so our wish "a
middle-aged woman wearing a hat" becomes WISH, *Wearing_Hat, not Male, not Young*, whose honest caption is "a woman who
is not young, wearing a hat"; middle age cannot be asked for at all. "No hat" means that nobody marked one. Pictures of
celebrities, collected from the web, are no sample of people. Attributes that judge a body or a face (Attractive,
Chubby, Big_Nose, …) are in the labels, but in no caption.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from course_utils.common import CourseError
from course_utils.worlds.captioned import Captioned, Captions, check_split
from course_utils.worlds.fetch import data_folders, find
from course_utils.worlds.files import check_size, read_squares
from course_utils.worlds.listing import some

PAGE = "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"  # the project's official page
SIDE = 148  # pixels of the square that is cut from the middle of 178x218, as is usual: face and hair

ATTRIBUTES = tuple(  # in the order of the labels' columns
    """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
    Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones
    Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
    Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
    Wearing_Necktie Young""".split()
)
WISH = {"Wearing_Hat": True, "Male": False, "Young": False}  # "a middle-aged woman wearing a hat", as far as labels go

# What captions speak of besides sex and age: attribute → (English, Chinese).
WORN = {
    "Wearing_Hat": ("a hat", "戴着帽子"),
    "Eyeglasses": ("glasses", "戴着眼镜"),
    "Wearing_Earrings": ("earrings", "戴着耳环"),
    "Wearing_Necklace": ("a necklace", "戴着项链"),
    "Wearing_Necktie": ("a necktie", "打着领带"),
    "Wearing_Lipstick": ("lipstick", "涂着口红"),
}
HAD = {
    "Black_Hair": ("black hair", "黑头发"),
    "Blond_Hair": ("blond hair", "金头发"),
    "Brown_Hair": ("brown hair", "棕色头发"),
    "Gray_Hair": ("grey hair", "灰白头发"),
    "Straight_Hair": ("straight hair", "直发"),
    "Wavy_Hair": ("wavy hair", "卷发"),
    "Bangs": ("a fringe", "留着刘海"),
    "Bald": ("a bald head", "光头"),
    "Mustache": ("a moustache", "留着小胡子"),
    "Goatee": ("a goatee", "留着山羊胡"),
}
DONE = {"Smiling": ("smiling", "微笑着")}
SAID = WORN | HAD | DONE


def open_world(name: str, split: str, path: str | Path | None = None, size: int = 64) -> Captioned:
    """The faces of a split, (3, size, size), read when asked for; labels (N, 40) are 1 where an attribute is.

    Splits are the official ones: "train" (162,770), "valid" (19,867), "test" (19,962), "all"; nobody is in two of
    them. The folder is `path`, or where `fetch.find` looks. Raises CourseError that says what to download where
    (`by_hand`) if files are missing or are not the original ones.
    """
    check_split(name, split, ("train", "valid", "test", "all"))
    check_size(size)
    root = checked(path)
    data = datasets.CelebA(str(root), split=split, target_type="attr")
    if tuple(filter(None, data.attr_names)) != ATTRIBUTES:
        raise CourseError(f"The attributes of {root / 'celeba' / 'list_attr_celeba.txt'} are not CelebA's forty.")
    folder, labels = root / "celeba" / "img_align_celeba", data.attr.long()

    def read(numbers: Tensor) -> Tensor:
        return read_squares([folder / data.filename[n] for n in numbers.tolist()], size, SIDE).float() / 255

    return Captioned(name, split, len(labels), read, lambda i: face_captions(labels[i]), labels)


def having(labels: Tensor, wanted: Mapping[str, bool]) -> Tensor:
    """The numbers (M,) of the pictures whose labels (N, 40) are as wanted, for example WISH; M may be 0.

    Raises CourseError for an attribute that there is not.
    """
    for attribute in wanted:
        if attribute not in ATTRIBUTES:
            raise CourseError(f"CelebA has no attribute {attribute!r}; it has {', '.join(ATTRIBUTES)}.")
    fits = [labels[:, ATTRIBUTES.index(attribute)] == int(yes) for attribute, yes in wanted.items()]
    return torch.stack(fits).all(0).nonzero()[:, 0] if fits else torch.arange(len(labels))


def face_captions(labels: Tensor) -> Captions:
    """All that is said of a face with labels (40,): everything first, then at most two traits; with age and without."""
    known = {attribute: bool(yes) for attribute, yes in zip(ATTRIBUTES, labels.tolist(), strict=True)}
    traits = [attribute for attribute in SAID if known[attribute]]
    chosen = [traits] + [list(some) for n in range(3) for some in combinations(traits, n)]
    told = [dict.fromkeys(some, True) | {"Male": known["Male"], "Young": known["Young"]} for some in chosen]
    told += [{attribute: yes for attribute, yes in one.items() if attribute != "Young"} for one in told]
    return {language: list(dict.fromkeys(describe(one, language) for one in told)) for language in ("en", "zh")}


def describe(known: Mapping[str, bool], language: str = "en") -> str:
    """What is known of a face in words; of the traits in SAID only those that are there.

    `describe(WISH)` is "a woman who is not young, wearing a hat"; in Chinese "一位不年轻、戴着帽子的女性".
    """
    sex, young = known.get("Male"), known.get("Young")
    if language == "zh":
        parts = [] if young is None else ["年轻" if young else "不年轻"]
        parts += [chinese for attribute, (_, chinese) in SAID.items() if known.get(attribute)]
        count, who = {True: ("一位", "男性"), False: ("一位", "女性"), None: ("一个", "人")}[sex]
        return count + "、".join(parts) + "的" * bool(parts) + who
    who = {True: "man", False: "woman", None: "person"}[sex]
    parts = [f"a young {who}" if young else f"a {who}" if young is None else f"a {who} who is not young"]
    for begin, rows in (("wearing ", WORN), ("with ", HAD), ("", DONE)):
        if there := [english for attribute, (english, _) in rows.items() if known.get(attribute)]:
            parts.append(begin + " and ".join(filter(None, (", ".join(there[:-1]), there[-1]))))
    return ", ".join(parts)


# ------------------------------------------------------------------------------------------------- the hand download


def by_hand(root: Path) -> str:
    """How to bring CelebA to `root`: what to download from where, and where to put it."""
    texts = [file for _, _, file in datasets.CelebA.file_list if file.endswith(".txt")]
    return (
        "CelebA is for non-commercial research only, and nobody may pass it on, so it is downloaded by hand: read the "
        f"agreement on its official page, {PAGE}, and put from its download folders {', '.join(texts)} into "
        f"{root / 'celeba'}, and the 202,599 pictures of img_align_celeba.zip, unpacked, into "
        f"{root / 'celeba' / 'img_align_celeba'}."
    )


def checked(path: str | Path | None) -> Path:
    """The folder that holds `celeba` with its original tables and every picture that they name. Raises CourseError."""
    try:
        root = find("celeba", "celeba", path)
    except CourseError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        root = Path(path).expanduser() if path is not None else data_folders()[0]
        raise CourseError(f"There are no pictures of CelebA at hand. {by_hand(root)}") from error
    folder = root / "celeba" / "img_align_celeba"
    try:
        for _, md5, file in datasets.CelebA.file_list:
            if file.endswith(".txt") and not check_integrity(root / "celeba" / file, md5):
                state = "is not the original file" if (root / "celeba" / file).is_file() else "is missing"
                raise CourseError(f"{root / 'celeba' / file} {state}. {by_hand(root)}")
        if not folder.is_dir():
            raise CourseError(f"{folder} is missing. {by_hand(root)}")
        lines = (root / "celeba" / "list_eval_partition.txt").read_text(encoding="ascii").splitlines()
        there = {entry.name for entry in os.scandir(folder) if entry.stat().st_size}
    except OSError as error:
        raise CourseError(f"{error.filename} cannot be read ({error.strerror}); make it readable.") from error
    wanted = [line.split()[0] for line in lines]
    if missing := [name for name in wanted if name not in there]:
        nested = f"; are they in {folder.name} inside it?" if folder.name in there else ""
        raise CourseError(
            f"{folder} lacks {len(missing):,} of {len(wanted):,} pictures: {some(missing)}{nested}. {by_hand(root)}"
        )
    return root
