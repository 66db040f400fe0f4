"""The commands `draw`, `evaluate` and `train` from end to end, with tiny weights in a COURSE_HOME of their own."""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import (
    AUTOENCODER,
    FEATURES,
    JUDGE,
    autoencoder_weights,
    celeba_folder,
    dit_config,
    features_weights,
    flow_weights,
    judge_weights,
    shipped,
)

import course_utils.commands.evaluate as evaluate
from course_utils.__main__ import main
from course_utils.commands import cards, train, train_all, train_one
from course_utils.common import ROOT
from course_utils.generators import load
from course_utils.generators.flow import load_autoencoder
from course_utils.language.tokenizer import Tokenizer
from course_utils.measure import judge_data as lessons
from course_utils.measure import malformed, quality
from course_utils.measure.judge import Reading
from course_utils.measure.labels import load_labels
from course_utils.measure.worlds import SHAPES
from course_utils.models import dit as dit_file
from course_utils.models import load_model
from course_utils.models.clip import Matcher
from course_utils.recipes import autoencoder, clip, features, flow, judge, sources, store
from course_utils.training import TrainConfig
from course_utils.training.ahead import Ahead
from course_utils.weights import config_from, load_weights, read_card
from course_utils.worlds.captioned import world
from course_utils.worlds.captions import matches, parse
from course_utils.worlds.folder import is_for_testing
from course_utils.worlds.render import render
from course_utils.worlds.scenes import SEEDS, scenes

CIRCLE = "a small red circle above a large blue square"
KREIS = "一个红色的小圆在蓝色大方块的上面"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty COURSE_HOME, and nothing that ships."""
    monkeypatch.setattr("course_utils.weights.DATA", tmp_path / "data")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def command(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def one_sentence(code: int, out: str, err: str) -> str:
    """The sentence of a command that was refused."""
    assert code == 2, (code, out, err)
    lines = err.splitlines()
    assert lines and lines[-1].startswith("error: ") and len(lines) == 1, err
    assert "Traceback" not in err and "Error:" not in err.replace("error:", "")
    return lines[-1]


def last_json(out: str) -> dict:
    """The one line of JSON that stands last."""
    lines = out.splitlines()
    found = json.loads(lines[-1], parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert not any(line.startswith("{") for line in lines[:-1])
    return found


# ------------------------------------------------------------------------------------------------------------------ draw


def test_draw_from_the_shell(home, tmp_path):
    flow_weights(tmp_path / "tiny")
    words = ["draw", CIRCLE, KREIS, "--name", str(tmp_path / "tiny"), "--n", "2", "--out", "new/x.png", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "course_utils", *words]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = last_json(done.stdout)
    assert len(done.stdout.splitlines()) == 1
    assert (found["out"], found["pictures"], found["warnings"], found["evaluations"]) == ("new/x.png", 4, [], 4)
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert image.size == (4 * 32 * 8, 32 * 8) and len(np.unique(np.asarray(image))) > 20


def test_a_file_size_limit_while_drawing(home, tmp_path):
    flow_weights(tmp_path / "tiny")
    code = f"""
