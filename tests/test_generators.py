"""Generators: solvers with known answers, guidance, noise that belongs to its picture, and one clear sentence for what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from small import autoencoder_weights, dit, flow_weights, judge_weights, shipped, tokenizer

from course_utils.common import ROOT, CourseError, sha256
from course_utils.generators import Pictures, load
from course_utils.generators.base import noise_for
from course_utils.generators.flow import SOLVERS, FlowGenerator, euler, guided, heun, load_autoencoder
from course_utils.language.tokenizer import PAD

PROMPTS = [
    "a small red circle",
    "一个红色的小圆在蓝色大方块的上面",
    "two striped blue stars",
    "a large green heart on the left",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flow_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def generator(folder: Path) -> FlowGenerator:
    return load(folder, "cpu")  # type: ignore[return-value]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Weights that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


# --------------------------------------------------------------------------------------------------------------- solvers


def spiral(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = i w x with w = 2 + 2t: x(1) is x(0) turned by 3."""
    w = (2 + 2 * t)[:, None]
    return torch.stack([-x[:, 1], x[:, 0]], 1) * w


ODES = {
    "exponential": (lambda x, t: x, lambda x: x * torch.e),
    "in_time": (
        lambda x, t: torch.cos(3 * t)[:, None].expand_as(x),
        lambda x: x + torch.sin(torch.tensor(3.0)).double() / 3,
    ),
    "spiral": (spiral, lambda x: x @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double().mul(3).matrix_exp()),
}


@pytest.mark.parametrize("ode", ODES)
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_solvers_reach_known_answers_in_their_order(ode, solver, order):
    velocity, answer = ODES[ode]
    torch.manual_seed(0)
    start = torch.randn(5, 2, dtype=torch.float64)
    solve, evaluations = SOLVERS[solver]
    assert evaluations == order
    off = [float((solve(velocity, start, n) - answer(start)).abs().max()) for n in (40, 80)]
    assert off[1] < 0.15
    assert off[0] / off[1] == pytest.approx(2**order, rel=0.15)  # half the step, half or a quarter of the error


def test_a_straight_line_needs_one_step():
    noise, data = torch.randn(4, 3), torch.randn(4, 3)
    for solve in (euler, heun):
        for steps in (1, 3, 7):
            assert torch.allclose(solve(lambda x, t: data - noise, noise, steps), data, atol=1e-5)


def test_time_runs_from_noise_to_data():
    seen: list[float] = []

    def velocity(x, t):
        assert t.shape == (len(x),)
        seen.append(float(t[0]))
        return torch.zeros_like(x)

    euler(velocity, torch.zeros(3, 1), 4)
    assert seen == [0, 0.25, 0.5, 0.75]
    seen.clear()
    heun(velocity, torch.zeros(3, 1), 2)
    assert seen == [0, 0.5, 0.5, 1]


# -------------------------------------------------------------------------------------------------------------- guidance


@torch.no_grad()
def test_guidance_in_one_pass_equals_two_passes():
    model = dit()
    torch.manual_seed(0)
    x, t = torch.randn(3, 3, 8, 8), torch.rand(3)
    tokens, empty = tokenizer().batch(PROMPTS[:3], 48), tokenizer().batch([""] * 3, 1)
    told, null = model(x, t, tokens), model(x, t, empty)
    assert (told - null).abs().max() > 0.01
    for g in (0.0, 0.5, 1.0, 2.0, 7.5):
        assert torch.allclose(guided(model, tokens, empty, g)(x, t), null + g * (told - null), atol=2e-4 * (1 + g)), g
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    guided(model, tokens, empty, 2.0)(x, t)
    assert len(passes) == 1


