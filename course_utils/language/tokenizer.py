"""The byte-pair tokenizer of the generators: any text in any language becomes a short row of integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

PAD, EMPTY = 0, 1  # fills up short rows; stands for "no caption" and is what a dropped caption is replaced by


class Tokenizer:
    """Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2), by the `tokenizers` library.

    Any text can be encoded: what no merge covers stays bytes. The empty text is the one token EMPTY.
    """

    def __init__(self, json: str):
        from tokenizers import Tokenizer as Library

        self.library = Library.from_str(json)
        self.library.encode_special_tokens = True  # who types "<pad>" means these five signs

    @classmethod
    def train(cls, captions: Iterable[str], size: int = 768) -> Tokenizer:
        """Learns `size` tokens (2 special ones, 256 bytes, the rest merges) from captions; deterministic."""
        from tokenizers import Tokenizer as Library
        from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

        library = Library(models.BPE())
        library.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        library.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=["<pad>", "<empty>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        library.train_from_iterator(captions, trainer)
        return cls(library.to_str())

    @property
    def json(self) -> str:
        """Everything the tokenizer knows, as the library's JSON."""
        return self.library.to_str()

    def __len__(self) -> int:
        return self.library.get_vocab_size()

    def encode(self, caption: str) -> list[int]:
        """Token numbers of one caption."""
        return self.library.encode(caption.strip()).ids if caption.strip() else [EMPTY]

    def decode(self, tokens: Sequence[int]) -> str:
        """The caption behind these tokens, in lower case."""
        return self.library.decode([t for t in tokens if t not in (PAD, EMPTY)]).strip()

    def batch(self, captions: Sequence[str], longest: int) -> Tensor:
        """Tokens (B, T) of captions, filled up with PAD to the longest of them; what goes beyond `longest` is cut off."""
        texts = [caption.strip() for caption in captions]
        rows = [found.ids[:longest] or [EMPTY] for found in self.library.encode_batch(texts)]
        width = max(map(len, rows))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
