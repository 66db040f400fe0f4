"""What the text encoder is asked while it learns to read, and how its answers are held against captions."""

from itertools import permutations

import torch
from torch import Tensor, nn

from course_utils.language.text_encoder import TextEncoderConfig
from course_utils.models.reader import Reader, ReaderConfig, reading_loss
from course_utils.worlds.captions import caption, parse, training_caption
from course_utils.worlds.questions import EDGES, SIDES, THING, THINGS, WHOLE, answers
from course_utils.worlds.scenes import RELATIONS, SHAPES, scenes

SIZES = Reader(ReaderConfig(text=TextEncoderConfig(width=8, heads=1))).sizes
THING_1, THING_2 = (slice(len(WHOLE) + i * len(THING), len(WHOLE) + (i + 1) * len(THING)) for i in (0, 1))


class Sure(nn.Module):
    """Gives these answers with near certainty."""

    def __init__(self, given: Tensor):
        super().__init__()
        self.config = ReaderConfig()
        self.given = given

    def forward(self, tokens: Tensor) -> list[Tensor]:
        return [20.0 * nn.functional.one_hot(self.given[:, i].clamp_min(0), n) for i, n in enumerate(SIZES)]


def held(given: Tensor, asked: Tensor) -> tuple[float, float]:
    """Loss and share of captions read right."""
    loss, details = reading_loss(Sure(given), {"tokens": given, "answers": asked})
    return loss.item(), details["right"].item()


def asked(*captions: str) -> Tensor:
    return torch.tensor([answers(parse(text)) for text in captions])


def swapped(given: Tensor) -> Tensor:
    out = given.clone()
    out[:, THING_1], out[:, THING_2] = given[:, THING_2], given[:, THING_1]
    return out


def test_answers_say_what_the_caption_says() -> None:
    found = answers(parse("a small red circle above a blue square"))
    circle, square, nothing_said = [0, 3, 0, 0], [2, 3, 5, 1], [2, 3, 8, 8]
    assert found == [1, 1, 9, 5, *circle, *square, *4 * [-1], *nothing_said, *nothing_said, *circle, *square]
    assert len(found) == len(SIZES) == len(WHOLE) + (THINGS + len(EDGES)) * len(THING)


def test_the_config_counts_the_questions() -> None:
    config = ReaderConfig()
    assert config.whole == tuple(map(len, WHOLE.values())) and config.thing == tuple(map(len, THING.values()))
    assert config.things == THINGS and config.edges == len(EDGES) and SIDES[: len(RELATIONS)] == RELATIONS


def test_what_stands_at_the_edges_is_known_where_the_caption_says_it() -> None:
    def at(text: str) -> dict[str, str]:
        found = answers(parse(text))[len(WHOLE) + THINGS * len(THING) :]
        rows = [found[i : i + len(THING)] for i in range(0, len(found), len(THING))]
        shapes = [SHAPES[row[-1]] if row[-1] < len(SHAPES) else "any" for row in rows]
        return {edge: shape for edge, shape in zip(EDGES, shapes, strict=True) if shape != "any"}

    assert at("a star left of a moon") == {"left": "star", "right": "moon"} == at("a moon right of a star")
    assert at("a star below a moon") == {"top": "moon", "bottom": "star"} == at("星星在月亮的下面")
    assert at("a star at the top left") == {"left": "star", "top": "star"}
    assert at("a star in the centre") == at("a star and a moon") == at("a star, a moon and a heart") == {}
    assert answers(parse("a red star at the top"))[-8:-4] == [2, 3, 0, SHAPES.index("star")]  # size and fill: any


def test_every_training_caption_has_answers_within_the_logits() -> None:
    for i, scene in enumerate(scenes(9, 0, 300).scenes):
        found = answers(parse(training_caption(scene, i)))
        assert all(-1 <= value < size for value, size in zip(found, SIZES, strict=True))
    assert all(answers(parse(caption(scene)))[1] == len(scene.things) - 1 for scene in scenes(9, 0, 50).scenes)


def test_right_answers_cost_nothing_and_wrong_ones_do() -> None:
    right = asked("a small red circle above a blue square", "a red star", "three red stars", "a red star and a moon")
    loss, share = held(right, right)
    assert loss < 1e-5 and share == 1
    for question in range(len(SIZES)):
        wrong = right.clone()
        wrong[:1, question] = torch.where(right[:1, question] >= 0, (right[:1, question] + 1) % SIZES[question], -1)
        loss, share = held(wrong, right)
        nothing_asked = right[0, question] < 0
        assert (share, loss > 4) == ((1, False) if nothing_asked else (0.75, True)), question


def test_things_without_a_relation_may_be_told_in_any_order() -> None:
    right = asked("a red star, a blue moon and a green cross")
    for order in permutations(range(THINGS)):
        whole, things, edges = right.split((len(WHOLE), 12, 16), 1)
        told = torch.cat([whole, things.view(1, 3, 4)[:, list(order)].flatten(1), edges], 1)
        assert held(told, right)[1] == 1
    mixed = right.clone()
    mixed[:, THING_1.start + 2], mixed[:, THING_2.start + 2] = (right[:, s.start + 2] for s in (THING_2, THING_1))
    assert held(mixed, right)[1] == 0  # the colours at the wrong shapes


def test_swapped_things_need_the_relation_turned_round() -> None:
    right = asked("a small red circle above a blue square", "a red circle left of a blue square")
    told = swapped(right)
    assert held(told, right)[1] == 0
    told[:, 0] = torch.tensor([SIDES.index("below"), SIDES.index("right of")])
    loss, share = held(told, right)
    assert share == 1 and loss < 1e-5
    assert asked("a blue square below a small red circle").tolist() == right[:1].tolist()


def test_a_small_reader_learns_to_bind_colours_to_shapes() -> None:
    torch.manual_seed(0)
    words = {"red": 2, "blue": 3, "star": 4, "moon": 5, "a": 6, "and": 7}
    texts = [f"a {c} {s} and a {d} {t}" for c in ("red", "blue") for s in ("star", "moon")
             for d in ("red", "blue") for t in ("star", "moon")]  # fmt: skip
    tokens = torch.tensor([[words[word] for word in text.split()] for text in texts])
    model = Reader(
        ReaderConfig(text=TextEncoderConfig(vocabulary=8, longest=8, registers=2, width=32, depth=2, heads=2))
    )
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    batch = {"tokens": tokens, "answers": asked(*texts)}
    before = reading_loss(model, batch)[1]["right"]
    for _ in range(150):
        loss, details = reading_loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert before < 0.2 and details["right"] == 1
