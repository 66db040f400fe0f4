"""The byte-pair tokenizer of the generators: any text in any language becomes a short row of integers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from course_utils.language.words import normalise

PAD, EMPTY = 0, 1  # fills up short rows; stands for "no caption" and is what a dropped caption is replaced by
SPECIAL = ["<pad>", "<empty>"]


class Tokenizer:
    """Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2), by the `tokenizers` library.

    It is fully described by its merges, each "left right", in the order in which they were learned: the vocabulary is the two
    special tokens, the 256 bytes, and what each merge makes. Any text can be encoded: what no merge covers stays bytes. A
    text that is empty once it is normalised (words.py) is the one token EMPTY.
    """

    def __init__(self, merges: Sequence[str]):
        from tokenizers import Tokenizer as Library
        from tokenizers import models, pre_tokenizers

        pairs = [(left, right) for left, right in map(str.split, merges)]
        tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
        self.merges = list(merges)
        self.library = dressed(Library(models.BPE({token: i for i, token in enumerate(tokens)}, pairs)))

    @classmethod
    def train(cls, captions: Iterable[str], size: int = 768) -> Tokenizer:
        """Learns `size` tokens (2 special ones, 256 bytes, the rest merges) from captions; deterministic."""
        from tokenizers import Tokenizer as Library
        from tokenizers import models, pre_tokenizers, trainers

        library = dressed(Library(models.BPE()))
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        library.train_from_iterator(map(normalise, captions), trainer)
        return cls([" ".join(pair) for pair in json.loads(library.to_str())["model"]["merges"]])

    def __len__(self) -> int:
        return self.library.get_vocab_size()

    def encode(self, caption: str) -> list[int]:
        """Token numbers of one caption."""
        return self.library.encode(normalise(caption)).ids or [EMPTY]

    def decode(self, tokens: Sequence[int]) -> str:
        """The caption behind these tokens, as it was normalised."""
        return self.library.decode([t for t in tokens if t not in (PAD, EMPTY)]).strip()

    def batch(self, captions: Sequence[str], longest: int, width: int | None = None) -> Tensor:
        """Tokens (B, T) of captions, filled up with PAD to the longest of them, or to `width`; what goes beyond `longest` is cut off."""
        found = self.library.encode_batch([normalise(caption) for caption in captions])
        rows = [row.ids[:longest] or [EMPTY] for row in found]
        width = width or max(map(len, rows))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


def dressed(library: Any) -> Any:
    """The library's tokenizer with what comes before and after its merges: bytes for signs."""
    from tokenizers import AddedToken, decoders, pre_tokenizers

    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    library.encode_special_tokens = True  # who types "<pad>" means these five signs
    return library
