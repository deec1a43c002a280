"""Finds the texts of a corpus that are most similar to a query: by the cosine of their vectors, exactly.

embed = load_embedder("runs/simcse_novels")
index = build_index(embed, corpus)                       # or open_index(embed, corpus, "corpus.index")
index.search(["two dogs run"], count=3)                  # [[Match(position=17, score=0.83), …]]
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.pretrained.texts import Embedder

BLOCK = 65_536  # vectors of the corpus that are compared with queries at a time
QUERIES = 64  # queries at a time
KIND, VERSION = "jaxssl search index", "1"


class Match(NamedTuple):
    """A text of the corpus that is similar to a query."""

    position: int
    """Position of the text in the corpus, counted from 0."""
    score: float
    """Cosine similarity to the query."""


@dataclass(frozen=True)
class SearchIndex:
    """The vectors of a corpus, with what embeds the queries."""

    embed: Embedder
    """What has embedded the corpus."""
    units: Float[np.ndarray, "texts width"]
    """Vector of each text of the corpus, divided by its Euclidean length."""

    def search(self, queries: Sequence[str], count: int = 5) -> list[list[Match]]:
        """Finds the most similar texts for each query.

        Args:
          queries: The queries.
          count: Largest number of texts for each query.

        Returns:
          For each query, the texts with the highest cosine similarity, best first; of equal ones, the first
          one in the corpus.

        Raises:
          InputError: `queries` is a single string, or `count` is below 1.
        """
        ids, scores = nearest(self.units, as_units(self.embed(queries)), count)
        return [
            [Match(int(i), float(score)) for i, score in zip(*pair, strict=True)]
            for pair in zip(ids, scores, strict=True)
        ]


def build_index(
    embed: Embedder, texts: Sequence[str], progress: TextProgress | None = None
) -> SearchIndex:
    """Embeds a corpus.

    Args:
      embed: What embeds the corpus and the queries.
      texts: Texts of the corpus.
      progress: Shows how far the work is; None shows nothing.
    """
    return SearchIndex(embed, as_units(embed(texts, progress)))


def open_index(
    embed: Embedder,
    texts: Sequence[str],
    path: str | Path,
    progress: TextProgress | None = None,
) -> SearchIndex:
    """Opens the vectors of a corpus that a file holds, and computes them where they are missing or stale.

    The file names the hashes of the texts and of the network. If one of them has changed, the vectors are
    computed again and the file is replaced.

    Args:
      embed: What embeds the corpus and the queries.
      texts: Texts of the corpus.
      path: The file; it need not exist.
      progress: Shows how far the work is; None shows nothing.

    Raises:
      InputError: There is another file at `path`, which is not an index.
    """
    path = Path(path)
    wanted = {
        "kind": KIND,
        "version": VERSION,
        "network": embed.fingerprint,
        "texts": _hash_of(texts),
    }
    found = _read(path, wanted)
    if found is not None:
        return SearchIndex(embed, found)
    index = build_index(embed, texts, progress)
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file({"units": index.units}, new, metadata=wanted)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return index


def check_index_file(path: str | Path) -> None:
    """Raises InputError if the file at `path` exists and is not an index, so that it must not be replaced."""
    path = Path(path)
    if path.exists() and _metadata(path).get("kind") != KIND:
        raise InputError(f"{path} exists and is no search index; name another file")


def nearest(
    corpus: Float[np.ndarray, "texts width"],
    queries: Float[np.ndarray, "queries width"],
    count: int,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Finds the largest products of queries with the vectors of a corpus, block by block and exactly.

    Args:
      corpus: Vectors of the corpus, `[texts, width]`.
      queries: Vectors of the queries, `[queries, width]`.
      count: Largest number of results for each query.

    Returns:
      For each query, positions in the corpus in the order of falling products, equal ones in their order in
      the corpus; and for each query these products.

    Raises:
      InputError: `count` is below 1.
    """
    if count < 1:
        raise InputError(f"count={count} must be at least 1")
    ids = [np.zeros(0, np.int64) for _ in queries]
    scores = [np.zeros(0, np.float32) for _ in queries]
    for first in range(0, len(corpus), BLOCK):
        block = corpus[first : first + BLOCK]
        for begin in range(0, len(queries), QUERIES):
            products = queries[begin : begin + QUERIES] @ block.T
            for query, row in enumerate(products, begin):
                best = _largest(row, count)
                both = np.concatenate([ids[query], best + first])
                values = np.concatenate([scores[query], row[best]])
                order = np.argsort(-values, kind="stable")[:count]
                ids[query], scores[query] = both[order], values[order]
    return ids, scores


def as_units(vectors: Float[np.ndarray, "texts width"]) -> Float[np.ndarray, "texts width"]:
    """Divides each of the `vectors` `[texts, width]` by its Euclidean length; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return units


def _largest(row: Float[np.ndarray, " texts"], count: int) -> np.ndarray:
    """Positions of the `count` largest numbers, largest first, equal ones in their order."""
    if count >= len(row):
        candidates = np.arange(len(row))
    else:
        least = np.partition(row, len(row) - count)[len(row) - count]
        candidates = np.flatnonzero(row >= least)
    return candidates[np.argsort(-row[candidates], kind="stable")[:count]]


def _hash_of(texts: Sequence[str]) -> str:
    """SHA-256 of texts, in hexadecimal."""
    total = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        total.update(b"%d:" % len(data) + data)
    return total.hexdigest()


def _read(path: Path, wanted: dict[str, str]) -> np.ndarray | None:
    """The vectors of an index that has the wanted hashes; None if there is none."""
    if not path.exists():
        return None
    check_index_file(path)
    if _metadata(path) != wanted:
        return None
    with safe_open(path, framework="numpy") as file:
        units: np.ndarray = file.get_tensor("units")
    return units


def _metadata(path: Path) -> dict[str, str]:
    """What the header of a file says; empty for one of another format."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}
