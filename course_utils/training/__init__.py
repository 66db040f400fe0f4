"""Training: one loop for all models, with EMA, schedules, exact resume and callbacks."""

from course_utils.training.callbacks import Callback, ProgressBar, TensorBoard, WeightsAndBiases
from course_utils.training.checkpoints import load_weights
from course_utils.training.config import TrainConfig, choose_device
from course_utils.training.loop import TrainResult, train
from course_utils.training.schedules import ema_decay, learning_rate
from course_utils.training.state import State

__all__ = [
    "Callback",
    "ProgressBar",
    "State",
    "TensorBoard",
    "TrainConfig",
    "TrainResult",
    "WeightsAndBiases",
    "choose_device",
    "ema_decay",
    "learning_rate",
    "load_weights",
    "train",
]
