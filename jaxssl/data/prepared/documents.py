"""The file beside each shard that names its documents, and says which of them each row contains.

The documents of all rows are one array, and `offsets` says where each row's part of it begins and ends
(compressed sparse rows). For a shard of images every row has one "document", the image's name.
"""

from pathlib import Path

import numpy as np


def read_documents(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads the documents of a shard from the file `path`.

    Returns:
      names: Names of the documents of the shard.
      offsets: int64 `[rows + 1]`; row r contains pieces of `documents[offsets[r]:offsets[r + 1]]`.
      documents: Positions in `names`, int32 `[pieces]`.
    """
    with np.load(path) as stored:
        names = stored["names"].tobytes().decode("utf-8", "surrogatepass").split("\0")
        return names, stored["offsets"], stored["documents"]


def write_documents(
    path: Path, names: list[str], offsets: np.ndarray, documents: np.ndarray
) -> None:
    """Writes the documents of a shard. The bytes of the file depend on nothing but the arguments.

    Args:
      path: File to write, an npz archive.
      names: Names of the documents of the shard.
      offsets: Where each row's part of `documents` begins and ends, `[rows + 1]`.
      documents: Positions in `names` of the documents in the rows, `[pieces]`.
    """
    joined = "\0".join(names).encode("utf-8", "surrogatepass")
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            names=np.frombuffer(joined, np.uint8),
            offsets=offsets.astype(np.int64),
            documents=documents.astype(np.int32),
        )
