"""Checks of exercises: each answers with one text, "right. …", "nearly. …", "not yet. …" or "not done yet. …".

A `Check` holds the right answer, inputs to try it with, and the usual slips, each as the wrong answer that it leads to. What a
reader's answer gives is compared with what those give: a slip is found by its value and called by its name. The checks of a
lesson are a table of them, such as `checks_04`; those of lesson 00, whose answers are words, end this file.

A check uses no other room: the lesson hands it what it needs, such as `parse`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from course_utils.common import CourseError


@dataclass(frozen=True)
class Stopped:
    """The sentence about an answer that gives nothing to compare: it raises an error, or is never the same twice."""

    sentence: str


def as_function(answer: Any) -> Callable[..., Any]:
    """A function as it is; a value as a function without arguments."""
    return answer if callable(answer) else lambda: answer


def reading(read: Callable[[Any], Any]) -> Callable[[Any], Callable[..., Any]]:
    """For `observe`: compares what `read` makes of a value; functions stay as they are."""
    return lambda answer: answer if callable(answer) else lambda: read(answer)


@dataclass(frozen=True)
class Check:
    """Called with an answer, a function or a value, it says whether the answer is right, or which slip it looks like.

    reference: the right answer.
    inputs: for a function, the arguments of each trial, at least two of other sizes and signs; the answer gets copies.
    slips: what follows "It looks as if", and a wrong answer of which it is said; the one that fits most trials is taken.
    todo: what is asked, said as long as nothing is written.
    right: what follows "right.", or a function that makes it from the answer.
    hint: follows PyTorch's own error messages, most of which are about shapes.
    otherwise: says of a wrong value what slips do not, where the usual "it should be …" would give the solution away.
    observe: turns an answer into the function whose values are compared; may raise CourseError, with what to say.
    rtol, atol: how far numbers may be off, as in `torch.allclose`.
    """

    reference: Any
    inputs: Sequence[tuple[Any, ...]] = ((),)
    slips: Mapping[str, Any] = field(default_factory=dict)
    todo: str = ""
    right: str | Callable[[Any], str] = ""
    hint: str = ""
    otherwise: Callable[[Any], str] | None = None
    observe: Callable[[Any], Callable[..., Any]] = as_function
    rtol: float = 1e-4
    atol: float = 1e-5
    _known: dict[tuple[str | None, int], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, answer: Any) -> str:
        """One text: "right. …", "nearly. …" (right in the first trial), "not yet. …" or "not done yet. …"."""
        if any(self.inputs) and not callable(answer) and not empty(answer):
            return f"not yet. The answer is a function; this is {answer!r}."
        found = [self.outcome(answer, given) for given in self.inputs]
        wanted = [self.known(None, i) for i in range(len(found))]
        if empty(answer) or empty(found[0]):
            return f"not done yet. {self.todo}"
        wrong = [i for i, pair in enumerate(zip(found, wanted, strict=True)) if not self.same(*pair)]
        if not wrong:
            return f"right. {self.right(answer) if callable(self.right) else self.right}".strip()
        first = wrong[0]
        start = "nearly" if first else "not yet"

        def fits(slip: str, trials: Sequence[int]) -> int:
            return sum(self.same(found[i], self.known(slip, i)) for i in trials)

        if slips := [slip for slip in self.slips if fits(slip, [first])]:
            return f"{start}. It looks as if {max(slips, key=lambda slip: fits(slip, range(len(found))))}."
        return f"{start}. {self._unexplained(found[first], wanted[first], self.inputs[first])}"

    def outcome(self, answer: Any, given: tuple[Any, ...]) -> Any:
        """What an answer gives for copies of these arguments, or `Stopped`; the reader's random numbers stay as they are."""
        found = []
        for seed in (0, 1):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                try:
                    found.append(self.observe(answer)(*copy.deepcopy(given)))
                except CourseError as error:
                    return Stopped(str(error))
                except Exception as error:
                    hint = self.hint if isinstance(error, RuntimeError | IndexError) else ""
                    text = f"Your function stops with {type(error).__name__}: {error}".rstrip(".")
                    return Stopped(f"{text}. {hint}".strip())
        if self.same(found[0], found[0]) and not self.same(found[0], found[1]):
            return Stopped("It gives other numbers each time: use what the function is given, and nothing else.")
        return found[0]

    def known(self, slip: str | None, trial: int) -> Any:
        """The outcome of a slip, or of the right answer (None), in a trial: it is computed once."""
        if (slip, trial) not in self._known:
            answer = self.reference if slip is None else self.slips[slip]
            self._known[slip, trial] = self.outcome(answer, self.inputs[trial])
        return self._known[slip, trial]

    def same(self, got: Any, wanted: Any) -> bool:
        """Whether both say the same: numbers within the tolerances, whether in tensors, arrays or lists; all else equal."""
        if isinstance(wanted, tuple):
            parts = _parts(got, len(wanted))
            return parts is not None and all(map(self.same, parts, wanted))
        numbers, right = _both(got, wanted)
        if right is None:
            if isinstance(wanted, Mapping) and isinstance(got, Mapping):
                return self.same(list(got), list(wanted)) and self.same(list(got.values()), list(wanted.values()))
            if isinstance(wanted, list) and isinstance(got, list):  # such as rows of other lengths
                return len(got) == len(wanted) and all(map(self.same, got, wanted))
            try:
                return isinstance(got, type(wanted)) and bool(got == wanted)  # NumPy has a str of its own
            except (ValueError, RuntimeError):  # an array of objects is neither true nor false
                return False
        if numbers is None or numbers.shape != right.shape:
            return False
        return torch.allclose(numbers, right, self.rtol, self.atol, equal_nan=True)

    def _unexplained(self, got: Any, wanted: Any, given: tuple[Any, ...]) -> str:
        """What to say of a wrong outcome that no slip explains."""
        if isinstance(got, Stopped):
            return got.sentence
        if empty(got):
            return f"{self._given(given)}nothing is returned."
        if what := _wrong_form(got, wanted):
            return f"{what[0].upper()}{what[1:]}."
        if self.otherwise:
            return self.otherwise(got)
        return f"{self._given(given)}{self._difference(got, wanted)}."

    def _given(self, given: tuple[Any, ...]) -> str:
        """The arguments of a trial, in words."""
        names = inspect.signature(self.reference).parameters if given else ()
        known = ((name, value) for name, value in zip(names, given, strict=False) if not callable(value))
        return f"For {', '.join(f'{name} = {_short(value)}' for name, value in known)}, "

    def _difference(self, got: Any, wanted: Any) -> str:
        """Where a value of the right form is wrong."""
        if isinstance(wanted, tuple):
            pairs = zip(_parts(got, len(wanted)) or (), wanted, strict=True)
            number, one, right = next((i, *pair) for i, pair in enumerate(pairs, 1) if not self.same(*pair))
            return f"in part {number} of {len(wanted)} {self._difference(one, right)}"
        numbers, right = _both(got, wanted)
        if numbers is None or right is None:
            return f"it should be {wanted!r}; yours is {got!r}"
        if right.ndim == 0:
            return f"it should be {_number(right)}; yours is {_number(numbers)}"
        where = tuple((~torch.isclose(numbers, right, self.rtol, self.atol, equal_nan=True)).nonzero()[0].tolist())
        return f"the number at {list(where)} should be {_number(right[where])}; yours is {_number(numbers[where])}"


