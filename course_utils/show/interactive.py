"""Figures that move: a flipbook that needs no kernel, a box in which a prompt is typed, and sliders."""

from __future__ import annotations

import asyncio
import base64
import html
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from course_utils.common import CourseError
from course_utils.extras import need
from course_utils.show.pictures import to_png
from course_utils.show.style import RIGHT, WRONG

# Complete captions, which the weights that ship draw mostly right: tests/test_show.py lets the judge count.
EXAMPLES = (
    "a large solid green circle to the left of a large solid pink square on a white background",
    "a large solid blue square above a small solid red circle on a grey background",
    "three small solid blue circles on a white background",
    "黑色背景上有两个蓝色的实心大圆",
)
NEVER_SEEN = ("a red heart above a blue square",)  # no training picture shows this colour of this shape
DEBOUNCE = 0.3  # seconds for which a slider rests before its move is drawn
# What one move of the slider does: show that picture, hide the others, say its label. No ids, so pages cannot clash.
_TURN = (
    "const p=this.closest('.flipbook').querySelectorAll('.flipbook-page');"
    "p.forEach((e,i)=>{e.style.display=i==this.value?'':'none'});"
    "this.setAttribute('aria-valuetext',p[this.value].dataset.label);"
    "this.closest('.flipbook').querySelector('output').textContent=p[this.value].dataset.label"
)


class Flipbook:
    """A slider over ready-made pictures, as HTML that works with and without a kernel."""

    def __init__(self, page: str) -> None:
        self.html = page

    def _repr_html_(self) -> str:
        return self.html