def test_guidance_zero_ignores_the_words_and_costs_half(generator):
    one, other = (generator([p], guidance=0, steps=2) for p in PROMPTS[:2])
    assert torch.allclose(one.images, other.images, atol=1 / 255) and one.evaluations == 2
    one, other = (generator([p], guidance=1, steps=2) for p in PROMPTS[:2])
    assert (one.images - other.images).abs().max() > 0.02 and one.evaluations == 2
    two = generator(PROMPTS[0], guidance=2.0, steps=2)
    assert two.evaluations == 4 and not torch.allclose(two.images, one.images, atol=0.01)


# ------------------------------------------------------------------------------------------------------- what comes back


def test_pictures(generator):
    pictures = generator(PROMPTS[0])
    assert pictures.images.shape == (1, 3, 32, 32) and pictures.images.dtype == torch.float32
    assert pictures.images.min() >= 0 and pictures.images.max() <= 1 and pictures.seconds > 0
    assert pictures.prompts == PROMPTS[:1] and pictures.warnings == []
    assert pictures.evaluations == 2 * 2  # the card's steps, guided
    pictures.images.add_(0)  # an ordinary tensor
    many = generator(PROMPTS, n=2, steps=1, guidance=1)
    assert many.prompts == [p for p in PROMPTS for _ in range(2)] and len(many.images) == 8
    assert torch.equal(generator(tuple(PROMPTS), n=2, steps=1, guidance=1).images, many.images)


def test_a_picture_does_not_depend_on_what_is_drawn_with_it(generator):
    whole = generator(PROMPTS, n=3, seed=5).images
    for batch_size in (1, 5, 12):
        assert (generator(PROMPTS, n=3, seed=5, batch_size=batch_size).images - whole).abs().max() <= 1 / 255
    fewer = generator(PROMPTS[:2], n=1, seed=5).images  # copies and prompts that come after change nothing
    assert (fewer - whole[[0, 3]]).abs().max() <= 1 / 255
    long = generator([PROMPTS[0], "a large striped purple moon " * 12], seed=5).images[:1]  # padded in the batch
    assert (long - whole[:1]).abs().max() <= 1 / 255