def empty(value: Any) -> bool:
    """Whether nothing is written yet: None, ..., an empty text, or one of these inside."""
    if isinstance(value, Mapping):
        return empty(list(value.values()))
    if isinstance(value, tuple | list):
        return any(map(empty, value))
    return value is None or value is ... or (isinstance(value, str) and not value)


def _parts(value: Any, n: int) -> Sequence[Any] | None:
    """The `n` parts of a tuple, a list or a stack of tensors; None if it has not as many."""
    try:
        return value if not isinstance(value, str | Mapping) and len(value) == n else None
    except TypeError:
        return None


def _numbers(value: Any) -> Tensor | None:
    """What a tensor, an array, a number or a list of them holds, in float64; None if it holds no numbers."""
    try:
        if isinstance(value, tuple | list):
            return torch.stack([_numbers(part) for part in value])  # type: ignore[misc]  # a None is a TypeError
        return torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        return None


def _both(got: Any, wanted: Any) -> tuple[Tensor | None, Tensor | None]:
    """The numbers of both; where a single one is wanted, [x] is taken for x."""
    numbers, right = _numbers(got), _numbers(wanted)
    if numbers is not None and numbers.numel() == 1 and right is not None and right.ndim == 0:
        numbers = numbers.reshape(())
    return numbers, right


