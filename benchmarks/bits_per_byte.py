"""What do counting and compressing reach on the text that a model is evaluated on?

    python -m benchmarks.bits_per_byte train.txt.xz valid.txt.xz --tokenizer prepared/novels/tokenizer

Prints bits per byte of the held-out text under a unigram and a 5-gram model of the same tokens as the
networks read (interpolated Kneser-Ney with three discounts an order; Chen & Goodman 1999, section 3),
and under `xz -9e`. Documents are separated by blank lines.
"""

import argparse
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxssl.data.sources.texts import source_from_path
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer


class Stream(NamedTuple):
    """All documents, each `begin` tokens `end`, one after another."""

    tokens: np.ndarray
    is_predicted: np.ndarray  # all but `begin`


class Order(NamedTuple):
    """The n-grams of one order, by rank: key = rank of its first n - 1 tokens * vocabulary + last."""

    keys: np.ndarray
    counts: np.ndarray  # how often; below the highest order: how many different tokens come before
    context_totals: np.ndarray  # by rank of the context
    left_mass: np.ndarray  # what the discounts leave to the lower order, by rank of the context
    discounts: np.ndarray  # of counts 1, 2, 3 and more


@dataclass(frozen=True)
class KneserNey:
    """p_n(w | context) = max(c - D(c), 0) / C + left(context) / C * p_{n-1}(w | shorter context)."""

    vocab_size: int
    orders: tuple[Order, ...]

    @classmethod
    def count(cls, tokens: np.ndarray, vocab_size: int, highest: int) -> "KneserNey":
        ranks, keys_by_order, firsts = [np.zeros(len(tokens), np.int64)], [], []
        for _ in range(highest):
            before = np.concatenate([[0], ranks[-1][:-1]])
            keys, first, rank = np.unique(
                before * vocab_size + tokens, return_index=True, return_inverse=True
            )
            ranks.append(rank)
            keys_by_order.append(keys)
            firsts.append(first)
        counts = [np.bincount(ranks[-1]).astype(float)]
        for order in range(highest - 1, 0, -1):  # a longer n-gram once for each token before it
            suffix = ranks[order][firsts[order]]
            counts.insert(0, np.bincount(suffix, minlength=len(keys_by_order[order - 1])))
        orders = [
            _discounted(keys, number.astype(float), vocab_size)
            for keys, number in zip(keys_by_order, counts, strict=True)
        ]
        return cls(vocab_size, tuple(orders))

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Of every token of a stream, given those before it."""
        found = np.full(len(tokens), 1.0 / self.vocab_size)
        rank = np.zeros(len(tokens), np.int64)  # of the (n - 1)-gram that ends here; -1: never seen
        for order in self.orders:
            context = np.concatenate([[0], rank[:-1]])
            key = context * self.vocab_size + tokens
            place = np.minimum(np.searchsorted(order.keys, key), len(order.keys) - 1)
            rank = np.where((context >= 0) & (order.keys[place] == key), place, -1)
            count = np.where(rank >= 0, order.counts[rank], 0.0)
            kind = np.clip(count.astype(int), 1, 3) - 1
            total = np.where(context >= 0, order.context_totals[context], 0.0)
            kept = np.maximum(count - order.discounts[kind], 0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                mixed = (kept + order.left_mass[context] * found) / total
            found = np.where(total > 0, mixed, found)
        return found


def _discounted(keys: np.ndarray, counts: np.ndarray, vocab_size: int) -> Order:
    number = [float((counts == i).sum()) for i in range(1, 5)]
    ratio = number[0] / (number[0] + 2 * number[1])
    discounts = np.array(
        [i - (i + 1) * ratio * number[i] / max(number[i - 1], 1.0) for i in (1, 2, 3)]
    )
    context = keys // vocab_size
    size = int(context.max()) + 1
    totals = np.bincount(context, counts, size)
    given_up = np.minimum(discounts[np.clip(counts.astype(int), 1, 3) - 1], counts)
    return Order(keys, counts, totals, np.bincount(context, given_up, size), discounts)


def read_stream(path: str, tokenizer: Tokenizer) -> Stream:
    documents = source_from_path(path, documents="blank_line").documents()
    parts = []
    for document in documents:
        (tokens,) = tokenizer.encode([document.text])
        parts.append(np.concatenate([[tokenizer.begin], tokens, [tokenizer.end]]))
    stream = np.concatenate(parts).astype(np.int64)
    return Stream(stream, stream != tokenizer.begin)


def check_normalised(model: KneserNey, tokens: np.ndarray) -> None:
    """The probabilities of all next tokens add up to one, behind places of the stream."""
    for place in range(10, len(tokens), len(tokens) // 5):
        behind = np.tile(tokens[place - 5 : place], (model.vocab_size, 1))
        every = np.concatenate([behind, np.arange(model.vocab_size)[:, None]], axis=1)
        found = model.probabilities(every.ravel()).reshape(every.shape)[:, -1]
        np.testing.assert_allclose(found.sum(), 1.0, atol=1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("--tokenizer", required=True)
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(arguments.tokenizer)
    train, valid = (read_stream(path, tokenizer) for path in (arguments.train, arguments.valid))
    size = int(tokenizer.byte_length[valid.tokens].sum())
    print(
        f"{len(train.tokens):,} tokens counted; held out: {len(valid.tokens):,} of {size:,} bytes"
    )
    for highest in (1, 2, 3, 5):
        model = KneserNey.count(train.tokens, tokenizer.vocab_size, highest)
        check_normalised(model, valid.tokens)
        found = model.probabilities(valid.tokens)[valid.is_predicted]
        print(f"{highest}-gram  {-np.log2(found).sum() / size:.3f} bits per byte", flush=True)
    text = Path(arguments.valid).read_bytes()
    text = lzma.decompress(text) if arguments.valid.endswith(".xz") else text
    packed = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
    print(f"xz -9e  {8 * len(packed) / len(text):.3f} bits per byte of the file as it is")


if __name__ == "__main__":
    main()