def test_the_same_seed_is_the_same_picture(generator):
    one, again, other = (generator(PROMPTS[:1], seed=s, n=2).images for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert (one - other).abs().mean() > 0.01 and (one[0] - one[1]).abs().mean() > 0.01
    state = torch.get_rng_state()
    generator(PROMPTS[:1])
    assert torch.equal(torch.get_rng_state(), state)  # no hidden global state


def test_noise_belongs_to_seed_prompt_and_copy():
    jobs = [(i, k) for i in range(40) for k in range(4)]
    whole = noise_for(3, jobs, (2, 2))
    assert torch.equal(noise_for(3, jobs[17:19], (2, 2)), whole[17:19])
    every = torch.cat([noise_for(seed, jobs, (4,)) for seed in (0, 1, 2, 3, -1, 2**31)])
    assert len({tuple(row) for row in every.tolist()}) == len(every)
    prompts = noise_for(0, [(i, 0) for i in range(5000)], (4,))  # as many as an evaluation asks for
    assert len(prompts.unique(dim=0)) == 5000
    assert abs(float(prompts.mean())) < 0.03 and abs(float(prompts.std()) - 1) < 0.03
    assert abs(float(torch.corrcoef(prompts[:, 0].unfold(0, 2, 1).T)[0, 1])) < 0.06  # neighbours have nothing in common


def test_pixels_need_no_autoencoder(tmp_path):
    generator = load(flow_weights(tmp_path / "pixels", "pixels"), "cpu")
    assert generator(PROMPTS[:2]).images.shape == (2, 3, 32, 32)
    assert generator.autoencoder is None  # type: ignore[attr-defined]


def test_heun_from_the_card(tmp_path):
    generator = load(flow_weights(tmp_path / "w", sampler={"steps": 3, "guidance": 1.0, "solver": "heun"}), "cpu")
    assert generator(PROMPTS[0]).evaluations == 6 and generator(PROMPTS[0], guidance=3.0, steps=1).evaluations == 4


# ------------------------------------------------------------------------------------------------------------- bad input

WRONG = {
    "no prompts": (([],), {}, "no prompt"),
    "empty": (("",), {}, "empty"),
    "spaces": (([PROMPTS[0], " \t\u3000"],), {}, "empty"),
    "signs": (("!?",), {}, "empty"),
    "number": ((42,), {}, "must be text"),
    "none": ((None,), {}, "must be text"),
    "number in a list": ((["a red circle", 3],), {}, "must be text"),
    "bytes": ((b"a red circle",), {}, "must be text"),
    "long": (("a red circle " * 1000,), {}, "characters"),
    "10,000 letters": (("x" * 10_000,), {}, "10,000 characters"),
    "broken bytes": (("a red circle \udcff",), {}, "UTF-8"),
    "unknown word": (("a red dragon",), {"strict": True}, "dragon"),
    "no steps": ((PROMPTS[0],), {"steps": 0}, "steps"),
    "half a step": ((PROMPTS[0],), {"steps": 1.5}, "steps"),
    "many steps": ((PROMPTS[0],), {"steps": 10**6}, "steps"),
    "negative guidance": ((PROMPTS[0],), {"guidance": -1}, "guidance"),
    "guidance that is no number": ((PROMPTS[0],), {"guidance": float("nan")}, "guidance"),
    "no pictures": ((PROMPTS[0],), {"n": 0}, "n is 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(generator, case):
    arguments, options, said = WRONG[case]
    with pytest.raises(CourseError) as error:
        generator(*arguments, **options)
    assert said in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


def test_unknown_words_are_named_with_the_nearest(generator):
    pictures = generator(["a smal crimson circel", "一个红色的小圆"], steps=1)
    assert len(pictures.warnings) == 2 and "“smal”" in pictures.warnings[0] and "“small”" in pictures.warnings[0]
    assert "“circel”" in pictures.warnings[1] and "“circle”" in pictures.warnings[1]
    assert generator("a scarlet lozenge", strict=True, steps=1).warnings == []  # held-out synonyms are known words
    with pytest.raises(CourseError, match="did you mean “small”"):
        generator("a smal circle", strict=True)
    [symbol] = generator("a 🔴", steps=1).warnings
    assert symbol == "“🔴” is not a word that this generator knows"


def test_variants_of_a_prompt_are_the_same_picture(generator):
    for text, variants in [
        (
            "a red circle, on a dotted background",
            ["A red\ncircle,\ton a dotted background.", "“a  red circle , on a dotted background”!"],
        ),
        ("一个橙色的圆和两个红色方块", ["一个橙的圆\n和二个紅色方塊。", "一 个 橙色 的 圆 和 两 个 红色 方块"]),
    ]:
        plain = generator(text, steps=1).images
        for variant in variants:
            pictures = generator(variant, steps=1, strict=True)
            assert torch.equal(pictures.images, plain) and pictures.warnings == [], variant


def test_symbols_that_a_generator_was_told_are_drawn(tmp_path):
    generator = load(flow_weights(tmp_path / "w", words={"en": ["🍕"], "zh": ["大", "🍕"]}), "cpu")
    assert generator("🍕", steps=1, strict=True).warnings == generator("大🍕！", steps=1, strict=True).warnings == []
    assert "“🍔”" in generator("🍔🍕", steps=1).warnings[0]


def test_what_the_world_finds_odd_is_a_warning_and_no_error(tmp_path):
    generator = load(flow_weights(tmp_path / "w", world="shapes"), "cpu")
    for text, told in [
        ("a gray circle", "background"),
        ("red circle blue square", "nothing stands between"),
        ("一个绿色三角形在左边", "held out"),
    ]:
        [warning] = generator([text, PROMPTS[0]], steps=1, strict=True).warnings
        assert warning.startswith(f"“{text}”: ") and told in warning and not warning.endswith(".")
    other = load(flow_weights(tmp_path / "other", world="folder"), "cpu")
    assert other("a gray circle", steps=1).warnings == []


def test_the_end_of_a_prompt_that_is_not_read_is_named(generator):
    [warning] = generator("red circle " * 40 + "green star", steps=1).warnings
    assert "too long" in warning and warning.endswith("green star” at its end is not read")
    with pytest.raises(CourseError, match="not read"):
        generator("red circle " * 40, steps=1, strict=True)
    assert generator("a red circle", steps=1).warnings == []


@pytest.mark.parametrize("text", ["<pad>", "<empty>", "a red circle <pad><pad>", "مرحبا", "🙂 circle"])
def test_any_text_gives_a_picture(generator, text):
    """A text that became nothing but padding would be a picture of not-a-number."""
    images = generator(text, steps=1).images
    assert images.isfinite().all() and images.std() > 0.001


# ---------------------------------------------------------------------------------------------------------------- saving


def sheet(n: int) -> Pictures:
    torch.manual_seed(0)
    return Pictures(torch.rand(n, 3, 32, 32), ["x"] * n, 0.1, 1)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG", ".webp"])
def test_a_saved_sheet_shows_the_pictures(tmp_path, suffix):
    pictures = sheet(3)
    path = pictures.save(tmp_path / f"new/folder/x{suffix}", scale=2, columns=2)
    with Image.open(path) as image:
        assert image.size == (2 * 64, 2 * 64)
        pixel = [round(255 * v) for v in pictures.images[2, :, 5, 7].tolist()]  # the third stands below the first
        assert suffix == ".webp" or list(image.convert("RGB").getpixel((14, 64 + 10))) == pixel
        assert image.convert("RGB").getpixel((100, 100)) == (255, 255, 255)  # and the place beside it stays white
    assert os.listdir(path.parent) == [path.name]


def test_what_cannot_be_saved_is_a_clear_error(tmp_path):
    for name in ("x", "x.jpg", "x.png.txt", "png"):
        with pytest.raises(CourseError, match="does not end in"):
            sheet(1).save(tmp_path / name)
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="Cannot write"):
        sheet(1).save(tmp_path / "file" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(CourseError, match="Cannot write"):
        sheet(1).save(tmp_path / "folder.png")
    with pytest.raises(CourseError, match="Cannot write .* pixels"):
        sheet(9).save(tmp_path / "long.webp", scale=64, columns=1)  # WebP ends at 16,383 pixels
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_folder_that_may_not_be_written(tmp_path):
    if os.geteuid() == 0:
        target = Path("/proc/no/such/place.png")  # root may write everywhere else
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        target = tmp_path / "locked" / "x.png"
    with pytest.raises(CourseError, match="Cannot write"):
        sheet(1).save(target)


def test_a_file_size_limit_leaves_nothing_half_written(tmp_path):
    code = f"""
import resource, sys, torch
from course_utils.common import CourseError
from course_utils.generators import Pictures
from course_utils.weights import save_weights
pictures = Pictures(torch.rand(4, 3, 32, 32), ["x"] * 4, 0.1, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for act in (lambda: pictures.save({str(tmp_path / "x.png")!r}), lambda: pictures.save({str(tmp_path / "old.png")!r}),
            lambda: save_weights({str(tmp_path)!r}, {{"flow": {{"a": torch.zeros(9000)}}}}, {{}})):
    try:
        act()
        sys.exit("no error")
    except CourseError as error:
        print(error)
"""
    (tmp_path / "old.png").write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 and done.stdout.count("Cannot write") == 3
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"] and (tmp_path / "old.png").read_bytes() == b"before"


# --------------------------------------------------------------------------------------------------------------- loading


def refused(name: str | Path, said: str, **options: str) -> None:
    with pytest.raises(CourseError) as error:
        load(name, **options)
    assert said in str(error.value) and "\n" not in str(error.value), error.value


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    card = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({k: v for k, v in card.items() if v is not None}), encoding="utf-8")


def test_weights_that_are_not_there_or_of_another_kind(tmp_path):
    refused("no-such-weights", "no weights called 'no-such-weights'")
    refused(judge_weights(tmp_path / "j"), "'judge'")
    refused(autoencoder_weights(tmp_path / "a"), "'autoencoder', which draws no pictures")


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"tokenizer": None},
        {"config": {"width": 24, "colour": "red"}},
        {"config": {"width": 32}},
        {"config": [1]},
        {"autoencoder": {"channels": [4, 8], "latent_channels": 5}},
    ],
    ids=str,
)
def test_a_foreign_card(copy, changes):
    """A card that is whole JSON, with the right sum, but of something else."""
    rewrite(copy, **changes)
    refused(copy, "card")


