"""Embeds the texts of a file, and writes the vectors with or without the texts beside them.

found = embed_file("runs/simcse_novels", "sentences.csv", column="sentence")
found.save("sentences.parquet")             # columns id, text, vector
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxssl.data.labelled.text_lists import read_texts
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.pretrained.texts import load_embedder

SUFFIXES = (".npy", ".parquet", ".csv")
ROW_GROUP = 65_536  # rows of a parquet file that are compressed together


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts with their vectors."""

    ids: list[str]
    """What identifies each text."""
    texts: list[str]
    """The texts."""
    vectors: Float[np.ndarray, "texts width"]
    """Vector of each text, float32 `[texts, width]`."""

    def save(self, path: str | Path, suffix: str | None = None) -> None:
        """Writes the vectors: as a numpy array, or as a table with the columns id, text and vector.

        A .parquet file has the vector of a text as a list of a fixed size, a .csv file has a column for each
        number, `v0`, `v1`, and so on.

        Args:
          path: The file.
          suffix: ".npy", ".parquet" or ".csv"; None takes that of `path`.

        Raises:
          InputError: The suffix is another one.
        """
        path = Path(path)
        match check_suffix(path) if suffix is None else suffix:
            case ".parquet":
                self._save_parquet(path)
            case ".csv":
                self._save_csv(path)
            case _:
                with path.open(
                    "wb"
                ) as file:  # given a name and no file, numpy would add .npy to it
                    np.save(file, self.vectors)

    def _save_parquet(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        flat = pyarrow.array(self.vectors.reshape(-1))
        vectors = pyarrow.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1])
        table = pyarrow.table({"id": self.ids, "text": self.texts, "vector": vectors})
        pyarrow.parquet.write_table(table, path, row_group_size=ROW_GROUP, compression="zstd")

    def _save_csv(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", *(f"v{i}" for i in range(self.vectors.shape[1]))])
            for id, text, vector in zip(self.ids, self.texts, self.vectors, strict=True):
                # A float32 is printed in as few digits as tell it from all others.
                writer.writerow([id, text, *map(str, vector)])


def embed_file(
    run: str | Path,
    path: str | Path,
    *,
    column: str | None = None,
    id_column: str | None = None,
    pooling: Any = None,
    progress: TextProgress | None = None,
    **settings: Any,
) -> EmbeddedTexts:
    """Embeds every text of a file with the network of a run or of a Hugging Face folder.

    Args:
      run: Folder of a pretraining run, its URL, or `hf:FOLDER`.
      path: Text file with one text a line; or a .tsv, .csv, .jsonl or .parquet file.
      column: Column with the texts; None means "text".
      id_column: Column that identifies each text; None numbers them from 0.
      pooling: As `load_embedder` takes it.
      progress: Shows how far the work is; None shows nothing.
      settings: Other fields of `Embedder`, such as `normalized`.

    Raises:
      InputError: The file or the run cannot be read, or the run has no network for texts.
    """
    given = read_texts(path, column, id_column)
    embed = load_embedder(run, pooling, **settings)
    return EmbeddedTexts(given.ids, given.texts, embed(given.texts, progress))


def check_suffix(path: str | Path) -> str:
    """Returns the suffix of a file to write vectors to, which decides its format; .npy where it has none.

    Args:
      path: The file.

    Raises:
      InputError: It is not one of `SUFFIXES`.
    """
    suffix = Path(path).suffix.lower() or ".npy"
    if suffix not in SUFFIXES:
        raise InputError(f"{path} ends in {suffix}; name a file that ends in {', '.join(SUFFIXES)}")
    return suffix
