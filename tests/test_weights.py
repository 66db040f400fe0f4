"""Weights on disk: what is saved comes back, what is damaged is named, and what ships keeps its promises."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from small import autoencoder_weights, judge_weights, shipped

from course_utils.common import DATA, CourseError, sha256
from course_utils.loaded import VARIABLE
from course_utils.models.dit import DiTConfig
from course_utils.weights import config_from, load_weights, read_card, save_weights, weights_folder, write_card

SHIPPED = {
    "judge": 2.0,
    "features": 1.0,
    "flow-shapes": 10.0,
    "flow-emoji": 5.0,
    "clip-shapes": 1.5,
    "flow-shapes-4": 1.5,
    "flow-shapes-1": 1.5,
    "gpt-captions": 1.0,
}  # and the most MiB that each may take


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No weights but those of the test itself."""
    if "ships" not in request.node.name:
        monkeypatch.setattr("course_utils.weights.DATA", tmp_path / "data")
        monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))


def parts() -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    wide = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    return {
        "a": {"x.weight": torch.randn(3, 4), "n": torch.tensor(7)},
        "ab": {"wide": wide, "part": torch.randn(4, 4).T},
    }


def test_what_is_saved_comes_back(tmp_path):
    folder = save_weights(tmp_path / "new" / "w", parts(), {"kind": "x", "words": ["小", "é"]}, torch.float32)
    found = load_weights(folder)
    assert found.folder == folder and found.card["words"] == ["小", "é"] and found.card["kind"] == "x"
    for name, tensors in parts().items():
        assert found.part(name).keys() == tensors.keys()  # "a" is not the start of "ab"
        for key, tensor in tensors.items():
            assert torch.equal(found.part(name)[key], tensor) and found.part(name)[key].dtype == tensor.dtype
    assert sorted(os.listdir(folder)) == ["card.json", "model.safetensors"]


def test_bfloat16_on_disk_and_float32_in_memory(tmp_path):
    folder = save_weights(tmp_path, parts(), {})
    found = load_weights(folder).part("a")
    assert found["x.weight"].dtype == torch.float32 and found["n"].dtype == torch.int64 and found["n"] == 7
    exact = parts()["a"]["x.weight"]
    assert torch.equal(found["x.weight"], exact.bfloat16().float())
    assert ((found["x.weight"] - exact).abs() <= exact.abs() / 256).all()  # 8 significant bits
    assert (folder / "model.safetensors").stat().st_size < 1500


def test_saving_twice_gives_the_same_file(tmp_path):
    one, two = (save_weights(tmp_path / name, parts(), {"kind": "x"}) for name in "12")
    for name in ("card.json", "model.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert read_card(one)["sha256"] == hashlib.sha256((one / "model.safetensors").read_bytes()).hexdigest()


def test_a_card_may_be_written_again(tmp_path):
    folder = judge_weights(tmp_path / "j")
    write_card(folder, {**read_card(folder), "quality": {"all": 0.5}})
    assert load_weights(folder, "judge").card["quality"] == {"all": 0.5}


def test_where_weights_are_found(tmp_path, monkeypatch):
    shipped_one = judge_weights(tmp_path / "data" / "weights" / "one")
    own_one, own_two = (judge_weights(tmp_path / "home" / "weights" / name) for name in ("one", "two"))
    assert weights_folder("one") == shipped_one != own_one and weights_folder("two") == own_two
    assert weights_folder(own_one) == own_one == weights_folder(str(own_one))
    monkeypatch.chdir(tmp_path / "home")
    assert weights_folder("weights/two").resolve() == own_two
    with pytest.raises(CourseError, match="no weights called 'three'; give one of one, or a"):
        weights_folder("three")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "\x00", "x" * 5000])
def test_names_that_are_none(name):
    with pytest.raises(CourseError, match="no weights called"):
        load_weights(name)