def test_a_file_with_other_tensors(copy):
    path = copy / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("flow.patch_in.weight")
    save_file(tensors, path)
    rewrite(copy, sha256=sha256(path))
    refused(copy, "patch_in")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "toaster"])
def test_a_device_that_is_not_there(folder, device):
    refused(folder, device, device=device)


def test_the_autoencoder_is_found_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("course_utils.weights.DATA", tmp_path / "data")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    with pytest.raises(CourseError, match="train autoencoder"):
        load_autoencoder()
    flow_weights(tmp_path / "weights" / "flow-shapes")
    inside = load_autoencoder()
    autoencoder_weights(tmp_path / "weights" / "autoencoder-shapes")
    alone = load_autoencoder()
    assert not torch.equal(alone.encoder[1].weight, inside.encoder[1].weight) and not alone.training
    model = tmp_path / "weights" / "autoencoder-shapes" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(CourseError, match="damaged"):  # and not the other one without a word
        load_autoencoder()


# ------------------------------------------------------------------------------------------------------ what ships


@pytest.mark.parametrize("prompt", ["a small red circle above a large blue square", "一个红色的小圆在蓝色大方块的上面"])
def test_the_shipped_generator_draws_what_it_is_told(prompt):
    from course_utils.measure.judge import Judge
    from course_utils.worlds.captions import parse

    shipped("judge")
    pictures = load(shipped("flow-shapes").name, "cpu")(prompt, n=8, strict=True)
    readings = Judge.load().read(pictures.images)
    # Judge A, which refuses misshapen things, accepts about half of such pairs; of a deaf generator's it would accept none.
    assert sum(reading.shows(parse(prompt)) for reading in readings) >= 2
    assert (pictures.images[0] - pictures.images[1:]).abs().mean((1, 2, 3)).min() > 0.02  # eight different pictures