def flipbook(frames: Any, labels: Sequence[str], alt: str, *, width: int | None = None) -> Flipbook:
    """A slider that turns over pictures, in JupyterLab and in the book alike; arrow keys, Home and End move it.

    Args:
        frames: figures, PNGs (bytes), or a tensor of pictures (N, 3, H, W) in [0, 1].
        labels: N short texts that stand beside the slider, such as "step 3 of 16".
        alt: what the pictures show, for readers who do not see them; each picture's label is added.
        width: width of a picture in screen pixels; by default a figure's own, and 192 or more for picture tensors.

    Raises CourseError if counts do not fit or `alt` is empty.
    """
    pixels = not isinstance(frames, (list, tuple))
    pages = [to_png(frame) for frame in frames] if pixels else [_png(frame) for frame in frames]
    if len(pages) != len(labels) or not pages:
        raise CourseError(
            f"A flipbook needs one label for each frame; it got {len(pages)} frames and {len(labels)} labels."
        )
    if not alt.strip():
        raise CourseError("A flipbook needs an alt text: say in one sentence what its pictures show.")
    if pixels and width is None:
        width = frames.shape[-1] * max(1, 192 // frames.shape[-1])
    parts = [
        image_html(png, f"{alt} ({label})", width=width, pixels=pixels, page=label, hidden=n > 0)
        for n, (png, label) in enumerate(zip(pages, labels, strict=True))
    ]
    slider = (
        f'<input type="range" min="0" max="{len(pages) - 1}" value="0" step="1" aria-label="{html.escape(alt)}" '
        f'aria-valuetext="{html.escape(labels[0])}" style="width:min(24em,60%);vertical-align:middle" '
        f'oninput="{_TURN}" onkeydown="event.stopPropagation()">'  # else JupyterLab takes the arrow keys
    )
    label = f'<output style="margin-left:.8em">{html.escape(labels[0])}</output>'
    return Flipbook(f'<div class="flipbook" role="group">{"".join(parts)}<div>{slider}{label}</div></div>')


def prompt_box(
    generator: Callable[..., Any],
    examples: Sequence[str] = EXAMPLES,
    never_seen: Sequence[str] = NEVER_SEEN,
    *,
    n: int = 4,
) -> Any:
    """A box to type a prompt into, with examples, seed, steps and guidance; it draws `n` pictures.

    The Enter key, the button, an example or a slider that comes to rest draws. Steps and guidance begin at the generator's own.
    `generator(prompts, *, steps, guidance, seed, n)` returns an object with `images` (N, 3, H, W) in [0, 1], `seconds`,
    `evaluations` and `warnings`, which stand under the box, as does what goes wrong, in one line and never as a traceback.
    never_seen: further examples, whose buttons are labelled as what training never showed together.
    Returns a widget; it needs a running kernel. Raises CourseError if ipywidgets is missing.
    """
    w = need("lab", "ipywidgets")
    wide = w.Layout(width="98%")
    text = w.Text(value=examples[0] if examples else "", placeholder="type a prompt, English or Chinese", layout=wide)
    text.continuous_update = False  # report a prompt when it is finished, not at each key
    button = lambda prompt: w.Button(description=prompt, tooltip=prompt, layout=w.Layout(width="auto"))  # noqa: E731
    row = [button(prompt) for prompt in examples]
    if never_seen:
        row += [w.HTML("never seen together in training, try it:"), *map(button, never_seen)]
    steps, guidance = getattr(generator, "steps", 16), getattr(generator, "guidance", 2.0)
    settings = {
        "seed": w.IntSlider(0, 0, 99, description="seed"),
        "steps": w.IntSlider(steps, 1, 50, description="steps"),
        "guidance": w.FloatSlider(guidance, min=0, max=8, step=0.5, description="guidance"),
    }
    go = w.Button(description="Draw", button_style="primary", icon="paint-brush")
    picture, words = w.HTML(), w.HTML()
    drawn: list[Any] = []  # the request of the last picture; the same request would draw the same picture

    def draw(_: Any = None) -> None:
        request = {"prompts": text.value, "n": n, **{name: slider.value for name, slider in settings.items()}}
        if drawn == [request]:
            return
        words.value, go.disabled = "drawing …", True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pictures = generator(request.pop("prompts"), **request)
            picture.value = _sheet(pictures.images, f"{len(pictures.images)} pictures drawn for: {text.value}")
            words.value = _report(pictures)
            drawn[:] = [{"prompts": text.value, **request}]
        except CourseError as error:
            picture.value, words.value, drawn[:] = "", line_html(str(error), WRONG), []
        except Exception as error:
            picture.value, words.value, drawn[:] = "", line_html(f"{type(error).__name__}: {error}", WRONG), []
        finally:
            go.disabled = False

    def choose(button: Any) -> None:
        text.value = button.description  # a new value draws
        draw()

    go.on_click(draw)
    text.observe(draw, "value")
    moved = debounced(draw)
    for slider in settings.values():
        slider.observe(moved, "value")
    for part in row:
        if isinstance(part, w.Button):
            part.on_click(choose)
    draw()
    wrap = w.Layout(flex_flow="row wrap")
    return w.VBox([text, w.Box(row, layout=wrap), w.Box([*settings.values(), go], layout=wrap), words, picture])


def explore(
    draw: Callable[..., Any], ranges: Mapping[str, tuple[float, float]], alt: str, *, width: int = 256, steps: int = 60
) -> Any:
    """Sliders that move through what a model can draw; the picture follows them.

    Args:
        draw: called with one number for each slider, by name; returns pictures (N, C, H, W) in [0, 1].
        ranges: for each slider's name the lowest and the highest value; they start in the middle.
        alt: what the picture shows, for readers who do not see it; the sliders' values are added.
        width: screen pixels of each picture. steps: how many steps a slider has.

    Returns a widget; it needs a running kernel, so put a `flipbook` beside it. Raises CourseError if ipywidgets is missing,
    a range is empty or `alt` is.
    """
    w = need("lab", "ipywidgets")
    if not alt.strip() or not ranges or any(low >= high for low, high in ranges.values()):
        raise CourseError("explore needs an alt text, and at least one slider whose lowest value is below its highest.")
    sliders = {
        name: w.FloatSlider((low + high) / 2, min=low, max=high, step=(high - low) / steps, description=name)
        for name, (low, high) in ranges.items()
    }
    picture = w.HTML()

    def turn(_: Any = None) -> None:
        values = {name: slider.value for name, slider in sliders.items()}
        said = ", ".join(f"{name} = {value:.2f}" for name, value in values.items())
        pages = [image_html(to_png(image), f"{alt} ({said})", width=width, pixels=True) for image in draw(**values)]
        picture.value = "".join(pages)

    moved = debounced(turn)
    for slider in sliders.values():
        slider.observe(moved, "value")
    turn()
    return w.VBox([w.Box(list(sliders.values()), layout=w.Layout(flex_flow="row wrap")), picture])


def debounced(act: Callable[[], Any]) -> Callable[[Any], None]:
    """A handler of changes that calls `act` once, when for DEBOUNCE seconds none has come; at once where no event loop runs."""
    waiting: list[asyncio.TimerHandle] = []

    def changed(_: Any) -> None:
        while waiting:
            waiting.pop().cancel()
        try:
            waiting.append(asyncio.get_running_loop().call_later(DEBOUNCE, act))
        except RuntimeError:  # no loop, so nothing to wait with
            act()

    return changed


def _report(pictures: Any) -> str:
    """What a drawing took, and the generator's warnings."""
    lines = [
        line_html(
            f"{len(pictures.images)} pictures in {pictures.seconds:.1f} s, {pictures.evaluations} evaluations", RIGHT
        )
    ]
    return "".join([*lines, *(line_html(warning, WRONG) for warning in pictures.warnings)])


def line_html(text: str, colour: str) -> str:
    """A text as one line of HTML in a colour."""
    return f'<div style="color:{colour}">{html.escape(" ".join(text.split()))}</div>'


def _sheet(images: Any, alt: str) -> str:
    """Pictures side by side as HTML, each at four times its size."""
    one = images.shape[-1]
    return "".join(image_html(to_png(image), alt, width=one * max(1, 128 // one), pixels=True) for image in images)


def image_html(
    png: bytes, alt: str, *, width: int | None, pixels: bool, page: str | None = None, hidden: bool = False
) -> str:
    """An HTML picture that carries its own data; `page` makes it one of a flipbook's."""
    style = (
        "margin:2px;max-width:100%;"
        + ("image-rendering:pixelated;" if pixels else "")
        + ("display:none" if hidden else "")
    )
    attributes = f'alt="{html.escape(alt)}" style="{style}"'
    attributes += f' width="{width}"' if width else ""
    attributes += f' class="flipbook-page" data-label="{html.escape(page)}"' if page is not None else ""
    return f'<img {attributes} src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _png(frame: Figure | bytes) -> bytes:
    if isinstance(frame, bytes):
        return frame
    memory = io.BytesIO()
    frame.savefig(memory, format="png")
    return memory.getvalue()