import resource, sys
from course_utils.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
sys.exit(main(["draw", "a red circle", "--name", {str(tmp_path / "tiny")!r}, "--out", {str(tmp_path / "x.bmp")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Cannot write" in one_sentence(done.returncode, done.stdout, done.stderr)
    assert os.listdir(tmp_path) == ["tiny"]


def test_the_same_seed_is_the_same_file(run, home):
    flow_weights(home / "weights" / "flow-shapes")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        code, out, err = run("draw", CIRCLE, "--seed", seed, "--out", f"{name}.png")
        assert (code, err) == (0, "") and out.startswith(f"wrote {name}.png")
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_unknown_words_only_warn_when_they_may(run, home):
    flow_weights(home / "weights" / "flow-shapes")
    code, out, err = run("draw", "a smal dragon", "--any-words", "--json")
    assert code == 0 and len(last_json(out)["warnings"]) == 2
    assert (
        err.splitlines()[0].startswith("warning: “smal” is not a word")
        and "“small”" in err
        and len(err.splitlines()) == 2
    )
    sentence = one_sentence(*run("draw", "a smal dragon", "--out", "y.png"))
    assert "“smal”" in sentence and "“dragon”" in sentence and not Path("y.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a red dragon"], "dragon"),
        ([""], "empty"),
        (["   "], "empty"),
        (["x" * 10_000], "10,000 characters"),
        (["a red circle \udcff"], "UTF-8"),
        (["一只红色的猫"], "猫"),
        ([CIRCLE, "--steps", "0"], "steps"),
        ([CIRCLE, "--guidance", "-1"], "guidance"),
        ([CIRCLE, "--guidance", "nan"], "guidance"),
        ([CIRCLE, "--n", "0"], "n is 0"),
        ([CIRCLE, "--scale", "0"], "--scale"),
        ([CIRCLE, "--out", "x.gif"], ".png"),
        ([CIRCLE, "--out", "file/x.png"], "Cannot write"),
        ([CIRCLE, "--name", "no-such"], "no-such"),
        ([CIRCLE, "--name", "judge"], "judge"),
        ([CIRCLE, "--device", "toaster"], "toaster"),
        ([CIRCLE, "--name", "damaged"], "damaged"),
        ([CIRCLE, "--name", "broken-card"], "card"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_drawn_is_one_sentence(run, home, words, said):
    flow_weights(home / "weights" / "flow-shapes")
    judge_weights(home / "weights" / "judge")
    model = flow_weights(home / "weights" / "damaged") / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    (flow_weights(home / "weights" / "broken-card") / "card.json").write_text("{", encoding="utf-8")
    Path("file").write_text("", encoding="utf-8")
    before = sorted(os.listdir())
    assert said in one_sentence(*run("draw", *words))
    assert sorted(os.listdir()) == before  # nothing written, not even a half


# -------------------------------------------------------------------------------------------------------------- evaluate

KEYS = "name prompts steps guidance all one_object two_objects three_objects natural attributes held_out_combinations".split()
KEYS += "held_out_synonyms fidelity fidelity_floor diversity intervals seconds_per_picture".split()


@pytest.fixture
def measured(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that `evaluate` needs, and fewer pictures for it."""
    for name, make in (("flow-shapes", flow_weights), ("judge", judge_weights), ("features", features_weights)):
        make(home / "weights" / name)
    monkeypatch.setattr(quality, "measure", partial(quality.measure, fidelity_pictures=48))
    monkeypatch.setattr(quality, "diversity_of", partial(quality.diversity_of, captions=8, copies=3))
    monkeypatch.setattr(lessons, "means", lambda seed, n, means=lessons.means: means(seed, 3))
    monkeypatch.setattr(lessons, "non_scenes", lambda kind, seed, n, old=lessons.non_scenes: old(kind, seed, 4))
    return home / "weights"


def test_evaluate_a_generator(run, measured):
    code, out, err = run(
        *("evaluate", "flow-shapes", "--prompts", 3, "--sample", 1),
        *("--json", "--out", "new/result.json", "--update-card"),
    )
    assert code == 0 and err == "", err
    found = last_json(out)
    assert set(KEYS) <= set(found) and found["name"] == "flow-shapes"
    assert (found["prompts"], found["steps"], found["guidance"]) == (3, 2, 2.0)
    for name, value in found.items():
        if name in quality.GROUPS or name in ("all", "fidelity", "fidelity_floor", "diversity"):
            low, high = found["intervals"][name]
            assert low <= value <= high
    assert (
        found["intervals"]["attributes"].keys()
        == found["attributes"].keys()
        >= {"size", "fill", "colour", "shape", "relation"}
    )
    assert json.loads(Path("new/result.json").read_text()) == found == read_card("flow-shapes")["quality"]
    load_weights("flow-shapes", "flow")  # the card still fits the file
    told = {"sampler": read_card("flow-shapes")["sampler"], "sha256": read_card("flow-shapes")["sha256"]}
    assert found["measured"]["command"] == "python -m course_utils evaluate flow-shapes --prompts 3 --sample 1"
    assert found["measured"]["weights"]["flow-shapes"] == told
    assert set(found["measured"]["weights"]) == {"features", "flow-shapes", "judge"}


def test_evaluate_again_gives_the_same(run, measured):
    words = ["evaluate", "flow-shapes", "--prompts", 3, "--steps", 1, "--guidance", 1, "--json", "--quick"]
    one, again, other = (last_json(run(*words, *more)[1]) for more in ([], [], ["--validation"]))
    one.pop("seconds_per_picture"), again.pop("seconds_per_picture")
    assert (
        one == again and (one["steps"], one["guidance"]) == (1, 1.0) and "fidelity" not in one and "natural" not in one
    )
    assert set(other) >= set(one)
    code, out, _ = run(*words[:-2], "--sample", 0)
    assert code == 0 and "all" in out and "{" not in out


def test_evaluate_the_judge(run, measured):
    code, out, _ = run("evaluate", "judge", "--prompts", 4, "--quick", "--json")
    found = last_json(out)
    assert code == 0 and {"exact", "one_object", "two_objects", "three_objects", "calibration", "intervals"} <= set(
        found
    )
    assert {"exact", "intervals"} <= set(found["after_round_trip"])
    assert set(found["accepted_non_scenes"]) == {"all", *malformed.NAMES, *lessons.NON_SCENES}
    assert 0 <= found["accepted_means_of_64"] <= 1 and found["certain"] == 0.5
    assert found["measured"]["weights"]["judge"] == {"sha256": read_card("judge")["sha256"]}
    assert list(found["measured"]["files"]) == ["data/labels/labels.json"]


@pytest.mark.parametrize(
    ("sharp", "kind", "unsure", "certain"),
    [
        (0.9, 0, 0, 0.6),  # the strictest that agrees best
        (0.5, 0, 0, 0.5),  # of those that read sharp scenes
        (0.9, 10, 2, 0.6),  # two pictures of 159 are no plain difference
        (0.9, 10, 9, 0.5),  # nine are
    ],
)
def test_how_sure_the_judge_must_be_is_chosen_on_one_half_of_the_labels(
    run, measured, monkeypatch, sharp, kind, unsure, certain
):
    _, known = load_labels()
    rows = [label for label in known if label.half == "choose" and label.answer != "doubtful"]
    right = [label.number for label in rows if label.answer == "right"]
    wrong = [label.number for label in rows if label.answer == "wrong"]
    sure = {n: 0.6 for n in right} | {n: 0.3 for n in wrong}
    sure |= {n: 0.5 for n in right[:unsure]} | {n: 0.95 for n in wrong[:kind]}

    def read(self, images):
        assert self.certain == 0.0
        if len(images) == len(rows):
            return [Reading(parse(label.caption), sure[label.number]) for label in rows]
        real = scenes(SEEDS["validation"], 0, len(images))
        assert torch.equal(images, render(real)), "the other half and the doubtful are left alone"
        return [Reading(scene, sharp) for scene in real.scenes]

    monkeypatch.setattr("course_utils.measure.judge.Judge.read", read)
    found = last_json(run("evaluate", "judge", "--choose", "--json")[1])
    assert found["certain"] == read_card("judge")["certain"] == certain and found["pictures"] == len(rows)
    load_weights("judge", "judge")


def test_both_judges_are_held_against_the_labels(measured, monkeypatch):
    _, known = load_labels()
    right = [Reading(parse(v.caption) if v.answer != "wrong" else None, 1.0) for v in known]
    none = [Reading(None, 0.0) for _ in known]
    monkeypatch.setattr("course_utils.measure.synthesis.SceneFitter.read", lambda self, images: none)
    found = evaluate.by_eye(argparse.Namespace(read=lambda images: right, of=SHAPES))
    for half in ("choose", "report"):
        a, b = found["judge_a"][half], found["judge_b"][half]
        assert a["agreement"]["share"] == a["doubtful_accepted"]["share"] == 1.0 and a["wrong_accepted"]["count"] == 0
        assert b["right_accepted"]["count"] == 0 and b["agreement"]["count"] == b["wrong_accepted"]["of"]


def test_evaluate_the_snapshots_of_a_run(run, measured, home):
    for images in (64, 128):
        flow_weights(home / "runs" / "mine" / "snapshots" / f"{images:09d}", images_seen=images)
    words = ["evaluate", "flow-shapes", "--prompts", 2, "--snapshots", "mine", "--out", "curve.jsonl", "--json"]
    code, out, _ = run(*words)
    rows = [json.loads(line) for line in Path("curve.jsonl").read_text().splitlines()]
    assert code == 0 and [row["images"] for row in rows] == [64, 128] and last_json(out) == rows[-1]
    assert {"all", "one_object", "two_objects", "three_objects", "intervals"} <= set(rows[0])


@pytest.mark.parametrize("words", [["--quick"], ["--snapshots", "mine"]], ids=str)
def test_a_result_is_written_before_it_is_printed(measured, monkeypatch, words):
    flow_weights(measured.parent / "runs" / "mine" / "snapshots" / "000000064")
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    words = ["flow-shapes", "--prompts", "2", "--steps", "1", "--out=~/result.json", *words]
    args = parser.parse_args(words, argparse.Namespace(argv=["evaluate", *words]))

    def nobody_reads(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", nobody_reads)
    with pytest.raises(BrokenPipeError):
        evaluate.main(args)
    assert json.loads(Path("~/result.json").expanduser().read_text())["all"] >= 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such"], "no-such"),
        (["features"], "features"),
        (["flow-shapes", "--prompts", "0"], "--prompts"),
        (["flow-shapes", "--steps", "0", "--prompts", "2"], "steps"),
        (["flow-shapes", "--snapshots", "no-run"], "no-run"),
        (["flow-folder"], "name it, with --path"),
        (["flow-folder", "--path", "no-folder"], "no-folder is no folder"),
        (["flow-shapes", "--path", "mine"], "leave out --path"),
        (["flow-folder", "--choose"], "judges for shapes and emoji_scenes only"),
        (["flow-shapes", "--snapshots", "mine"], "judges for shapes and emoji_scenes only"),
        (["judge", "--steps", "4"], "--steps"),
        (["judge", "--guidance", "2"], "--guidance"),
    ],
    ids=str,
)
def test_what_cannot_be_evaluated_is_one_sentence(run, measured, words, said):
    flow_weights(measured / "flow-folder", world="folder")
    flow_weights(measured.parent / "runs" / "mine" / "snapshots" / "000000064", world="folder")
    assert said in one_sentence(*run("evaluate", *words))


def test_evaluate_without_a_judge(run, home):
    flow_weights(home / "weights" / "flow-shapes")
    assert "'judge'" in one_sentence(*run("evaluate", "flow-shapes", "--prompts", "2"))


# ----------------------------------------------------------------------------------------------------------------- train

IMAGES = ["--images", 64, "--batch-size", 16, "--precision", "fp32"]


@pytest.fixture
def tiny(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`train` with models of a few thousand parameters, an autoencoder of noise, and a checkpoint at every step."""
    small = {name: getattr(dit_config(), name) for name in ("width", "depth", "heads")}
    monkeypatch.setattr(flow, "DiTConfig", lambda **given: dit_file.DiTConfig(**{**small, **given}))
    monkeypatch.setattr(flow, "config_from", lambda _, values: config_from(dit_file.DiTConfig, values))
    monkeypatch.setattr(autoencoder, "AutoencoderConfig", lambda **given: dataclasses.replace(AUTOENCODER, **given))
    monkeypatch.setattr(features, "FeaturesConfig", lambda **given: dataclasses.replace(FEATURES, **given))
    judges = {
        world: (name, dataclasses.replace(config, channels=JUDGE.channels, depth=JUDGE.depth), data)
        for world, (name, config, data) in judge.JUDGES.items()
    }
    monkeypatch.setattr(judge, "JUDGES", judges)
    changes = {"batch_size": 16, "checkpoint_images": 16}
    for recipe in (autoencoder, clip, features, flow, judge):
        monkeypatch.setattr(recipe, "TrainConfig", lambda **given: TrainConfig(**{**given, **changes}))
    monkeypatch.setattr(sources, "tokenizer", partial(sources.tokenizer, captions=400))
    monkeypatch.setattr(train_one, "TensorBoard", train_one.ProgressBar)  # spares its import
    autoencoder_weights(home / "weights" / "autoencoder-shapes")
    torch.set_num_threads(1)
    return home


def broken_at(monkeypatch: pytest.MonkeyPatch, position: int, act) -> None:
    """Something happens when the batch at this position is asked for, once."""
    old = store.Store.__call__
    left = [act]

    def call(self, at, n, generator):
        if at == position and left:
            left.pop()()
        return old(self, at, n, generator)

    monkeypatch.setattr(store.Store, "__call__", call)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder, "flow").state


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_train_flow_from_nothing_to_a_picture(run, tiny):
    code, out, _ = run("train", "flow", *IMAGES, "--world", "shapes")
    folder = tiny / "weights" / "flow-shapes"
    assert code == 0 and f"wrote {folder}" in out
    card = read_card(folder)
    assert card["kind"] == "flow" and card["images_seen"] == 64 and card["loss"][-1]["images"] == 64
    assert (
        card["training"]["batch_size"] == 16
        and card["machine"]
        and card["command"].startswith("python -m course_utils train flow")
    )
    assert len((tiny / "runs" / "flow-shapes" / "log.jsonl").read_text().splitlines()) >= 1
    pictures = load(folder, "cpu")([CIRCLE, KREIS], strict=True, steps=2)
    assert pictures.images.shape == (2, 3, 32, 32) and pictures.images.isfinite().all()
    inside = load_weights(folder).part("autoencoder")  # rounded to bfloat16 twice is rounded once
    assert same(inside, load_weights("autoencoder-shapes").part("autoencoder"))
    assert len(Tokenizer(card["tokenizer"])) == card["config"]["text"]["vocabulary"]
    words = ["train", "flow", *IMAGES]  # a finished run given again ends at once with the same weights
    before = tensors(folder)
    assert run(*words)[0] == 0 and same(tensors(folder), before)


class Killed(BaseException):
    """As sudden as kill -9."""


@pytest.mark.parametrize("space", ["latents", "pixels"])
def test_a_run_that_was_killed_or_stopped_or_damaged_ends_the_same(run, tiny, monkeypatch, space):
    images = [*IMAGES, "--pictures", 24, "--space", space]
    assert run("train", "flow", *images, "--out", "unbroken", "--run", "unbroken")[0] == 0
    unbroken = tensors(Path("unbroken"))

    def die():
        raise Killed

    broken_at(monkeypatch, 48, die)
    with pytest.raises(Killed):
        run("train", "flow", *images, "--out", "killed", "--run", "killed")
    assert not Path("killed").exists()
    assert run("train", "flow", *images, "--out", "killed", "--run", "killed")[0] == 0
    assert same(tensors(Path("killed")), unbroken)

    broken_at(monkeypatch, 32, lambda: os.kill(os.getpid(), signal.SIGTERM))
    words = ["train", "flow", *images, "--out", "stopped", "--run", "stopped"]
    code, _, err = run(*words)
    assert code == 2 and "Stopped by SIGTERM after 48 images" in err.splitlines()[-1] and not Path("stopped").exists()
    newest = sorted((tiny / "runs" / "stopped").glob("*.pt"))[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    code, _, err = run(*words)
    assert code == 0 and newest.name in err and "damaged" in err  # named, and the one before is used
    assert same(tensors(Path("stopped")), unbroken)


def test_a_home_that_is_none_is_said_before_training(run, tiny, monkeypatch):
    monkeypatch.setattr(flow, "recipe", lambda args: pytest.fail("it is prepared all the same"))
    Path("file").touch()
    monkeypatch.setenv("COURSE_HOME", "file")
    assert "Cannot write file: " in one_sentence(*run("train", "flow"))
    monkeypatch.delenv("COURSE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["no such user"])
    assert "set COURSE_HOME" in one_sentence(*run("train", "flow"))


def test_shipped_weights_need_no_home(run, tmp_path, home, monkeypatch):
    flow_weights(tmp_path / "data" / "weights" / "flow-shapes")
    for name in ("COURSE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["no such user"])
    assert run("draw", CIRCLE)[0] == 0 and Path("picture.png").is_file()
    assert "no weights called 'other'" in one_sentence(*run("draw", CIRCLE, "--name", "other"))


def test_a_tilde_is_home_wherever_it_stands(run, home, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", "~/course")
    flow_weights(tmp_path / "me" / "course" / "weights" / "flow-shapes")
    flow_weights(tmp_path / "me" / "mine")
    assert run("draw", CIRCLE, "--out=~/a.png")[0] == 0
    assert run("draw", CIRCLE, "--name=~/mine", "--out=~/b.png")[0] == 0
    assert sorted(os.listdir(tmp_path / "me")) == ["a.png", "b.png", "course", "mine"] and not Path("~").exists()


def test_when_every_checkpoint_is_damaged(run, tiny):
    assert run("train", "flow", *IMAGES)[0] == 0
    for path in (tiny / "runs" / "flow-shapes").glob("*.pt"):
        path.write_bytes(b"no checkpoint")
    code, _, err = run("train", "flow", *IMAGES)
    assert code == 2 and err.splitlines()[-1].startswith("error: None of the 2 checkpoints")
    assert run("train", "flow", *IMAGES, "--restart")[0] == 0


def test_train_goes_on_from_weights(run, tiny):
    assert run("train", "flow", *IMAGES, "--out", tiny / "weights" / "base")[0] == 0
    more = ["--init", "base", "--run", "more", "--out", "more", "--learning-rate", "1e-12"]
    assert run("train", "flow", *IMAGES, *more)[0] == 0
    base, after = tensors(tiny / "weights" / "base"), tensors(Path("more"))
    assert max(float((base[key] - after[key]).abs().max()) for key in base) < 1e-6  # it began where the other ended
    assert read_card("more")["tokenizer"] == read_card("base")["tokenizer"]
    assert "no-such" in one_sentence(*run("train", "flow", *IMAGES, "--init", "no-such"))
    assert "'autoencoder'" in one_sentence(*run("train", "flow", *IMAGES, "--init", "autoencoder-shapes"))
    assert "--space latents" in one_sentence(*run("train", "flow", *IMAGES[2:], "--init", "base", "--space", "pixels"))


def test_what_is_inside_the_generator_is_enough_to_train(run, tiny):
    """As in a fresh clone, where only `flow-shapes` ships."""
    (tiny / "weights" / "autoencoder-shapes").rename(tiny / "hidden")
    assert "train autoencoder" in one_sentence(*run("train", "flow", *IMAGES))
    flow_weights(tiny / "weights" / "flow-shapes")
    code, _, err = run("train", "flow", *IMAGES, "--out", "own", "--run", "own")
    assert code == 0, err
    assert same(
        load_weights("own").part("autoencoder"),
        {
            k: v.bfloat16().float() if v.is_floating_point() else v
            for k, v in load_weights("flow-shapes").part("autoencoder").items()
        },
    )


def test_another_model_in_the_same_run_is_refused(run, tiny):
    assert run("train", "flow", *IMAGES, "--run", "mine")[0] == 0
    assert "batch_size" in one_sentence(*run("train", "flow", *IMAGES, "--batch-size", 8, "--run", "mine"))
    assert "autoencoder = " in one_sentence(*run("train", "flow", *IMAGES[2:], "--space", "pixels", "--run", "mine"))


def test_train_on_ones_own_pictures(run, tiny):
    folder = tiny / "my pictures"
    folder.mkdir()
    for i in range(40):
        colour = ("red", "blue")[i % 2]
        Image.new("RGB", (40, 50), colour).save(folder / f"{colour} wall {i}.png")
    mine = ["--world", "folder", "--path", folder, "--images", 64, "--batch-size", 16, "--precision", "fp32"]
    assert "train autoencoder --world folder" in one_sentence(*run("train", "flow", *mine))
    code, _, err = run("train", "autoencoder", *mine)
    assert code == 0, err
    code, _, err = run("train", "flow", *mine)
    assert code == 0, err
    card = read_card("flow-folder")
    assert card["words"] == {"en": ["blue", "red", "wall"]} and card["before"][0]["images_seen"] == 64
    pictures = load("flow-folder", "cpu")("a red wall", steps=2)
    assert pictures.images.shape == (1, 3, 32, 32) and pictures.images.isfinite().all()
    assert ["“a”" in line for line in pictures.warnings] == [True]
    assert "no folder" in one_sentence(*run("train", "flow", "--world", "folder", "--path", tiny / "nothing"))
    assert "shapes and emoji_scenes only" in one_sentence(*run("train", "judge", "--world", "folder", "--path", folder))
    assert "--world folder" in one_sentence(*run("train", "flow", "--path", folder))


def test_evaluate_a_generator_of_ones_own_pictures(run, tiny):
    """From pictures to numbers; and not where some of the pictures that it is held against may have been trained on."""
    shutil.copytree(shipped("features"), tiny / "weights" / "features")
    mine, moved = tiny / "a private place" / "mine", tiny / "moved"
    mine.mkdir(parents=True)
    for i in range(300):
        Image.effect_noise((32, 32), i).convert("RGB").save(mine / f"noise {i}.png")
    words = ["--world", "folder", "--images", 32, "--precision", "fp32"]
    code, out, err = run("train", "flow", *words, "--space", "pixels", "--path", mine)
    kept = sum(is_for_testing(f"noise {i}.png") for i in range(300))
    assert code == 0 and f"pictures: 300, {kept} of them kept for evaluation" in out, err
    asked = ["evaluate", "flow-folder-pixels", "--steps", 2, "--path"]
    code, out, err = run(*asked, mine, "--update-card", "--json")
    assert code == 0, err
    found = last_json(out)
    assert found["pictures"] == found["kept"] == kept == 300 - found["trained_on"]
    assert 0 < found["fidelity_floor"] < found["fidelity"] and set(found["intervals"]) == {"fidelity", "fidelity_floor"}
    card = json.dumps(read_card("flow-folder-pixels"))
    assert "evaluate flow-folder-pixels --steps 2 --path mine" in card and "private" not in card
    code, out, err = run(*asked, mine, "--prompts", 25)
    assert code == 0 and f"from 25 of the {kept} that were kept out of training" in out and "pictures 25" in out
    assert "20 at least" in one_sentence(*run(*asked, mine, "--prompts", 19))
    mine.rename(moved)
    assert run(*asked, moved)[0] == 0  # the same pictures in another place
    trained = next(i for i in range(300) if not is_for_testing(f"noise {i}.png"))
    new = next(f"new {i}.png" for i in range(100) if is_for_testing(f"new {i}.png"))
    (moved / f"noise {trained}.png").rename(moved / new)  # a picture that was trained on seems to be kept
    assert "other pictures than" in one_sentence(*run(*asked, moved))


def test_built_on_what_saw_other_pictures(run, tiny):
    """Small folders keep none; a folder that has grown does, but what was trained before has seen them."""
    features_weights(tiny / "weights" / "features")
    mine = walls(tiny / "mine")
    train = ["train", "autoencoder", "--world", "folder", "--images", 32, "--precision", "fp32", "--path", mine]
    assert run(*train)[0] == 0
    assert run("train", "flow", *train[2:])[0] == 0
    assert "none is kept for evaluation" in one_sentence(*run("evaluate", "flow-folder", "--path", mine))
    for i in range(40, 300):
        Image.new("RGB", (40, 50), (i % 256, 0, 0)).save(mine / f"a wall {i}.bmp")
    assert run("train", "flow", *train[2:], "--restart")[0] == 0
    assert "what it was built on" in one_sentence(*run("evaluate", "flow-folder", "--path", mine))
    assert run(*train, "--restart")[0] == 0 and run("train", "flow", *train[2:], "--restart")[0] == 0
    assert run("evaluate", "flow-folder", "--steps", 1, "--path", mine)[0] == 0


def walls(folder: Path, second: str = "blue", captions: dict[int, str] | None = None) -> Path:
    """Twenty pictures of a red wall and twenty of another; their names are always the same, and so are their sizes in bytes."""
    folder.mkdir()
    for i in range(40):
        Image.new("RGB", (40, 50), ("red", second)[i % 2]).save(folder / f"a wall {i}.bmp")
    for i, caption in (captions or {}).items():
        (folder / f"a wall {i}.txt").write_text(caption, encoding="utf-8")
    return folder


def test_a_run_goes_on_only_with_the_same_pictures(run, tiny):
    words = ["train", "autoencoder", "--world", "folder", "--images", 32, "--precision", "fp32", "--path"]
    blue, green = walls(tiny / "blue"), walls(tiny / "green", "green")
    assert run(*words, blue)[0] == 0
    weights = tiny / "weights" / "autoencoder-folder"
    before = {path: path.read_bytes() for path in weights.iterdir()}
    said = one_sentence(*run(*words, green))
    assert "data = '40" in said and "--restart" in said and "--run" in said
    assert before == {path: path.read_bytes() for path in weights.iterdir()}  # and the card still says blue
    with Image.open(blue / "a wall 7.bmp") as image:
        image.putpixel((20, 20), (0, 0, 200))
        image.save(blue / "a wall 7.bmp")
    assert "data = '40" in one_sentence(*run(*words, blue))
    (tiny / "elsewhere").mkdir()
    moved = walls(tiny / "elsewhere" / "blue", captions={3: "other words, of which it knows nothing"})
    assert run(*words, moved)[0] == 0  # the same pictures in another place
    assert run(*words, green, "--restart")[0] == 0
    assert read_card("autoencoder-folder")["command"].endswith("--path green --restart".removesuffix(" --restart"))


def test_a_run_goes_on_only_with_the_same_captions_autoencoder_and_start(run, tiny):
    base = flow_weights(tiny / "weights" / "base")
    for name, seed in (("autoencoder-folder", 4), ("other", 5)):
        autoencoder_weights(tiny / "weights" / name, seed)
    words = ["train", "flow", "--world", "folder", "--images", 32, "--precision", "fp32"]
    one, two = walls(tiny / "one"), walls(tiny / "two", captions={0: "a wall at night"})
    assert run(*words, "--path", one)[0] == 0
    assert run(*words, "--path", one)[0] == 0
    assert "with captions" in one_sentence(*run(*words, "--path", two))
    said = one_sentence(*run(*words, "--path", one, "--init", base))
    assert "autoencoder = " in said  # base has one of its own, and goes on in its latents
    assert run(*words, "--path", one, "--init", base, "--run", "more", "--out", "more")[0] == 0
    inside, of_base = (load_weights(name).part("autoencoder") for name in ("more", base))
    assert all(torch.allclose(value, of_base[key], rtol=2**-8) for key, value in inside.items())  # in bfloat16
    (tiny / "weights" / "autoencoder-folder").rename(tiny / "kept")
    (tiny / "weights" / "other").rename(tiny / "weights" / "autoencoder-folder")
    assert "autoencoder = " in one_sentence(*run(*words, "--path", one))
    assert run(*words, "--path", one, "--restart")[0] == 0


def test_captions_that_are_cut_are_counted(run, tiny):
    long = "a wall " + " ".join(f"behind wall {i}" for i in range(60))
    walls(tiny / "walls", captions={0: long, 1: long + " again", 3: "short"})
    autoencoder_weights(tiny / "weights" / "autoencoder-folder")
    code, out, err = run("train", "flow", "--world", "folder", "--path", tiny / "walls", "--images", 16)
    assert code == 0, err
    found = [line for line in out.splitlines() if "captions cut" in line]
    assert len(found) == 1 and "2 of 4 different" in found[0] and "64 tokens" in found[0] and "wall 59" not in found[0]
    unread = re.search("“(.*)…” at its end", found[0])[1]
    assert unread in long and unread in one_sentence(*run("draw", long, "--name", "flow-folder"))


def test_train_on_grey_pictures_in_pixels(run, tiny):
    images = ["--images", 32, "--batch-size", 16, "--precision", "fp32"]
    code, _, err = run("train", "flow", "--world", "digits", "--space", "pixels", *images)
    assert code == 0, err
    card = read_card("flow-digits-pixels")
    assert {"seven", "three"} <= set(card["words"]["en"]) and "七" in card["words"]["zh"]
    assert load("flow-digits-pixels", "cpu")("三", steps=2).images.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("world", ["shapes", "emoji"])
def test_train_clip(run, tiny, world):
    code, _, err = run("train", "clip", "--world", world, "--pictures", 64, "--features", 24, *IMAGES)
    assert code == 0, err
    card, matcher = read_card(f"clip-{world}"), Matcher.load(f"clip-{world}")
    assert card["kind"] == "clip" and card["world"] == world and card["images_seen"] == 64 and card["words"]["zh"]
    assert "--features 24" in card["command"] and "64 of them" in card["data"]
    assert matcher.pictures(torch.rand(3, 3, 32, 32)).shape == matcher.texts(["red", "红", ""]).shape == (3, 24)
    log = [json.loads(line) for line in (tiny / "runs" / f"clip-{world}" / "log.jsonl").read_text().splitlines()]
    assert {"found", "temperature", "masked", "waiting"} <= set(log[-1])


def test_train_clip_says_what_it_cannot_do(run, tiny):
    for option, wrong in (("--features", 0), ("--temperature", 5), ("--temperature", 0.001), ("--pictures", 0)):
        assert f"{option} is {wrong}" in one_sentence(*run("train", "clip", option, wrong, *IMAGES))


SHIPS = {"features": "features", "judge": "judge", "autoencoder --channels 16": "autoencoder-shapes"}
SHIPS |= {"flow": "flow-shapes", "flow --space pixels": "flow-shapes-pixels"}


def test_train_all_makes_what_ships_once(run, tiny, monkeypatch):
    words = ["train", "all", "--images", 32, "--prompts", 0, "--out", "ours", "--device", "cpu"]
    code, out, err = run(*words)
    assert code == 0, err
    assert [line for line in out.splitlines() if line.startswith("train ")] == [f"train {what}" for what in SHIPS]
    assert sorted(os.listdir("ours")) == sorted(SHIPS.values())
    for what, name in SHIPS.items():
        weights = load_weights(Path("ours", name), what.split()[0])
        assert weights.card["images_seen"] == 32 and all(v.isfinite().all() for v in weights.state.values())
        assert weights.card["command"] == f"python -m course_utils train {what} --images=32"
        log = (Path("ours") / name / "log.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["images"] == 32
    assert read_card("ours/flow-shapes")["before"][0]["command"].startswith("python -m course_utils train autoencoder")
    assert load("ours/flow-shapes-pixels", "cpu")(CIRCLE, steps=1).images.shape == (1, 3, 32, 32)
    before = [Path("ours", name, "model.safetensors").read_bytes() for name in SHIPS.values()]
    for made in (Ahead, store.Store):  # given again it computes nothing
        monkeypatch.setattr(made, "__call__", lambda *_: pytest.fail("a batch is asked for again"))
    assert run(*words)[0] == 0
    assert before == [Path("ours", name, "model.safetensors").read_bytes() for name in SHIPS.values()]
    Path("file").write_text("")
    assert "Cannot write file" in one_sentence(*run(*words[:-4], "--out", "file", "--device", "cpu"))


def test_train_all_chooses_measures_and_draws(tiny, measured, monkeypatch):
    monkeypatch.setattr(quality, "GROUPS", quality.GROUPS[:2])
    weights = flow_weights(tiny / "weights" / "mine", sampler={"steps": 1, "guidance": 7.0, "solver": "euler"})
    train_all.measure_one(weights, argparse.Namespace(prompts=5, device="cpu", world="shapes"))
    card = read_card(weights)
    assert card["sampler"]["guidance"] in evaluate.GUIDANCES and card["sampler"]["steps"] == 1
    assert card["quality"]["prompts"] == 5 and "judge_b" not in card["quality"]
    assert json.loads((weights / "quality.json").read_text()) == card["quality"]
    prompts = (weights / "sheet.txt").read_text().splitlines()
    assert len(prompts) == 2
    with Image.open(weights / "sheet.png") as sheet:
        assert sheet.size == (2 * 32 * 8, 32 * 8)
    load_weights(weights, "flow")  # the card still fits the file


def test_a_generator_is_looked_at_while_it_trains(run, tiny):
    judge_weights(tiny / "weights" / "judge")
    assert (
        run("train", "flow", *IMAGES, "--watch", 6, "--format", "int8", "--out", "watched", "--run", "watched")[0] == 0
    )
    lines = [json.loads(line) for line in (tiny / "runs" / "watched" / "log.jsonl").read_text().splitlines()]
    assert all(0 <= lines[-1][f"judged_{group}"] <= 1 for group in ("one", "two"))
    with Image.open(max((tiny / "runs" / "watched" / "sheets").glob("*.png"))) as sheet:
        assert sheet.size == (6 * 32 * 2, 32 * 2) and len(np.unique(np.asarray(sheet))) > 20
    card = read_card("watched")
    assert 0 < card["utilisation"] < 1 and card["peak_memory_gb"] > 0.05 and card["watts"] is None
    assert run("train", "flow", *IMAGES, "--watch", 0, "--out", "blind", "--run", "blind")[0] == 0
    assert not (tiny / "runs" / "blind" / "sheets").exists()
    sizes = [Path(name, "model.safetensors").stat().st_size for name in ("watched", "blind")]
    assert sizes[0] < 0.8 * sizes[1]  # int8 against bfloat16, with tiny matrices
    one, other = tensors(Path("watched")), tensors(Path("blind"))  # looking changes nothing, eight bits little
    assert max(float((one[key] - other[key]).abs().max() / (other[key].abs().max() + 1e-6)) for key in one) < 0.01
    pictures = [load(name, "cpu")(CIRCLE, steps=4).images for name in ("watched", "blind")]
    assert (pictures[0] - pictures[1]).abs().mean() < 0.05


@pytest.mark.parametrize("name", ["celeba", "folder"])
def test_faces_and_ones_own_pictures_at_64_by_the_same_commands(run, tiny, tmp_path, monkeypatch, name):
    where = celeba_folder(tmp_path, monkeypatch).parent if name == "celeba" else walls(tiny / "walls")
    words = ["--world", name, "--path", where, "--size", 64]
    code, _, err = run("train", "autoencoder", *words, "--images", 32)
    assert code == 0, err
    code, out, err = run("train", "flow", *words, "--images", 32, "--accumulate", 2)
    assert code == 0 and f"wrote {tiny / 'weights' / f'flow-{name}-64'}" in out, err
    card = read_card(f"flow-{name}-64")
    assert card["config"]["size"] == 16 and card["before"][0]["images_seen"] == 32
    pictures = load(f"flow-{name}-64", "cpu")(["a woman wearing a hat", "a wall"][name == "folder"], steps=1)
    assert pictures.images.shape == (1, 3, 64, 64)
    assert run("train", "flow", *words, "--images", 32, "--space", "pixels")[0] == 0
    assert load(f"flow-{name}-64-pixels", "cpu")("a wall", steps=1).images.shape == (1, 3, 64, 64)


@pytest.mark.parametrize("name", ["folder", "emoji_scenes"])
def test_train_all_of_another_world_makes_a_large_generator_and_a_small_one(run, tiny, monkeypatch, name):
    monkeypatch.setitem(flow.PRESETS, "full", {"depth": 3})
    flow_weights(tiny / "weights" / "flow-shapes")  # its autoencoder is where the new one begins
    words = ["train", "all", "--world", name, "--images", 32, "--prompts", 0, "--out", "ours"]
    words += ["--path", walls(tiny / "walls")] if name == "folder" else []
    code, _, err = run(*words)
    assert code == 0, err
    measures = ["features-emoji", "judge-emoji"] if name == "emoji_scenes" else []  # nothing ships here
    assert sorted(os.listdir("ours")) == sorted([f"autoencoder-{name}", f"flow-{name}", f"flow-{name}-full", *measures])
    side, prompt = (32, "a wall") if name == "folder" else (64, "a large cat at night")
    for kind, depth in ((f"flow-{name}-full", 3), (f"flow-{name}", 2)):
        card = read_card(f"ours/{kind}")
        assert card["config"]["depth"] == depth and card["images_seen"] == 32 and card["utilisation"] > 0
        assert Path("ours", kind, "log.jsonl").is_file() and list(Path("ours", kind, "sheets").glob("*.png"))
        assert load(f"ours/{kind}", "cpu")(prompt, steps=1).images.shape == (1, 3, side, side)
    assert read_card(f"ours/flow-{name}")["command"].startswith(
        f"python -m course_utils train flow --format int8 --world={name}"
    )
    small, full = (Path("ours", kind, "model.safetensors") for kind in (f"flow-{name}", f"flow-{name}-full"))
    assert small.stat().st_size < full.stat().st_size
    goes_on = [Path("ours", kind, "model.safetensors").read_bytes() for kind in os.listdir("ours")]
    monkeypatch.setattr(store.Store, "make", lambda *_: pytest.fail("pictures are made again"))
    assert run(*words)[0] == 0  # given again it trains nothing
    assert goes_on == [Path("ours", kind, "model.safetensors").read_bytes() for kind in os.listdir("ours")]


def test_minutes_become_a_goal_that_is_kept(run, tiny, monkeypatch):
    monkeypatch.setattr(train_one, "TRIAL", 0.1)
    words = ["train", "features", "--minutes", 0.001, "--batch-size", 8, "--precision", "fp32"]
    code, out, err = run(*words)
    goal = json.loads((tiny / "runs" / "features" / "images.json").read_text())["images"]
    assert code == 0 and f"{goal:,} images in 0.001 minutes" in out, err
    assert read_card("features")["images_seen"] == goal and goal % 8 == 0 and goal > 0
    (tiny / "runs" / "features" / "images.json").write_text(json.dumps({"minutes": 0.001, "images": goal + 8}))
    code, out, _ = run(*words)  # goes on to what stands there, whatever the machine does by now
    assert code == 0 and "images/s" not in out and read_card("features")["images_seen"] == goal + 8
    for wrong in (0, -1, "nan", "inf"):
        assert "--minutes is" in one_sentence(*run("train", "features", "--minutes", wrong))
        assert "--minutes is" in one_sentence(*run("train", "all", "--minutes", wrong))
    assert "give one of them" in one_sentence(*run(*words, "--images", 8))


def test_a_command_in_a_card_says_what_was_asked_and_nothing_of_the_machine():
    words = "--seed 3 --out here --run=mine --images=9 --device cpu --restart --out=there --init=/some/where/base --path".split()
    for typed in ("my pictures", "/some/where/my pictures/", "~/my pictures", "../me/my pictures"):
        assert cards.command("flow", [*words, typed]) == (
            "python -m course_utils train flow --seed 3 --images=9 --init base --path 'my pictures'"
        )


def test_a_judge_and_features_of_emoji_are_trained_and_measure(run, tiny):
    for what in ("judge", "features"):
        code, _, err = run("train", what, "--world", "emoji_scenes", *IMAGES)
        assert code == 0, err
        card = read_card(f"{what}-emoji")
        assert card["world"] == "emoji_scenes" and card["config"]["pixels"] == 64
    code, out, _ = run("evaluate", "judge-emoji", "--prompts", 3, "--quick", "--json")
    found = last_json(out)["judge_a"]
    assert code == 0 and {"one_object", "damaged", "accepted", "accepted_means_of_64"} <= set(found)
    more = ["--init", "judge-emoji", "--run", "more", "--out", "more", "--learning-rate", "1e-12"]
    assert run("train", "judge", "--world", "emoji_scenes", *IMAGES, *more)[0] == 0
    base, after = (dict(load_model(name, "judge").named_parameters()) for name in ("judge-emoji", "more"))
    assert max(float((base[key] - after[key]).abs().max()) for key in base) < 1e-6  # it began where the other ended
    assert read_card("more")["before"][0]["images_seen"] == read_card("judge-emoji")["images_seen"]
    assert "reads the world emoji_scenes" in one_sentence(*run("train", "judge", *IMAGES, "--init", "judge-emoji"))


def test_a_generator_of_32_pixels_that_has_learned_a_part_of_the_world_is_measured(run, tiny, monkeypatch):
    """All of what `train all` does with a generator once it is trained."""
    for what in ("judge", "features"):
        assert run("train", what, "--world", "emoji_scenes", *IMAGES)[0] == 0
    words = ["--world", "emoji_scenes", "--size", 32, *IMAGES]
    assert run("train", "autoencoder", *words)[0] == 0
    assert run("train", "flow", *words, "--split", "train_twelve", "--watch", 2)[0] == 0
    log = (tiny / "runs" / "flow-emoji_scenes-32" / "log.jsonl").read_text()
    assert "judged_one" in log and "judged_two" not in log
    monkeypatch.setattr(quality, "measure", partial(quality.measure, fidelity_pictures=4))
    asked = argparse.Namespace(world="emoji_scenes", prompts=3, device="cpu")
    weights = tiny / "weights" / "flow-emoji_scenes-32"
    train_all.measure_one(weights, asked)
    found = read_card(weights)["quality"]
    groups = {"one_object", "natural", "held_out_combinations", "held_out_synonyms"}
    assert set(found) & set(quality.GROUPS) == groups == set(found["ceiling"])
    assert {"fidelity", "fidelity_floor", "diversity", "attributes"} <= set(found)
    assert (weights / "sheet.png").is_file() and json.loads((weights / "quality.json").read_text()) == found


def test_an_autoencoder_goes_on_from_another_or_from_the_one_inside_a_generator(run, tiny):
    flow_weights(tiny / "weights" / "flow-base")
    assert run("train", "autoencoder", *IMAGES, "--run", "first", "--out", tiny / "weights" / "first")[0] == 0
    for start in ("first", "flow-base"):
        more = ["--init", start, "--run", f"{start}-more", "--out", "more", "--learning-rate", "1e-12"]
        code, _, err = run("train", "autoencoder", *IMAGES, *more)
        assert code == 0, err
        base, after = (load_autoencoder(name).state_dict() for name in (start, "more"))
        fixed = [key for key in base if not key.startswith("normalise")]  # running means follow the pictures
        assert max(float((base[key] - after[key]).abs().max()) for key in fixed) < 1e-2  # bfloat16
        assert f"--init {start}" in read_card("more")["command"]
    assert "no autoencoder" in one_sentence(*run("train", "autoencoder", *IMAGES, "--init", "no-such"))


def test_latents_have_as_many_numbers_as_are_asked_for(run, tmp_path):
    options = [*IMAGES, "--pictures", "8", "--run", "wide", "--out", tmp_path / "wide"]
    code, _, err = run("train", "autoencoder", "--channels", "12", *options)
    assert code == 0, err
    assert load_autoencoder(str(tmp_path / "wide")).encode(torch.zeros(1, 3, 32, 32)).shape == (1, 12, 8, 8)
    assert "--channels is 0" in one_sentence(*run("train", "autoencoder", "--channels", "0", *options))
    assert "beside --init" in one_sentence(*run("train", "autoencoder", "--channels", "8", "--init", "x", *options))


def test_an_option_that_is_cut_short_is_none(run, tiny):
    """Else a card would not know `--pa` for `--path`, and would keep what it names."""
    for words in (["--pa", "x"], ["--imag", 9]):
        code, _, err = run("train", "flow", *words)
        assert code == 2 and "unrecognized arguments" in err


def test_the_commands_that_our_pages_name_are_there():
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    pages = ["README.md", "book/own_pictures.md"]
    lines = [line for page in pages for line in (ROOT / page).read_text(encoding="utf-8").splitlines()]
    found = [line.partition("#")[0].split() for line in lines if line.startswith("python -m course_utils train ")]
    assert len(found) >= 7
    for words in found:
        assert parser.parse_args(words[4:]).what == words[4]


@pytest.mark.parametrize(
    "words",
    [[], *([name] for name in ("features", "judge", "autoencoder", "clip", "gpt", "flow", "distil", "all"))],
    ids=str,
)
def test_help_says_what_each_option_does(run, words):
    code, out, _ = run("train", *words, "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 130
    bare = [line for line in out.splitlines() if re.fullmatch(r"  --?[a-z-]+( [A-Z_]+)?", line)]
    following = [out.splitlines()[out.splitlines().index(line) + 1] for line in bare]
    assert all(line.startswith(" " * 10) for line in following), "an option without a word of help"


# ------------------------------------------------------------------------------------------------- what flow learns from


def flow_recipe(*words: object):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return flow.recipe(parser.parse_args(["flow", "--device", "cpu", *map(str, words)]))


@pytest.mark.parametrize("space", ["latents", "pixels"])
def test_a_batch_is_pictures_and_captions_that_belong_together_and_nothing_else(tiny, space):
    recipe = flow_recipe("--space", space, "--pictures", 24)
    tokenizer, net = Tokenizer(recipe.card["tokenizer"]), load_autoencoder()
    row = scenes(SEEDS["flow"], 0, 24, split="train")
    for position in (0, 16, 40):
        batch = recipe.batches(position, 16, torch.Generator().manual_seed(position))
        assert batch.keys() == {"data", "tokens"} and len(batch["data"]) == len(batch["tokens"]) == 16
        index = torch.randint(24, (16,), generator=torch.Generator().manual_seed(position)).tolist()
        pictures = (render(row.select(index)) * 255).round() / 127.5 - 1  # kept in 8 bits
        with torch.no_grad():
            expected = pictures if space == "pixels" else net.encode(pictures)
        assert torch.allclose(batch["data"], expected, atol=1e-4)
        said = [tokenizer.decode(tokens) for tokens in batch["tokens"].tolist()]
        heard = [(parse(text), row.scenes[i]) for text, i in zip(said, index, strict=True) if text]
        assert len(heard) > 8 and all(matches(asked, scene) for asked, scene in heard)


def test_few_pictures_get_many_captions(tiny):
    recipe = flow_recipe("--world", "emoji", "--space", "pixels", "--pictures", 5_000)
    kept = recipe.callbacks[0].batches
    recipe.batches(0, 4, torch.Generator())
    n = len(world("emoji", "train"))
    assert kept.n == n < 5_000 <= kept.rows and kept.rows % n == 0
    of_first = {tuple(row.tolist()) for row in kept.tokens[::n]}
    assert len(of_first) > 1  # not the same one each time
    assert str(kept.rows) in recipe.data.replace(",", "")


def test_a_run_with_workers_is_the_run_without(run, tiny, monkeypatch):
    words = ["train", "flow", *IMAGES, "--pictures", 24]
    assert run(*words, "--out", "none", "--run", "none")[0] == 0
    monkeypatch.setattr(store, "workers", lambda device: 2)
    code, _, err = run(*words, "--out", "two", "--run", "two")
    assert code == 0, err
    assert same(tensors(Path("two")), tensors(Path("none")))
    assert not multiprocessing.active_children(), "workers survive the run"
    assert 0 < read_card("two")["waiting_for_data"] <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["flow", "--images", "0"], "images"),
        (["flow", "--pictures", "0"], "--pictures"),
        (["all", "--images", "0"], "images"),
        (["flow", "--batch-size", "64", "--accumulate", "5"], "accumulate"),
        (["flow", "--learning-rate", "-1"], "learning_rate"),
        (["flow", "--device", "toaster"], "toaster"),
        (["flow", "--device", "cpu", "--graph"], "CUDA device"),
        (["flow", "--path", "file"], "--world folder"),
        (["flow", "--world", "digits", "--path", "file"], "--path"),
        (["autoencoder", "--world", "emoji", "--path", "file"], "--path"),
        (["flow", "--path", ""], "no name of a file"),
        (["flow", "--out", "a\0b"], "no name of a file"),
        (["flow", "--out=~nobody-of-this-name/x"], "no name of a file"),
        (["flow", "--out", "file"], "Cannot write file"),
        (["flow", "--out", "file/below"], "file is no folder"),
        (["all", "--out", "file"], "Cannot write file"),
        (["flow", "--run", "../other"], "--run"),
        (["flow", "--run", ""], "--run"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_one_sentence(run, tiny, words, said):
    Path("file").touch()
    assert said in one_sentence(*run("train", *words))
    assert not (tiny / "weights" / "flow-shapes").exists()
