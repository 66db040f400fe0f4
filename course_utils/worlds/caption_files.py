"""Captions that people write beside their pictures: a table `captions.csv`, or a text file for each picture."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from pathlib import Path

from course_utils.common import CourseError

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")  # white space is none


def read_table(table: Path) -> list[tuple[int, str, str]]:
    """The lines of a CSV table below its first, which names the columns file and caption: (line, file, caption).

    Other columns are passed over, white space is made single. Raises CourseError that names the file, and the line if
    one lacks a file or a caption, has more fields than columns, or has a quote that is not closed on it.
    """
    rows = csv.reader(io.StringIO(read_text(table), newline=""), strict=True, skipinitialspace=True)
    columns: list[str] = []
    lines = []
    while True:
        number = rows.line_num + 1
        where = f"Line {number} of {table}"
        try:
            fields = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            raise CourseError(
                f'{where} has a quote that is not closed, or something behind one ({error}); write "a ""red"" car".'
            ) from error
        if any(field[:1].isspace() and field.strip()[:1] == '"' for field in fields):  # a tab, say: no quote to csv
            raise CourseError(f"{where} has white space before a quote; remove it.")
        row = [field.strip() for field in fields]
        if not any(row):
            continue
        if not columns:
            columns = [field.lower() for field in row]
            if columns.count("file") != 1 or columns.count("caption") != 1:
                raise CourseError(f'{table} has the columns {", ".join(row)}; its first line must be "file,caption".')
            continue
        if any("\n" in field or "\r" in field for field in row):
            raise CourseError(f"{where} has a quote that is closed on another line; keep each caption on one line.")
        if any(row[len(columns) :]):
            raise CourseError(
                f"{where} has {len(row)} fields for {len(columns)} columns; "
                "put double quotes around a caption with commas."
            )
        cells = dict(zip(columns, row, strict=False))
        file, caption = cells.get("file", ""), tidy(cells.get("caption", ""))
        if not file or not says_something(caption):
            raise CourseError(f"{where} lacks a file or a caption; fill it in or remove the line.")
        lines.append((number, file, caption))
    if not columns:
        raise CourseError(f'{table} has the columns (none); its first line must be "file,caption".')
    if not lines:
        raise CourseError(f"{table} names no pictures; write a line for each, or remove the table.")
    return lines


def read_sidecar(path: Path) -> list[str]:
    """The captions in a text file that belongs to one picture: each line is one; perhaps there are none."""
    return [caption for line in read_text(path).splitlines() if says_something(caption := tidy(line))]


def read_text(path: Path) -> str:
    """A file's text. Raises CourseError if it cannot be read, is not in UTF-8, or holds control characters."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is not in UTF-8 ({error}); save it in UTF-8.") from error
    except OSError as error:
        raise CourseError(
            f"{path} cannot be read ({error.strerror}); make it readable, or take it out of the folder."
        ) from error
    if found := CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise CourseError(f"Line {line} of {path} holds the control character {found[0]!r}; remove it.")
    return text


def tidy(text: str) -> str:
    """The text with single spaces, and each accented letter as one character."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def says_something(text: str) -> bool:
    """Whether there is a letter, a number or a symbol such as an emoji."""
    return any(unicodedata.category(sign)[0] in "LNS" for sign in text)