# Means of 8x8 pixels, red, green and blue, as the model drew them whose weights these are (4 steps, seed 1).
# fmt: off
THUMBNAILS = {
    "a small red circle above a large blue square": [
        101, 116, 149, 102, 103, 114, 139, 102, 103, 24, 71, 103, 108, 71, 90, 102,
        104, 92, 81, 105, 106, 96, 86, 105, 106, 58, 88, 105, 110, 86, 97, 104,
        106, 94, 85, 108, 109, 99, 89, 108, 111, 195, 144, 108, 113, 150, 122, 106,
    ],
    "一个绿色的大三角形在左上角": [
        105, 86, 109, 110, 102, 55, 106, 110, 112, 112, 111, 111, 112, 112, 111, 111,
        114, 119, 110, 108, 115, 127, 109, 109, 111, 110, 109, 109, 110, 110, 109, 109,
        103, 86, 105, 106, 101, 62, 103, 107, 109, 109, 108, 107, 109, 108, 108, 107,
    ],
}
# fmt: on


def test_the_shipped_generator_draws_what_it_drew():
    """Its model is trained no more and used by nothing else, so nothing but this would tell that it changed."""
    images = load(shipped("flow-shapes").name, "cpu")(list(THUMBNAILS), steps=4, seed=1).images
    drawn = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
    assert (255 * drawn - torch.tensor(list(THUMBNAILS.values()))).abs().max() <= 1


def test_no_token_is_padding_in_a_prompt():
    assert not (tokenizer().batch(["<pad>"], 9) == PAD).any()