def test_each_damage_has_its_sentence(tmp_path):
    folder = autoencoder_weights(tmp_path / "w")
    model, card = folder / "model.safetensors", folder / "card.json"
    with pytest.raises(CourseError, match="kind 'autoencoder', and 'judge' is needed"):
        load_weights(folder, "judge")
    whole, told = model.read_bytes(), card.read_text()
    flipped = (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (10, len(whole) - 10))
    for data in (*flipped, b"", whole[:7], whole[:5000]):
        model.write_bytes(data)
        with pytest.raises(CourseError, match="damaged.*train it again"):
            load_weights(folder)
    write_card(folder, {**json.loads(told), "sha256": sha256(model)})  # even where somebody made the sum fit
    with pytest.raises(CourseError, match="not a safetensors file"):
        load_weights(folder)
    model.unlink()
    with pytest.raises(CourseError, match="missing"):
        load_weights(folder)
    card.write_text(told)
    model.write_bytes(whole)
    load_weights(folder)
    card.write_text(told.replace('"sha256"', '"sum"'))
    with pytest.raises(CourseError, match="damaged"):
        load_weights(folder)
    for text in (b"", b"{", b"[1, 2]", b'"card"', b"\xff"):
        card.write_bytes(text)
        with pytest.raises(CourseError, match="cannot be read"):
            read_card(folder)


def test_the_remedy_fits_the_place(tmp_path):
    folder = judge_weights(tmp_path / "data" / "weights" / "judge")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CourseError, match=r"git checkout -- data/weights/judge/model\.safetensors"):
        load_weights("judge")


def test_a_loaded_file_is_noted_for_the_stamp(tmp_path, monkeypatch):
    judge_weights(tmp_path / "home" / "weights" / "judge")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "noted"))
    load_weights("judge")
    with pytest.raises(CourseError):
        load_weights("judge", "flow")
    assert (tmp_path / "noted").read_text() == "judge\n"


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    pairs: tuple[float, float] = (0.5, 0.5)
    name: str = "x"


@pytest.mark.parametrize("config", [Outer(), Outer(Inner((3,)), (1.0, 2.0), "y"), DiTConfig(width=48)])
def test_a_config_survives_json(config):
    assert config_from(type(config), json.loads(json.dumps(dataclasses.asdict(config)))) == config


# ------------------------------------------------------------------------------------------------------------ what ships


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_whole_small_and_documented(name):
    folder = shipped(name)
    weights = load_weights(name)  # checks the sum
    assert weights.folder == folder and sha256(folder / "model.safetensors") == weights.card["sha256"]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= SHIPPED[name] * 2**20
    assert sorted(os.listdir(folder)) == ["card.json", "model.safetensors"]
    assert all(value.isfinite().all() for value in weights.state.values())
    card = weights.card
    assert (
        card["command"].startswith("python -m course_utils train ") and card["images_seen"] > 0 and card["seconds"] > 0
    )
    assert (
        card["training"]["seed"] is not None and card["machine"] and card["loss"][-1]["images"] == card["images_seen"]
    )
    text = (folder / "card.json").read_text(encoding="utf-8")
    assert "/root" not in text and "/home" not in text and "/tmp" not in text
    if card["kind"] not in ("features", "clip"):
        assert card["quality"]["intervals"]


def test_what_ships_stays_within_its_budget():
    folder = shipped("flow-shapes").parent
    assert folder == DATA / "weights"
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 28 * 2**20


def test_the_word_list_that_ships_is_the_grammars():
    from course_utils.worlds.captions import word_list

    shipped("flow-shapes")
    assert read_card("flow-shapes")["words"] == word_list()


def test_int8_is_a_quarter_of_the_size_and_half_a_step_away(tmp_path):
    torch.manual_seed(0)
    filters = torch.randn(6, 4, 3, 3) * torch.tensor([1e-3, 1, 100, 0, 1, 1])[:, None, None, None]
    parts = {
        "part": {"filters": filters, "matrix": torch.randn(64, 64), "gain": torch.randn(8), "count": torch.tensor(7)}
    }
    for name, dtype in (("whole", torch.float32), ("small", torch.int8)):
        save_weights(tmp_path / name, parts, {"kind": "test"}, dtype)
    back = load_weights(tmp_path / "small").part("part")
    assert back.keys() == parts["part"].keys() and back["count"] == 7
    for key in ("filters", "matrix"):
        true, found = parts["part"][key].flatten(1), back[key].flatten(1)
        assert found.dtype == torch.float32
        step = true.abs().amax(1, keepdim=True) / 127
        assert ((found - true).abs() <= 0.75 * step).all()  # half a step, and a factor that is itself rounded
    assert (back["filters"][3] == 0).all()
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < 0.35 * sizes[1]