def _wrong_form(got: Any, wanted: Any) -> str:
    """What is wrong with the form of a value; "" if nothing is."""
    if isinstance(wanted, tuple):
        parts = _parts(got, len(wanted))
        if parts is None:
            return f"the answer has {len(wanted)} parts; yours is {_short(got)}"
        return next((form for form in map(_wrong_form, parts, wanted) if form), "")
    numbers, right = _both(got, wanted)
    if right is None:
        return ""
    if numbers is None:
        return f"the answer is {'one number' if right.ndim == 0 else 'a tensor of numbers'}; yours is {_short(got)}"
    if numbers.shape == right.shape:
        return ""
    asked = f"have the shape {tuple(right.shape)}" if right.ndim else "be one number"
    return f"the answer should {asked}; yours has the shape {tuple(numbers.shape)}"


def _number(value: Tensor) -> str:
    """A number with four decimals, or, where these hide a small one or make a large one long, with four or nine digits."""
    plain = float(value)
    if plain == 0 or 1e-3 <= abs(plain) < 1e5:
        return f"{plain:.4f}"
    return f"{plain:.4g}" if abs(plain) < 1 else f"{plain:.9g}"


def _short(value: Any) -> str:
    """A value in a few characters: a large tensor by its shape."""
    if isinstance(value, Tensor):
        few = value.numel() <= 5 and value.ndim <= 1
        return str([float(f"{x:.4g}") for x in value.flatten().tolist()]) if few else f"a tensor {tuple(value.shape)}"
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


# ------------------------------------------------------------------------------------- lesson 00: answers in words

ANSWERS = ("yes", "no", "open")
SLACK = 1 / 8  # eye and judge may differ on a picture or two of sixteen: either can be wrong


def says(prompt: Any, wanted: Any, parse: Callable[[str], Any]) -> str:
    """Whether a prompt says what the partial scene `wanted` says, no more and no less; `parse` reads prompts."""

    def read(text: Any) -> Any:
        if not isinstance(text, str):
            raise CourseError(f"A prompt is text in quotes; this is {text!r}.")
        return parse(text)

    def differ(found: Any) -> str:
        if len(found.things) != len(wanted.things):
            return f"It speaks of {_things(len(found.things))}, and {_things(len(wanted.things))} were asked for."
        pairs = [(name, found, wanted) for name in ("place", "relation", "background")]
        for both in zip(found.things, wanted.things, strict=True):
            pairs += [(name, *both) for name in ("size", "fill", "colour", "shape")]
        return " ".join(filter(None, (_slip(name, getattr(a, name), getattr(b, name)) for name, a, b in pairs)))

    return Check(
        lambda: wanted,
        observe=reading(read),
        otherwise=differ,
        todo="Write a sentence between the quotes, and run this cell again.",
        right="It says what was asked, no more and no less.",
    )(prompt)


