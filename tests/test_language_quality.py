"""How good a language model is: counts with known answers, an untrained model as unsure as blind guessing, `evaluate` from end to end."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from small import captions, tokenizer

import course_utils.commands.evaluate as command_file
from course_utils.__main__ import main
from course_utils.counters import Dice
from course_utils.language.ngrams import BEGIN, END, Counts
from course_utils.measure import language_quality
from course_utils.models import gpt
from course_utils.models.gpt import GPT, GPTConfig
from course_utils.weights import load_weights, read_card, save_weights
from course_utils.worlds.captioned import world
from course_utils.worlds.captions import parse

# ---------------------------------------------------------------------------------------------------------------- n-grams

ROWS = [[5, 6], [5, 7], [5, 7]]


def test_the_ends_are_those_of_the_gpt():
    assert (BEGIN, END) == (gpt.BEGIN, gpt.END)


def test_counts_are_what_the_formula_says():
    counts, k = Counts(ROWS, vocabulary=10), 2.0
    one = lambda c: (c + k / 10) / (9 + k)  # noqa: E731
    assert counts.surprise([5, 6], 1, k) == pytest.approx(-math.log(one(3)) - math.log(one(1)) - math.log(one(3)))
    first, second, end = (3 + k * one(3)) / (3 + k), (1 + k * one(1)) / (3 + k), (1 + k * one(3)) / (1 + k)
    assert counts.surprise([5, 6], 2, k) == pytest.approx(-math.log(first * second * end))
    third = [(c + k * p) / (n + k) for c, n, p in ((3, 3, first), (1, 3, second), (1, 1, end))]
    assert counts.surprise([5, 6], 3, k) == pytest.approx(-math.log(math.prod(third)))
    assert counts.surprise([8], 1, k) == pytest.approx(-math.log(one(0)) - math.log(one(3)))  # never counted


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_texts_of_a_counting_model_share_one_probability(n):
    counts, total = Counts([[2, 3], [3], [2, 2, 2]], vocabulary=4), 0.0
    texts = [()]
    for _ in range(7):
        total += sum(math.exp(-counts.surprise(text, n, 1.0)) for text in texts)
        texts = [(*text, w) for text in texts for w in (1, 2, 3)]
    assert 0.8 < total < 1 + 1e-9


def test_what_is_written_follows_the_counts():
    counts = Counts(ROWS, vocabulary=10)
    found = [tuple(counts.write(3, 1e-9, 9, Dice(0, salt=i))) for i in range(900)]
    assert set(found) == {(5, 6), (5, 7)} and abs(found.count((5, 6)) - 300) < 4 * 14.2
    assert counts.write(3, 1e-9, 1, Dice(0)) == [5]
    blind = [counts.write(1, 1e9, 1, Dice(1, salt=i)) for i in range(900)]  # hardly listens to the counts
    assert {row[0] if row else END for row in blind} == set(range(10))


# ------------------------------------------------------------------------------------------------------------ the measure


@pytest.fixture(autouse=True)
def less_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_quality, "ROUNDS", 40)
    monkeypatch.setattr(command_file, "CHOOSING", 12)


def model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(vocabulary=len(tokenizer()), longest=32, width=16, depth=1, heads=2)).eval()


def found_by(net: GPT, n: int = 12) -> dict:
    said = lambda split: world("shapes", split).said(range(n), range(n))  # noqa: E731
    return language_quality.measure_language(net, tokenizer(), parse, captions(), said("validation"), said("test"))


def test_a_model_that_knows_nothing_is_as_unsure_as_blind_guessing():
    net, size = model(), len(tokenizer())
    with torch.no_grad():
        net.embed.weight.zero_()
    blind = found_by(net)
    assert blind["perplexity"] == pytest.approx(size) == blind["perplexity_uniform"]
    assert blind["bits_per_character"] == pytest.approx(blind["bits_per_character_uniform"])
    assert blind["parses"] == 0 == blind["copied"] and blind["parses_held_out"] == 1 == blind["different_held_out"]
    assert len(blind["refused"]) == 5 and set(blind["careful"]) == set(language_quality.CAREFUL)


def test_an_untrained_model_is_worse_than_who_counts_and_who_counts_more_is_less_surprised():
    found, size = found_by(model()), len(tokenizer())
    assert 0.8 * size < found["perplexity"] < 3 * size and found["nats_below_trigram"] < 0
    row = [found[f"perplexity_{name}"] for name in ("trigram", "bigram", "unigram", "uniform")]
    assert row == sorted(row) and row[0] < 30 and len(set(row)) == 4
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high
    parts = found["languages"]
    assert set(parts) == {"en", "zh"} and sum(part["captions"] for part in parts.values()) == found["captions"] == 12
    assert parts["zh"]["bits_per_character"] > parts["en"]["bits_per_character"]  # a Chinese sign is more than a letter


def test_perplexity_and_bits_of_numbers_that_are_known():
    nats, tokens, characters = (
        torch.tensor([2.0, 4.0]).double() * math.log(2),
        torch.tensor([1.0, 2.0]),
        torch.tensor([3.0, 9.0]),
    )
    found = language_quality.surprised(nats, tokens, characters)
    assert found["perplexity"] == pytest.approx(4) and found["bits_per_character"] == pytest.approx(0.5)
    assert found["intervals"]["perplexity"] == pytest.approx([4, 4])  # both are equally unsure for each token
    low, high = found["intervals"]["bits_per_character"]
    assert low == pytest.approx(4 / 9) and high == pytest.approx(2 / 3)


def test_what_is_written_is_judged():
    texts = ["a red circle", "red a circle of", "three stars", "a red circle"]
    found = language_quality.judged(texts, parse, {"three stars"})
    assert (found["parses"], found["copied"], found["different"]) == (0.75, 0.25, 0.75)
    assert found["intervals"]["copied"][0] < 0.25 < found["intervals"]["copied"][1]
    with pytest.raises(ZeroDivisionError):  # a reader that breaks is no caption that makes no sense
        language_quality.makes_sense("a red circle", lambda text: 1 / 0)
    assert not language_quality.makes_sense("", parse)


def test_the_same_seed_writes_the_same():
    net = model()
    one, again, other = (language_quality.written(net, tokenizer(), 3, seed) for seed in (0, 0, 1))
    assert one == again != other and len(one) == 3


# ----------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty COURSE_HOME, and nothing that ships."""
    monkeypatch.setattr("course_utils.weights.DATA", tmp_path / "data")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def evaluate(home: Path, capsys: pytest.CaptureFixture[str]):
    """Runs the command `evaluate` in this process: (exit code, stdout, stderr)."""

    def command(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["evaluate", *map(str, words)]) or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def gpt_weights(folder: Path, **card: object) -> Path:
    """Weights of a tiny untrained GPT, as `train gpt` writes them."""
    net = model()
    about = {
        "kind": "gpt",
        "world": "shapes",
        "config": dataclasses.asdict(net.config),
        "tokenizer": tokenizer().merges,
    }
    about |= {"data": "150 captions of shapes, train", **card}
    return save_weights(folder, {"gpt": net.state_dict()}, about, torch.float32)


