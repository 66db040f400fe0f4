"""Tiny models and weights that several test files share: made in seconds, trained on nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import datasets

from course_utils.common import DATA
from course_utils.generators import load
from course_utils.language.tokenizer import Tokenizer
from course_utils.models.autoencoder import Autoencoder, AutoencoderConfig
from course_utils.models.dit import DiT, DiTConfig
from course_utils.models.features import FeatureNetwork, FeaturesConfig
from course_utils.models.flow_map import FlowMap, FlowMapConfig
from course_utils.models.judge import JudgeConfig, JudgeNetwork
from course_utils.models.text_encoder import TextEncoderConfig
from course_utils.weights import save_weights
from course_utils.worlds import celeba
from course_utils.worlds.captions import training_caption, word_list
from course_utils.worlds.scenes import SEEDS, scenes

GAIN = 0.8  # of the noise in `awake`
AUTOENCODER = AutoencoderConfig(channels=(4, 8), depth=(1, 1), decoder_depth=(2, 2), latent_channels=3)
JUDGE = JudgeConfig(channels=(16, 32), depth=1)
FEATURES = FeaturesConfig(channels=(4, 8, 8), features=8, projection=16)


def shipped(name: str) -> Path:
    """The folder of weights that ship; the test is skipped as long as they are not there yet."""
    folder = DATA / "weights" / name
    if not folder.is_dir():
        pytest.skip(f"the weights {name} do not ship yet")
    return folder


@cache
def captions(n: int = 400) -> list[str]:
    """Training captions in both languages."""
    return [training_caption(s, i) for i, s in enumerate(scenes(SEEDS["flow"], 0, n, split="train").scenes)]


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.train(captions(), 400)


def text_config() -> TextEncoderConfig:
    return TextEncoderConfig(vocabulary=len(tokenizer()), longest=64, width=16, depth=1, heads=2)


def dit_config(space: str = "latents", **changes: Any) -> DiTConfig:
    text = text_config()
    latents = DiTConfig(channels=3, size=8, patch=2, width=24, depth=2, heads=2, text=text)
    pixels = dataclasses.replace(latents, size=32, patch=4, predict="data")
    return dataclasses.replace(latents if space == "latents" else pixels, **changes)


def awake(model: nn.Module, seed: int = 0) -> nn.Module:
    """The same model, with noise on what starts at zero: an untrained one would not listen to the words at all."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(GAIN * torch.randn(p.shape, generator=random) / (p[0].numel() if p.ndim > 1 else p.numel()) ** 0.5)
    return model


def dit(space: str = "latents", **changes: Any) -> DiT:
    """A tiny DiT in eval mode whose output depends on everything that goes in."""
    torch.manual_seed(0)
    return awake(DiT(dit_config(space, **changes))).eval()  # type: ignore[return-value]


def flow_weights(folder: Path, space: str = "latents", **card: Any) -> Path:
    """A weights folder of the kind `flow`."""
    model = dit(space)
    about: dict[str, Any] = {
        "kind": "flow",
        "config": dataclasses.asdict(model.config),
        "space": space,
        "tokenizer": tokenizer().merges,
        "words": word_list(),
        "sampler": {"steps": 2, "guidance": 2.0},
        "images_seen": 64,
        "seconds": 1,
    }
    parts = {"flow": model.state_dict()}
    if space == "latents":
        torch.manual_seed(1)
        about["autoencoder"] = dataclasses.asdict(AUTOENCODER)
        parts["autoencoder"] = Autoencoder(AUTOENCODER).state_dict()
    return save_weights(folder, parts, {**about, **card}, torch.float32)


def student_weights(teacher: Path, folder: Path) -> Path:
    """A student of two jumps that has learned something, beside its teacher."""
    one = load(teacher, "cpu")
    config = FlowMapConfig(str(teacher), one.card["sha256"], rank=2)  # type: ignore[attr-defined]
    learned = awake(FlowMap(config, one.model)).trained()  # type: ignore[attr-defined]
    card = {"kind": "flow-map", "config": dataclasses.asdict(config), "taught": [2]}
    return save_weights(folder, {"flow-map": learned}, {**card, "sampler": {"steps": 2, "guidance": 2.0}})


def judge_weights(folder: Path) -> Path:
    torch.manual_seed(2)
    card = {"kind": "judge", "config": dataclasses.asdict(JUDGE)}
    return save_weights(folder, {"judge": JudgeNetwork(JUDGE).state_dict()}, card)


def features_weights(folder: Path) -> Path:
    torch.manual_seed(3)
    card = {"kind": "features", "config": dataclasses.asdict(FEATURES)}
    return save_weights(folder, {"features": FeatureNetwork(FEATURES).state_dict()}, card)


def autoencoder_weights(folder: Path, seed: int = 4) -> Path:
    torch.manual_seed(seed)
    card = {"kind": "autoencoder", "config": dataclasses.asdict(AUTOENCODER)}
    return save_weights(folder, {"autoencoder": Autoencoder(AUTOENCODER).state_dict()}, card)


FACES = 8  # of them 0-3 for training, 4-5 for validation, 6-7 for testing
HATS, WOMEN_NOT_YOUNG = {1, 2, 3}, {0, 1, 3, 4}


def celeba_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like CelebA's, in the formats of its files, whose checksums torchvision now expects."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{n + 1:06d}.jpg" for n in range(FACES)]
    for n, name in enumerate(names):
        pixels = np.full((218, 178, 3), 20 * n, np.uint8)
        pixels[:35], pixels[-35:] = 255, 255  # what the crop takes away
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name, quality=95)
    rows = []
    for n, name in enumerate(names):
        yes = {"Wearing_Hat": n in HATS, "Male": n not in WOMEN_NOT_YOUNG, "Young": n not in WOMEN_NOT_YOUNG}
        yes |= {"Smiling": n == 3, "Attractive": True}
        rows.append(f"{name} " + " ".join(" 1" if yes.get(attribute) else "-1" for attribute in celeba.ATTRIBUTES))
    landmarks = " ".join(
        f"{part}_{axis}" for part in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
    )
    table = {
        "list_attr_celeba.txt": [str(FACES), " ".join(celeba.ATTRIBUTES) + " ", *rows],
        "list_bbox_celeba.txt": [
            str(FACES),
            "image_id x_1 y_1 width height",
            *(f"{x}    95  71 226 313" for x in names),
        ],
        "list_landmarks_align_celeba.txt": [str(FACES), landmarks, *(f"{x} " + "69  " * 10 for x in names)],
        "identity_CelebA.txt": [f"{name} {2880 + n}" for n, name in enumerate(names)],
        "list_eval_partition.txt": [f"{name} {(0, 0, 0, 0, 1, 1, 2, 2)[n]}" for n, name in enumerate(names)],
    }
    table["list_landmarks_align_celeba.txt"] = [line.rstrip() for line in table["list_landmarks_align_celeba.txt"]]
    sums = {}
    for name, lines in table.items():
        (folder / name).write_text("\n".join(lines) + "\n", newline="\n")
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    listed = [(number, sums.get(name, md5), name) for number, md5, name in datasets.CelebA.file_list]
    monkeypatch.setattr(datasets.CelebA, "file_list", listed)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    return folder