def decided(answers: Any, holds: Mapping[str, float]) -> str:
    """Whether the answers "yes", "no" or "open" to each statement fit `holds`: the share of fitting scenes in which it holds.

    A share of 1 means yes, 0 no, anything between open.
    """
    truth = {one: "yes" if share == 1 else "no" if share == 0 else "open" for one, share in holds.items()}

    def read(given: Any) -> Any:
        if not isinstance(given, Mapping) or set(given) != set(holds):
            raise CourseError("Keep the dictionary and its statements; change only what stands behind the colons.")
        if odd := next((statement for statement in given if given[statement] not in ANSWERS), ""):
            raise CourseError(f'The answer to “{odd}” is {given[odd]!r}; write "yes", "no" or "open".')
        return dict(given)

    def differ(given: Mapping[str, str]) -> str:
        wrong = [statement for statement in truth if given[statement] != truth[statement]]
        why = {
            "yes": "the words decide it: it is so in every picture that fits",
            "no": "the words rule it out: it is so in no picture that fits",
            "open": f"the words leave it open: it is so in {holds[wrong[0]]:.0%} of the pictures that fit",
        }[truth[wrong[0]]]
        right = f"{len(truth) - len(wrong)} of {len(truth)} are right."
        return f"{right} “{wrong[0]}” is not {given[wrong[0]]!r}: {why}."

    missing = sum(map(empty, answers.values())) if isinstance(answers, Mapping) else len(holds)
    return Check(
        lambda: truth,
        observe=reading(read),
        otherwise=differ,
        todo=f"{missing} of {len(holds)} statements have no answer.",
        right=f"All {len(holds)} are answered as the words decide them.",
    )(answers)


def marked_wrong(marked: Any, shown: Sequence[bool], readings: Sequence[str]) -> str:
    """Whether a reader and the judge agree on which pictures are wrong.

    Args:
        marked: numbers, from 1, of the pictures that the reader calls wrong; [] if there is none.
        shown: for each picture whether the judge says that it shows what was asked.
        readings: for each picture what the judge reads, in words.
    """
    n = len(shown)
    wrong, good = ({i for i, shows in enumerate(shown, 1) if shows is kind} for kind in (False, True))

    def read(numbers: Any) -> set[int]:
        if isinstance(numbers, int):
            raise CourseError(f"{numbers} is a count; list which pictures are wrong, such as [3, 11].")
        if not isinstance(numbers, list | tuple | set) or not all(isinstance(number, int) for number in numbers):
            raise CourseError(f"The list holds whole numbers from 1 to {n}, one for each wrong picture.")
        if outside := [number for number in numbers if not 1 <= number <= n]:
            raise CourseError(f"The pictures are numbered from 1 to {n}; there is no number {outside[0]}.")
        return next((near for near in (wrong, good) if len(near ^ set(numbers)) <= SLACK * n), set(numbers))

    def compare(numbers: Any) -> str:
        differ = sorted(wrong ^ set(numbers))
        again = f": look again at {', '.join(map(str, differ))}" if len(differ) > SLACK * n else ""
        details = (f" It reads number {number} as {readings[number - 1]}." for number in differ[:3])
        return f"You and the judge agree on {n - len(differ)} of {n}{again}.{''.join(details)}"

    return Check(
        lambda: wrong,
        slips={"you listed the pictures that are right; list those that are wrong": lambda: good},
        observe=reading(read),
        otherwise=compare,
        todo="List the numbers of the pictures that do not show what was asked; [] if there is none.",
        right=compare,
    )(marked)


def _things(n: int) -> str:
    return "one thing" if n == 1 else f"{n} things"


def _slip(name: str, found: str | None, wanted: str | None) -> str:
    """What is wrong with one attribute, or "" if nothing is."""
    if found == wanted:
        return ""
    if found is None:
        return f"The {name} is left open; it should be {wanted}."
    if wanted is None:
        return f"It says the {name} ({found}), which should stay open."
    return f"The {name} is {found}; it should be {wanted}."