def test_evaluate_a_language_model(evaluate, home):
    gpt_weights(home / "weights" / "gpt-captions")
    words = ["gpt-captions", "--prompts", 6]
    code, out, err = evaluate(*words, "--json", "--out", "new/result.json", "--update-card")
    assert code == 0 and err == "", err
    found = json.loads(out.splitlines()[-1])
    assert (found["name"], found["captions"], found["learned_from"]) == ("gpt-captions", 6, 150)
    assert found["perplexity_uniform"] == len(tokenizer()) and set(found["languages"]) <= {"en", "zh"}
    assert found == read_card("gpt-captions")["quality"] and Path("new/result.json").is_file()
    load_weights("gpt-captions", "gpt")  # the card still fits the file
    assert found["measured"]["command"] == "python -m course_utils evaluate gpt-captions --prompts 6"
    assert list(found["measured"]["weights"]) == ["gpt-captions"]
    code, out, _ = evaluate(*words)
    assert code == 0 and "perplexity " in out and "perplexity_trigram " in out and "parses " in out and "{" not in out
    other = json.loads(evaluate(*words, "--validation", "--json")[1])
    assert other["perplexity"] != found["perplexity"] and other["parses"] == found["parses"]
    other = json.loads(evaluate(*words, "--seed", 1, "--json")[1])
    assert other["perplexity"] == found["perplexity"] and other["refused"] != found["refused"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpt-captions", "--steps", "4"], "leave out --steps"),
        (["gpt-captions", "--guidance", "2"], "leave out --guidance"),
        (["gpt-captions", "--sample", "4"], "leave out --sample"),
        (["gpt-captions", "--quick"], "leave out --quick"),
        (["gpt-captions", "--choose"], "leave out --choose"),
        (["gpt-captions", "--snapshots", "mine"], "leave out --snapshots"),
        (["gpt-captions", "--path", "mine"], "leave out --path"),
        (["gpt-captions", "--prompts", "0"], "--prompts is 0"),
        (["gpt-captions", "--device", "toaster"], "toaster"),
        (["gpt-emoji"], "grammars to judge what it writes for shapes and emoji_scenes only"),
        (["gpt-part"], "without --split"),
    ],
    ids=str,
)
def test_what_a_language_model_cannot_be_asked_is_one_sentence(evaluate, home, words, said):
    gpt_weights(home / "weights" / "gpt-captions")
    gpt_weights(home / "weights" / "gpt-emoji", world="emoji", data="150 captions of emoji, train (0123456789abcdef)")
    gpt_weights(home / "weights" / "gpt-part", world="emoji_scenes", data="150 captions of emoji_scenes, train_one")
    code, _, err = evaluate(*words)
    assert code == 2 and err.startswith("error: ") and said in err and len(err.splitlines()) == 1
