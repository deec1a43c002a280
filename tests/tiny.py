"""A tiny vocabulary and rows in it, and tiny images, for tests of objectives and of the step."""

from types import SimpleNamespace

import numpy as np

from jaxssl.data.images import ImageSpec

PAD, UNKNOWN, BEGIN, END, MASK, FIRST = 0, 1, 2, 3, 4, 5


def tiny_spec(batch: int = 8, length: int = 32, vocab_size: int = 50) -> SimpleNamespace:
    """Every third token continues a word, every seventh ends a sentence; t stands for 1 + t % 4 bytes."""
    ids = np.arange(vocab_size)
    special = ids < FIRST
    return SimpleNamespace(
        batch=batch,
        length=length,
        vocab_size=vocab_size,
        pad=PAD,
        unknown=UNKNOWN,
        begin=BEGIN,
        end=END,
        mask=MASK,
        special=special,
        starts_word=special | (ids % 3 != 0),
        byte_length=np.where(special, 0, 1 + ids % 4),
        ends_sentence=~special & (ids % 7 == 0),
        frequency=~special / (~special).sum(),
    )


def tiny_rows(
    seed: int = 0, batch: int = 8, length: int = 32, vocab_size: int = 50, sparse: bool = False
) -> np.ndarray:
    """Packed rows: pieces of random sizes, each begin … end, then padding. Sparse rows are uneven."""
    random = np.random.default_rng(seed)
    rows = np.full((batch, length), PAD, np.int32)
    for row in range(batch):
        filled = 0
        limit = length if not sparse else max(4, length * (row + 1) // batch)
        while limit - filled >= 4:
            size = int(random.integers(4, limit - filled + 1))
            text = random.integers(FIRST, vocab_size, size - 2)
            rows[row, filled : filled + size] = [BEGIN, *text, END]
            filled += size
    return rows


def tiny_image_spec(batch: int = 16, size: int = 16) -> ImageSpec:
    return ImageSpec(batch, size, size, 3)


def tiny_images(seed: int = 0, batch: int = 16, size: int = 16) -> np.ndarray:
    """Waves of a direction, frequency and colour of their own, uint8 [batch, size, size, 3]."""
    random = np.random.default_rng(seed)
    down, across, phase = random.uniform(-1, 1, (3, batch, 1, 1, 3))
    place = np.arange(size)
    waves = np.sin(down * place[:, None, None] + across * place[None, :, None] + 6 * phase)
    return (127.5 + 127 * waves * random.uniform(0.3, 1, (batch, 1, 1, 3))).astype(np.uint8)
