"""The families of models, and how one comes back from its weights."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from course_utils.common import CourseError
from course_utils.weights import Weights, config_from, load_weights

# kind of weights: (module, config, model, name of the model's tensors in the file)
MODELS = {
    "autoencoder": ("autoencoder", "AutoencoderConfig", "Autoencoder", "autoencoder"),
    "clip": ("clip", "ClipConfig", "Clip", "clip"),
    "features": ("features", "FeaturesConfig", "FeatureNetwork", "features"),
    "flow": ("dit", "DiTConfig", "DiT", "flow"),
    "gpt": ("gpt", "GPTConfig", "GPT", "gpt"),
    "judge": ("judge", "JudgeConfig", "JudgeNetwork", "judge"),
    "layout-flow": ("layout_dit", "LayoutDiTConfig", "LayoutDiT", "flow"),
}


def build(weights: Weights, kind: str, config: Any) -> Any:
    """The model (an nn.Module) of this kind and config with the values that the weights hold for it, in eval mode.

    Raises CourseError if there is no such kind, or the config and the values do not fit it.
    """
    if kind not in MODELS:
        raise CourseError(f"The kind {kind!r} is no model of this course; there are {', '.join(MODELS)}.")
    name, config_name, model_name, part = MODELS[kind]
    module = importlib.import_module(f"course_utils.models.{name}")
    try:
        model = getattr(module, model_name)(config_from(getattr(module, config_name), config))
        model.load_state_dict(weights.part(part))
    except (TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CourseError(
            f"The card of the weights {weights.folder} does not describe a model of the kind {kind!r} "
            f"({type(error).__name__}: {reason}); give weights that `train` has written."
        ) from error
    return model.eval()


def load_model(name: str | Path, kind: str | None = None) -> Any:
    """The trained model (an nn.Module) of these weights, in eval mode; `kind` is what their card must say they are.

    Raises CourseError if they are missing, damaged or of another kind.
    """
    weights = load_weights(name, kind)
    return build(weights, weights.card.get("kind", ""), weights.card.get("config"))
