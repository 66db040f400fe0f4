"""What may happen beside training: a callback is called at log points, and the numbers it returns join the log."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Protocol

from course_utils.common import CourseError

if TYPE_CHECKING:
    from course_utils.training.state import State


class Callback(Protocol):
    """Called at the first log point after every `every_images` images (0: at every log point) and at the end.

    It may put `state.model` into eval mode, draw random numbers and take its time: training goes on as if it had not been
    there. It sees the log line so far in `state.history[-1]` and may return numbers to add to it; callbacks run in order,
    so those that show the line come last.
    """

    every_images: int

    def __call__(self, state: State) -> dict[str, float] | None: ...


class ProgressBar:
    """A tqdm bar with the loss, images per second and the time left."""

    every_images = 0
    bar: Any = None

    def __call__(self, state: State) -> None:
        from tqdm.auto import tqdm

        line, total = state.history[-1], state.config.images
        if self.bar is None:
            form = "{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} images{postfix}"
            self.bar = tqdm(total=total, bar_format=form, unit_scale=True)
        rate = line["images_per_second"]
        left = tqdm.format_interval(max(total - state.images, 0) / rate)
        loss = "not finite" if line["loss"] is None else f"{line['loss']:.4f}"
        self.bar.set_postfix_str(f"loss {loss}, {rate:,.0f} images/s, {left} left", refresh=False)
        self.bar.n = min(state.images, total)
        self.bar.refresh()
        if state.images >= total:
            self.bar.close()
            self.bar = None


class TensorBoard:
    """Writes every number of the log for TensorBoard, into `tensorboard/` in the run's folder; says so if it is absent."""

    every_images = 0
    writer: Any = None

    def __call__(self, state: State) -> None:
        if self.writer is False:
            return
        if self.writer is None:
            if state.folder is None:
                raise CourseError("TensorBoard needs a folder to write to; give train(…, folder=…).")
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                print("TensorBoard is not installed, so only log.jsonl is written; `pip install tensorboard` adds it.")
                self.writer = False
                return
            # purge_step hides what a killed run had written beyond its last checkpoint
            self.writer = SummaryWriter(str(state.folder / "tensorboard"), purge_step=state.images)
        for name, value in state.history[-1].items():
            if name != "images" and value is not None:
                self.writer.add_scalar(name, value, global_step=state.images)
        self.writer.flush()


class WeightsAndBiases:
    """Sends every number of the log to a project of Weights & Biases; without an account `WANDB_MODE=offline` keeps them here.

    The run there has the name of the run's folder, and goes on with it. Raises CourseError if the package is not installed.
    """

    every_images = 0
    run: Any = None

    def __init__(self, project: str):
        self.project = project
        if importlib.util.find_spec("wandb") is None:
            raise CourseError(
                "The package wandb is missing; `pip install wandb`, or leave out --wandb: TensorBoard does without."
            )

    def __call__(self, state: State) -> None:
        import wandb

        if state.folder is None:
            raise CourseError("Weights & Biases needs a folder to write to; give train(…, folder=…).")
        if self.run is None:
            name = state.folder.name
            self.run = wandb.init(
                project=self.project, id=name, name=name, resume="allow", dir=str(state.folder), config=state.settings
            )
        self.run.log({k: v for k, v in state.history[-1].items() if v is not None}, step=state.images)
        if state.images >= state.config.images:
            self.run.finish()
            self.run = None
