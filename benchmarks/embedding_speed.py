"""How fast are texts embedded on a CPU? jaxssl beside sentence-transformers, with the same folder, in turns.

    python -m benchmarks.embedding_speed FOLDER --sentences sentences.tsv --column sentence1 --text novel.txt

FOLDER is that of a `SentenceTransformer`, such as all-MiniLM-L6-v2. Two sets of texts: the sentences, and
pieces of running text of mixed lengths, whose numbers of words are spread evenly on a logarithmic scale from
1 to 200. Both sides sort by length; sentence-transformers pads batches, jaxssl packs several texts into a
row. Each side is a process of its own and embeds everything once before the clock starts (jaxssl compiles
then). The median of the ratios of neighbouring turns is printed, and how far the vectors differ.
"""

import argparse
import importlib.metadata
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.turns import Side
from jaxssl.data.labelled.text_lists import read_lines, read_texts

LONGEST = 200  # words of a piece of running text
Embed = Callable[[Sequence[str]], np.ndarray]


def make_ours(folder: str) -> Embed:
    from jaxssl.pretrained.texts import load_embedder

    return load_embedder(f"hf:{folder}")


def make_theirs(folder: str) -> Embed:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu").encode


def pieces(path: Path, count: int) -> list[str]:
    """Runs of words of a text, one behind the other."""
    words = " ".join(read_lines(path)).split()
    random = np.random.default_rng(0)
    sizes = np.exp(random.uniform(0, np.log(LONGEST + 1), count)).astype(int)
    ends = np.cumsum(sizes) % (len(words) - LONGEST)
    return [" ".join(words[end : end + size]) for end, size in zip(ends, sizes, strict=True)]


def compare(name: str, ours: Side, theirs: Side, texts: list[str], turns: int) -> None:
    first, second = ours.turn(texts), theirs.turn(texts)
    difference = float(np.abs(first.answer - second.answer).max())
    pairs = [(ours.turn(texts).seconds, theirs.turn(texts).seconds) for _ in range(turns)]
    ratios = [their / our for our, their in pairs]
    our, their = (len(texts) / statistics.median(side) for side in zip(*pairs, strict=True))
    print(
        f"{name:>14}: {our:7.1f} texts/s, sentence-transformers {their:7.1f}; "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {turns} turns); "
        f"first turn {first.seconds:.1f} s and {second.seconds:.1f} s; vectors differ by {difference:.0e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--sentences", required=True, metavar="FILE")
    parser.add_argument("--column", metavar="NAME")
    parser.add_argument("--text", required=True, type=Path, metavar="FILE")
    parser.add_argument("--texts", type=int, default=1000, help="of each kind")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    packages = ("jax", "torch", "transformers", "sentence-transformers")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages))
    kinds = {
        "sentences": read_texts(options.sentences, options.column).texts[: options.texts],
        "mixed lengths": pieces(options.text, options.texts),
    }
    with (
        Side("ours", make_ours, options.folder) as ours,
        Side("theirs", make_theirs, options.folder) as theirs,
    ):
        for name, texts in kinds.items():
            compare(name, ours, theirs, texts, options.turns)


if __name__ == "__main__":
    main()
