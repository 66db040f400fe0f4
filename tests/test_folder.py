"""The world `folder`: small folders as people have them, made up; nothing is left out, mangled or turned black in silence."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from course_utils.common import CourseError
from course_utils.worlds.captioned import Captioned, world
from course_utils.worlds.files import endings
from course_utils.worlds.folder import is_for_testing, without_numbers, words


def picture(
    path: Path, colour: object = (255, 0, 0), mode: str = "RGB", size: tuple[int, int] = (30, 20), **how
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **how)  # type: ignore[arg-type]
    return path


def test_captions_from_names_and_sub_folders(tmp_path: Path) -> None:
    for name in ("red_car-03.jpg", "cats/IMG_1.png", "wild animals/grey_wolf/2.PNG", "红色的车_2.png", ".hidden.png"):
        picture(tmp_path / name, mode="RGB")
    picture(tmp_path / ".cache" / "x.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = world("folder", "all", path=tmp_path, size=16)
    assert found.images().shape == (4, 3, 16, 16) and found.labels is None
    captions = [text for i in range(4) for texts in found.captions(i).values() for text in texts]
    assert sorted(captions) == ["cats", "grey wolf", "red car", "红色的车"]
    assert [list(found.captions(i)) for i in range(4)].count(["zh"]) == 1
    assert all(found.caption(i, seed) == found.caption(i) for i in range(4) for seed in range(5))


@pytest.mark.parametrize(
    "name, said",
    [
        ("red_car-03", "red car"),
        ("red car (12)", "red car"),
        ("007", "007"),
        ("a--b__c", "a b c"),
        ("mp3 player", "mp3 player"),
    ],
)
def test_words_of_a_file_name(name: str, said: str) -> None:
    assert words(name) == said


def test_captions_from_a_table(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png", "not named.png"):
        picture(tmp_path / name)
    text = 'file,caption,more\na.png,"a red flag, waving",1\na.png,一面红旗,2\nsub\\b.png, red ,\na.png,a flag,\n'
    (tmp_path / "captions.csv").write_text(text, encoding="utf-8-sig")
    found = world("folder", "all", path=tmp_path)
    assert len(found) == 2 and found.captions(1) == {"en": ["red"]}
    assert found.captions(0) == {"en": ["a red flag, waving", "a flag"], "zh": ["一面红旗"]}
    assert found.caption(0, language="zh") == "一面红旗" and len({found.caption(0, seed) for seed in range(30)}) == 3


def test_pictures_of_every_mode(tmp_path: Path) -> None:
    picture(tmp_path / "01.png", (255, 0, 0, 0), "RGBA")  # transparent: white
    picture(tmp_path / "02.png", (0, 0, 255, 255), "RGBA")
    Image.new("P", (9, 9), 1).save(tmp_path / "03.gif")
    picture(tmp_path / "04.png", 100, "L")
    picture(tmp_path / "05.png", (100, 0), "LA")
    picture(tmp_path / "06.jpg", (0, 255, 255, 0), "CMYK")
    Image.fromarray(np.full((20, 20), 25700, np.uint16)).save(tmp_path / "07.png")
    picture(tmp_path / "08.png", 1, "1")
    picture(tmp_path / "09.webp", (0, 255, 0), lossless=True)
    Image.new("P", (9, 9), 0).save(tmp_path / "10.png", transparency=0)
    images = world("folder", "all", path=tmp_path, size=8).images()
    assert images.shape == (10, 3, 8, 8) and images.dtype == torch.float32
    middle = (255 * images[:, :, 4, 4]).round().int().tolist()
    assert middle[0] == middle[4] == middle[7] == middle[9] == [255] * 3
    assert middle[1] == [0, 0, 255] and middle[3] == middle[6] == [100] * 3 and middle[8] == [0, 255, 0]
    assert middle[5][0] > 200 and max(middle[5][1:]) < 60


def test_pictures_are_turned_and_cut_to_their_middle(tmp_path: Path) -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 100, 0, 0  # the middle square
    pixels[:20, 30:70, 1] = 200  # whose upper half is greener
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.png", exif=exif)
    upright, turned = world("folder", "all", path=tmp_path, size=8).images()
    assert (255 * upright[0, :, 2:-2] - 100).abs().max() < 2
    assert upright[1, :3].min() > 0.7 and upright[1, 5:].max() < 0.1
    assert turned[1, :, 5:].min() > 0.7 and turned[1, :, :3].max() < 0.1


def test_the_split_stays_when_pictures_come(tmp_path: Path) -> None:
    for n in range(250):
        picture(tmp_path / f"flag {chr(97 + n % 26)}{n}.png", size=(4, 4))
    train, test, everything = (world("folder", split, path=tmp_path, size=4) for split in ("train", "test", "all"))
    assert len(train) + len(test) == len(everything) == 250 and 20 <= len(test) <= 35
    assert f"pictures: 250, {len(test)} of them kept for evaluation; captions: 250" in train.report
    share = np.mean([is_for_testing(f"picture {n}.jpg") for n in range(2000)])
    assert abs(share - 0.1) < 0.02
    assert is_for_testing("caf\u00e9.png") == is_for_testing("cafe\u0301.png")


def test_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    def fails(match: str, split: str = "all", **options) -> None:
        with pytest.raises(CourseError, match=match):
            world("folder", split, **({"path": tmp_path / "mine"} | options))

    fails("needs a folder of pictures", path=None)
    fails("is no folder")
    (tmp_path / "mine").mkdir()
    fails("no pictures in .*mine")
    whole = picture(tmp_path / "mine" / "red.png")
    picture(tmp_path / "secret.png")
    fails("Of the 1 pictures .* none is kept for evaluation.* more than about 200", "test")
    fails("size from 1 to 1024", size=0)
    broken = tmp_path / "mine" / "torn.jpg"
    broken.write_bytes(picture(tmp_path / "x.jpg", size=(300, 300)).read_bytes()[:-200])
    fails(r"torn\.jpg cannot be read")
    broken.write_text("not a picture")
    fails(r"torn\.jpg cannot be read")
    broken.unlink()
    (tmp_path / "mine" / "link.png").symlink_to(tmp_path / "secret.png")
    table = tmp_path / "mine" / "captions.csv"
    for text, match in (
        (
            "file,caption\nred.png,red\nblue.png,blue\n",
            r"Line 3 of .*captions\.csv names 'blue\.png', which is not there",
        ),
        ("file,caption\n../secret.png,a secret\n", "lies outside the folder"),
        ("file,caption\n..\\secret.png,a secret\n", "lies outside the folder"),
        (f"file,caption\n{tmp_path / 'secret.png'},a secret\n", "lies outside the folder"),
        ("file,caption\nlink.png,a secret\n", "lies outside the folder"),
        ("file,caption\nred.png,\n", "Line 2 of .* lacks a file or a caption"),
        ("file,caption\nred.png\n", "Line 2 of .* lacks a file or a caption"),
        ("file;caption\nred.png;red\n", 'has the columns file;caption; its first line must be "file,caption"'),
        ("", 'has the columns \\(none\\); its first line must be "file,caption"'),
        ("file,caption\n", r"captions\.csv names no pictures"),
    ):
        table.write_text(text, encoding="utf-8")
        fails(match)
    table.write_bytes("file,caption\nred.png,caf\u00e9\n".encode("latin1"))
    fails(r"captions\.csv is not in UTF-8 \(.*\); save it in UTF-8")
    table.unlink()
    (tmp_path / "mine" / "link.png").unlink()
    assert whole.is_file() and len(world("folder", "all", path=tmp_path / "mine")) == 1


# ------------------------------------------------------------------------------------- nothing is left out in silence


def opened(folder: Path) -> Captioned:
    return world("folder", "all", path=folder, size=8)


def captions(folder: Path) -> list[str]:
    """All captions of a folder, in order."""
    found = opened(folder)
    return [text for i in range(len(found)) for texts in found.captions(i).values() for text in texts]


def test_what_is_used_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    picture(tmp_path / "red_car-1.jpg")
    picture(tmp_path / "dogs" / "1.jfif", format="JPEG")
    for name in ("a.heic", "b.HEIC", "c.heic", "d.heic", "film.mpg", "notes.txt", "scan"):
        (tmp_path / name).write_bytes(b"not for Pillow")
    for name in ("@eaDir/red.jpg", "__MACOSX/red.jpg", "dogs/.hidden.png", "---.png"):
        picture(tmp_path / name)
    (tmp_path / "linked").symlink_to(tmp_path / "dogs")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = opened(tmp_path)
    assert len(found) == 2 and found.report == (
        "pictures: 2, too few for 20 to be kept for evaluation; captions: 2 (2 from names), for example dogs/1.jfif: dogs; left out: "
        "hidden, or kept by the system (3): @eaDir, __MACOSX, dogs/.hidden.png; "
        "linked folders; name them themselves, or copy them (2): linked, round; "
        "what is no file that can be reached, such as a broken link (2): gone.png, pipe.png; "
        "pictures whose name or text file says nothing (1): ---.png; "
        ".heic, which Pillow here does not read, and no captions.csv (4): a.heic, b.HEIC, c.heic and 1 more; "
        ".mpg, which Pillow here does not read, and no captions.csv (1): film.mpg; "
        ".txt, beside no picture of that name, or below a captions.csv (1): notes.txt; "
        "no ending, which Pillow here does not read, and no captions.csv (1): scan"
    )
    only = tmp_path / "only"
    picture(only / "red.png")
    assert opened(only).report.endswith("for example red.png: red; left out: nothing")
    (only / "red.png").rename(only / "red.heic")
    with pytest.raises(CourseError, match=r"no pictures in .*only; .* Left out: \.heic, .* \(1\): red\.heic\."):
        opened(only)


def test_of_few_pictures_none_is_kept(tmp_path: Path) -> None:
    for n in range(40):
        picture(tmp_path / f"flag {n}.png", size=(4, 4))
    train = world("folder", "train", path=tmp_path, size=4)
    assert len(train) == 40 and "pictures: 40, too few for 20 to be kept for evaluation" in train.report


def test_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rights are taken away in `scandir`, for tests may run as root, who may read everything."""
    picture(tmp_path / "red.png")
    picture(tmp_path / "private" / "blue.png")
    closed = tmp_path / "private"
    scandir = os.scandir

    def guarded(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert "left out: folders that cannot be read, Permission denied (1): private" in opened(tmp_path).report
    closed = tmp_path
    with pytest.raises(CourseError, match=r"The folder .* cannot be read \(Permission denied\); make it readable"):
        opened(tmp_path)


def test_every_kind_that_pillow_reads(tmp_path: Path) -> None:
    assert {".jpg", ".jfif", ".png", ".webp", ".tif", ".jp2", ".ppm", ".tga"} <= endings()
    assert not {".mpg", ".pdf", ".h5", ".heic", ".wmf", ".txt", ".csv"} & endings()
    assert (".avif" in endings()) == features.check("avif")
    for ending in sorted({".jfif", ".jpe", ".jp2", ".ppm", ".tga", ".avif", ".apng", ".qoi"} & endings()):
        if Image.registered_extensions()[ending] in Image.SAVE:
            picture(tmp_path / f"{ending[1:]} picture{ending}", (0, 0, 250))
    found = opened(tmp_path)
    assert len(found) >= 6 and (found.images()[:, 2] > 0.9).all() and (found.images()[:, :2] < 0.1).all()


def test_broken_pictures_are_named_together(tmp_path: Path) -> None:
    for n in range(7):
        picture(tmp_path / f"{n}.png").write_bytes(b"no picture" if n else b"\x89PNG\r\n\x1a\n")
    picture(tmp_path / "whole.png")
    with pytest.raises(CourseError) as caught:
        opened(tmp_path)
    assert str(caught.value).startswith("7 pictures cannot be read: ") and "and 2 more; repair them" in str(
        caught.value
    )
    assert all(f"{n}.png (" in str(caught.value) for n in range(5)) and "whole" not in str(caught.value)
    assert "1.png (no picture that Pillow knows)" in str(caught.value)


# -------------------------------------------------------------------------------------------------- sources of captions


def table(folder: Path, text: str, name: str = "captions.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_text_files_beside_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "sub/c.png", "sub/d_4.png", "e.png"):
        picture(tmp_path / name)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa red  flag\r\n\r\na flag\r\n")
    (tmp_path / "b.jpg.TXT").write_text("一面红旗", encoding="utf-8")
    (tmp_path / "sub" / "c.txt").write_text("a wet road")
    (tmp_path / "e.txt").write_text(" \n")
    assert captions(tmp_path) == ["a red flag", "a flag", "一面红旗", "a wet road", "sub"]
    report = opened(tmp_path).report
    assert "captions: 5 (4 from text files, 1 from names)" in report
    assert report.endswith("left out: pictures whose name or text file says nothing (1): e.png")
    (tmp_path / "a.txt").write_bytes("café".encode("latin1"))
    with pytest.raises(CourseError, match=r"a\.txt is not in UTF-8"):
        opened(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"red\nr\0e\0d\0")
    with pytest.raises(CourseError, match=r"Line 2 of .*a\.txt holds the control character '\\x00'"):
        opened(tmp_path)


def test_tables_speak_for_their_folders(tmp_path: Path) -> None:
    for name in ("one/a.png", "one/below/b.png", "one/c.png", "two/d.png"):
        picture(tmp_path / name)
    table(tmp_path / "one", " File , CAPTION \na.png,a red car\nbelow/b.png,a car\n", "Captions.CSV")
    (tmp_path / "one" / "a.txt").write_text("another caption")
    assert captions(tmp_path) == ["a red car", "a car", "two"]
    assert opened(tmp_path).report.endswith(
        "captions: 3 (2 from one/Captions.CSV, 1 from names), for example one/a.png: a red car; left out: "
        "pictures that no captions.csv names (1): one/c.png; "
        ".txt, beside no picture of that name, or below a captions.csv (1): one/a.txt"
    )
    table(tmp_path, "file,caption\none/c.png,a wheel\n")
    assert captions(tmp_path) == ["a red car", "a car", "a wheel"]


def test_a_table_is_read_as_it_is_meant(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    text = 'file,caption\na.png, "a red car, on a wet road"\n\nb.png,a 5" disk,,\r\n"c.png","a ""big""\tcar"\n,,\n'
    table(tmp_path, text)
    assert captions(tmp_path) == ["a red car, on a wet road", 'a 5" disk', 'a "big" car']


@pytest.mark.parametrize(
    "text, match",
    [
        ("file,caption\na.png,red\nb.png,a red car, on a wet road\n", "Line 3 of .* has 3 fields for 2 columns; put"),
        ('file,caption\na.png,"a red car\nb.png,blue\n', "Line 2 of .* has a quote that is not closed"),
        ('file,caption\na.png,"a red car\nb.png,"blue"\n', "Line 2 of .* has a quote that is not closed"),
        ('file,caption\n\na.png,"a red car\nb.png,blue"\n', "Line 3 of .* has a quote that is closed on another line"),
        ('file,caption\na.png,"a "red" car"\n', "Line 2 of .* has a quote that is not closed, or something behind one"),
        ('file,caption\na.png,\t"red, big"\n', "Line 2 of .* has white space before a quote"),
        ("file,caption,caption\na.png,red,blue\n", "has the columns file, caption, caption; its first line must be"),
        ("file,caption\n\n", "names no pictures; write a line for each"),
        ("file,caption\na.png,...\n", "Line 2 of .* lacks a file or a caption"),
        ("file,caption\na.png,red\nb.png,r\0ed\n", "Line 3 of .* holds the control character"),
        ("file,caption\n" + "a long caption " * 40 + ",a.png\n", "Line 2 of .* names 'a long .*…', which is not there"),
        ("file,caption\n.hidden.png,red\n", "which is left out, being hidden or linked"),
        (f"file,caption\na.png,{'x' * 200_000}\n", "Line 2 of .*field larger"),
    ],
)
def test_lines_that_would_be_mangled(tmp_path: Path, text: str, match: str) -> None:
    for name in ("a.png", "b.png", ".hidden.png"):
        picture(tmp_path / name)
    table(tmp_path, text)
    with pytest.raises(CourseError, match=match):
        opened(tmp_path)


def test_a_table_that_may_not_be_read_has_no_wrong_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path, "file,caption\na.png,red\n")

    def forbidden(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(CourseError, match=r"captions\.csv cannot be read \(Permission denied\); make it readable"):
        opened(tmp_path)


@pytest.mark.parametrize("on_disk, written", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_one_character_or_two(tmp_path: Path, on_disk: str, written: str) -> None:
    name = "café"
    for folder in ("table", "texts"):
        picture(tmp_path / folder / unicodedata.normalize(on_disk, f"{name}.png"))
    table(tmp_path / "table", f"file,caption\n{unicodedata.normalize(written, name)}.png,un cafe\u0301\n")
    (tmp_path / "texts" / unicodedata.normalize(written, f"{name}.txt")).write_text("noir")
    assert captions(tmp_path) == ["un caf\u00e9", "noir"]


def test_absolute_names_in_the_folder(tmp_path: Path) -> None:
    picture(tmp_path / "mine" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    table(
        tmp_path / "mine", f"file,caption\n{tmp_path}/mine/a.png,one\n{tmp_path}/link/a.png,two\n./x/../a.png,three\n"
    )
    for folder in ("mine", "link"):
        assert captions(tmp_path / folder) == ["one", "two", "three"]


def test_names_that_no_later_stage_could_take(tmp_path: Path) -> None:
    picture(tmp_path / "red.png")
    picture(tmp_path / "🍕.png")
    picture(tmp_path / "a\x1bb\n1.png")
    for name in (b"caf\xe9.png", b"\xba\xec\xc9\xab/1.png"):  # Latin-1, GBK
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes((tmp_path / "red.png").read_bytes())
    assert captions(tmp_path) == ["a b", "red", "🍕"]
    report = opened(tmp_path).report
    assert (
        "names that cannot be written as text; rename them (2): \\udcba\\udcec" in report and "caf\\udce9.png" in report
    )
    assert report.encode() and "\n" not in report and "\x1b" not in report


def test_numbers_behind_words(tmp_path: Path) -> None:
    assert without_numbers(["cat1", "cat2", "co2", "co2", "7", "8"]) == ["cat", "cat", "co2", "co2", "7", "8"]
    for name in ("cat1.png", "cat22.png", "co2_1.png", "co2_2.png", "model t4.png"):
        picture(tmp_path / name)
    assert captions(tmp_path) == ["cat", "cat", "co2", "co2", "model t4"]


# ------------------------------------------------------------------------------------------------- greys of many bits

RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(256, 0)


@pytest.mark.parametrize(
    "name, values",
    [
        ("float in [0, 1].tif", RAMP),
        ("float in [0, 255].tif", RAMP * 255),
        ("16 bits.tif", (RAMP * 65535).astype(np.uint16)),
        ("16 bits.png", (RAMP * 65535).astype(np.uint16)),
        ("8 bits.tif", (RAMP * 255 + 0.5).astype(np.uint8)),
        ("float.pfm", RAMP),
    ],
)
def test_greys_keep_their_light(tmp_path: Path, name: str, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / name)
    image = world("folder", "all", path=tmp_path, size=256).images(0)
    assert (image - torch.from_numpy(RAMP)).abs().max() <= 1 / 255


def test_a_portable_greymap_of_12_bits(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 4095\n" + np.full(4, 2048, ">u2").tobytes())
    assert opened(tmp_path).images(0).mean() == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize(
    "values, match",
    [
        ((RAMP * 2**30).astype(np.int32), "greys of 32 bits, whose white is not known"),
        ((RAMP * 255).astype(np.int32), "greys of 32 bits"),
        ((RAMP * 4095).astype(np.uint16), "greys from 0 to 4095 where 0 to 65535 is expected"),
        (RAMP * 2, "greys from 0 to 2 where 0 to 255 is expected"),
        (RAMP - 0.5, "greys from -0.5 to 0.5 where"),
        (RAMP * 65535, "greys from 0 to 65535 where 0 to 255"),
        (RAMP * np.nan, "greys from nan"),
    ],
)
def test_greys_whose_white_nobody_knows(tmp_path: Path, values: np.ndarray, match: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(CourseError, match=rf"a\.tif cannot be read \({match}"):
        opened(tmp_path)


def test_what_is_black_stays_black(tmp_path: Path) -> None:
    for name, dtype in (("a.tif", np.uint16), ("b.tif", np.float32)):
        Image.fromarray(np.zeros((9, 9), dtype)).save(tmp_path / name)
    assert opened(tmp_path).images().max() == 0
