"""Do embeddings order pairs of sentences as people do? Spearman on SICK; no label is learned from.

    python -m benchmarks.sentence_similarity runs/simcse_novels runs/novels_encoder hf:all-MiniLM-L6-v2

Cosine of the two sentences' embeddings against the mean of ten people's scores (Marelli et al. 2014), in the
setting "all" of Gao et al. 2021. Lines to compare with: the encoder of each run pooled by the mean and by the
begin token, the mean of its token embeddings, and the share of words that two sentences have in common.
"""

import argparse
import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxssl.models.layers.pooling import Pooling
from jaxssl.pretrained.texts import Embedder, cosines, load_embedder
from jaxssl.tasks.scores import spearman

POOLINGS: tuple[Pooling, ...] = ("mean", "cls")


def read_pairs(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """First and second sentences, and their relatedness from 1 to 5."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    scores = np.array([float(row["relatedness"]) for row in rows])
    return [row["sentence1"] for row in rows], [row["sentence2"] for row in rows], scores


def mean_of_tokens(embedder: Embedder, texts: list[str]) -> np.ndarray:
    """The mean of the input embeddings of a text's tokens."""
    table = np.asarray(embedder.network.tokens.embedding[...])
    return np.stack([table[ids].mean(axis=0) for ids in embedder.tokenizer.encode(texts)])


def common_words(first: list[str], second: list[str]) -> np.ndarray:
    """Words in both sentences, as a share of those in either."""
    pairs = (
        (set(a.lower().split()), set(b.lower().split())) for a, b in zip(first, second, strict=True)
    )
    return np.array([len(a & b) / len(a | b) for a, b in pairs])


def lines(
    runs: list[str], pairs: tuple[list[str], list[str], np.ndarray]
) -> Iterator[tuple[str, float]]:
    first, second, scores = pairs
    yield "words in common", spearman(common_words(first, second), scores)
    for run in runs:
        trained = load_embedder(run)
        both = mean_of_tokens(trained, first), mean_of_tokens(trained, second)
        yield f"{run}: mean of token embeddings", spearman(cosines(*both), scores)
        for pooling in POOLINGS:
            embed = dataclasses.replace(trained, pooling=pooling)
            found = spearman(cosines(embed(first), embed(second)), scores)
            mark = " (as trained)" if pooling == trained.pooling else ""
            yield f"{run}: {pooling}{mark}", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, or hf:FOLDER")
    parser.add_argument("--pairs", default="sick/test.tsv", metavar="FILE.tsv")
    options = parser.parse_args()
    pairs = read_pairs(Path(options.pairs))
    print(f"{len(pairs[2]):,} pairs of {options.pairs}; Spearman x 100")
    for name, value in lines(options.runs, pairs):
        print(f"{100 * value:6.1f}  {name}", flush=True)


if __name__ == "__main__":
    main()
