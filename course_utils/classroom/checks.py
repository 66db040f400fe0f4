"""Checks of exercises: each answers with one text, "right. …", "not done yet. …", or what the slip looks like.

A check uses no other room: the lesson hands it what it needs, such as `parse`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_utils.common import CourseError

ATTRIBUTES = ("size", "fill", "colour", "shape")
ANSWERS = ("yes", "no", "open")
AGREEMENT = 7 / 8  # eye and judge may differ on a picture or two: either can be wrong


def says(prompt: Any, wanted: Any, parse: Callable[[str], Any]) -> str:
    """Whether a prompt says what the partial scene `wanted` says, no more and no less; `parse` reads prompts."""
    if prompt is None or prompt is ... or prompt == "":
        return "not done yet. Write a sentence between the quotes, and run this cell again."
    if not isinstance(prompt, str):
        return f"not yet. A prompt is text in quotes; this is {prompt!r}."
    try:
        found = parse(prompt)
    except CourseError as error:
        return f"not yet. {error}"
    if found == wanted:
        return "right. It says what was asked, no more and no less."
    if len(found.things) != len(wanted.things):
        return f"not yet. It speaks of {_things(len(found.things))}, and {_things(len(wanted.things))} were asked for."
    pairs = [(name, found, wanted) for name in ("place", "relation", "background")]
    pairs += [(name, *both) for both in zip(found.things, wanted.things, strict=True) for name in ATTRIBUTES]
    slips = [slip for name, is_, should in pairs if (slip := _slip(name, getattr(is_, name), getattr(should, name)))]
    return f"nearly. {slips[0]}." if len(slips) == 1 else f"not yet. {'. '.join(slips)}."


def decided(answers: Any, holds: Mapping[str, float]) -> str:
    """Whether the answers "yes", "no" or "open" to each statement fit `holds`: the share of fitting scenes in which it holds.

    A share of 1 means yes, 0 no, anything between open.
    """
    if not isinstance(answers, Mapping) or set(answers) != set(holds):
        return (
            "not yet. Keep the dictionary and its statements as they were; change only what stands behind the colons."
        )
    given = {statement: answers[statement] for statement in holds}
    missing = sum(answer in (None, ..., "") for answer in given.values())
    if missing:
        return f"not done yet. {missing} of {len(given)} statements have no answer."
    for statement, answer in given.items():
        if answer not in ANSWERS:
            return f'not yet. The answer to “{statement}” is {answer!r}; write "yes", "no" or "open".'
    truth = {statement: "yes" if share == 1 else "no" if share == 0 else "open" for statement, share in holds.items()}
    wrong = [statement for statement in given if given[statement] != truth[statement]]
    if not wrong:
        return f"right. All {len(given)} are answered as the words decide them."
    why = {
        "yes": "the words decide it: it is so in every picture that fits",
        "no": "the words rule it out: it is so in no picture that fits",
        "open": f"the words leave it open: it is so in {holds[wrong[0]]:.0%} of the pictures that fit",
    }[truth[wrong[0]]]
    return (
        f"not yet, {len(given) - len(wrong)} of {len(given)} are right. “{wrong[0]}” is not {given[wrong[0]]!r}: {why}."
    )


def marked_wrong(marked: Any, shown: Sequence[bool], readings: Sequence[str]) -> str:
    """Whether a reader and the judge agree on which pictures are wrong.

    Args:
        marked: numbers, from 1, of the pictures that the reader calls wrong; [] if there is none.
        shown: for each picture whether the judge says that it shows what was asked.
        readings: for each picture what the judge reads, in words.
    """
    n = len(shown)
    if marked is None or marked is ...:
        return "not done yet. List the numbers of the pictures that do not show what was asked; [] if there is none."
    if isinstance(marked, int):
        return f"not yet. {marked} is a count; list which pictures are wrong, such as [3, 11]."
    if not all(isinstance(number, int) for number in marked):
        return f"not yet. The list holds whole numbers from 1 to {n}, one for each wrong picture."
    chosen = set(marked)
    if 0 in chosen:
        return "not yet. The pictures are numbered from 1, and your list holds a 0."
    if outside := sorted(number for number in chosen if not 1 <= number <= n):
        return f"not yet. There are {n} pictures, and no number {outside[0]}."
    by_judge = {number for number, good in enumerate(shown, 1) if not good}
    differ = sorted(chosen ^ by_judge)
    agree = n - len(differ)
    details = "".join(f" It reads number {number} as {readings[number - 1]}." for number in differ[:3])
    if agree >= AGREEMENT * n:
        return f"right. You and the judge agree on {agree} of {n}.{details}"
    if n - agree >= AGREEMENT * n:
        return "not yet. It looks as if you listed the pictures that are right; list those that are wrong."
    return f"not yet. You and the judge agree on {agree} of {n}: look again at {_list(differ)}.{details}"


def _things(n: int) -> str:
    return "one thing" if n == 1 else f"{n} things"


def _slip(name: str, found: str | None, wanted: str | None) -> str:
    """What is wrong with one attribute, or "" if nothing is."""
    if found == wanted:
        return ""
    if found is None:
        return f"The {name} is left open; it should be {wanted}"
    if wanted is None:
        return f"It says the {name} ({found}), which should stay open"
    return f"The {name} is {found}; it should be {wanted}"


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
