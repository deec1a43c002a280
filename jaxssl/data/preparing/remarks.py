"""What is worth knowing of a set of text that was just prepared: unknown tokens, the held-out share."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.prepared.manifest import Manifest
from jaxssl.data.prepared.shards import RowFiles
from jaxssl.data.preparing.held_out import HeldOut
from jaxssl.data.stores.shard_cache import shard_cache

ROWS = 4096  # rows of the training split in which unknown tokens are counted
TOO_UNKNOWN = 0.005  # share of unknown tokens that deserves a warning
FAR = (
    1.5  # a held-out share that is so many times the request, or the request it, deserves a warning
)


def remarks_on(manifest: Manifest, folder: Path, share: Any, held_out: HeldOut | None) -> list[str]:
    """Describes what is worth knowing of a prepared set; warnings begin with "warning: ".

    Args:
      manifest: Manifest of the set.
      folder: Its local folder.
      share: Fraction of the text that was to be held out; anything else if it is a source of its own.
      held_out: What is held out; None if it is a source of its own.
    """
    remarks = [_unknown(unknown_share(manifest, folder))]
    tokens = {split: manifest.total(split, "tokens") for split in manifest.splits}
    found = tokens["valid"] / max(sum(tokens.values()), 1)
    if isinstance(share, (int, float)) and not share / FAR <= found <= share * FAR:
        remarks.append(
            f"warning: {found:.1%} of the tokens are held out, not {share:.1%}, because single documents are "
            "much longer than others; set valid to another fraction, or to a source of its own"
        )
    if held_out is not None and len(held_out.sections) == 1 and not held_out.whole:
        remarks.append(
            "the text is a single document; if lines or blank lines separate documents, set documents_are "
            "to 'line' or 'blank_line'"
        )
    return remarks


def unknown_share(manifest: Manifest, folder: Path) -> float:
    """Returns the fraction of the text's tokens that are unknown, in up to 4,096 rows of the training split.

    Args:
      manifest: Manifest of the set.
      folder: Its local folder.
    """
    cache = partial(shard_cache, "", 1.0)  # of object stores, and this folder is local
    files = RowFiles([str(folder)], [manifest], "train", cache)
    ids = np.linspace(0, files.rows - 1, min(files.rows, ROWS)).astype(np.int64)
    rows = files.read(ids)
    others = (manifest.pad, manifest.begin, manifest.end)
    return float((rows == manifest.unknown).sum() / max((~np.isin(rows, others)).sum(), 1))


def _unknown(share: float) -> str:
    line = f"{share:.2%} of the tokens are unknown to the tokenizer"
    if share <= TOO_UNKNOWN:
        return line
    return (
        f"warning: {line}; take one that covers the text, or check that its case (lowercase) and its script "
        "are those of the text"
    )
