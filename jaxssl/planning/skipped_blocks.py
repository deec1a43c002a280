"""Estimates the share of blocks of scores that the Pallas kernel for attention skips in packed rows."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jaxssl.data.prepared.manifest import is_prepared, read_manifest
from jaxssl.models.transformer_config import TransformerConfig

ROWS = 64  # rows that are made up
SHORTEST = 8  # tokens of the shortest document


def document_length(path: str, given: int | None) -> float | None:
    """Returns the mean number of tokens of a document: as given, from the prepared set, or None if unknown.

    Args:
      path: Folder of the prepared set, which may not exist.
      given: What the user says; None for nothing.
    """
    if given is not None or not is_prepared(path):
        return given
    manifest = read_manifest(path)
    return manifest.total("train", "tokens") / max(manifest.total("train", "documents"), 1)


def packed_segments(length: int, document: float | None) -> np.ndarray:
    """Makes up rows of documents one after another, whose lengths are drawn from an exponential distribution.

    Args:
      length: Tokens of a row.
      document: Mean number of tokens of a document. None: a row is one document.

    Returns:
      Document numbers from 1, int32 `[64, length]`.
    """
    if document is None:
        return np.ones((ROWS, length), np.int32)
    random = np.random.default_rng(0)
    count = int(2 * ROWS * length / max(document, SHORTEST)) + ROWS
    ends = np.cumsum(np.maximum(random.exponential(document, count), SHORTEST).astype(int))
    numbers = np.searchsorted(ends, np.arange(ROWS * length), side="right").reshape(ROWS, length)
    return (numbers - numbers[:, :1] + 1).astype(np.int32)


def skipped_share(network: TransformerConfig, segments: np.ndarray) -> float:
    """Computes the share of pairs of blocks that the attention of a network to itself skips, over all layers.

    Args:
      network: Configuration of the network.
      segments: Document numbers of some rows, int32 `[rows, length]`.
    """
    # They load Pallas, which only plans for TPUs need.
    from jaxssl.models.layers.flash.attention import LARGEST_BLOCK, block_of
    from jaxssl.models.layers.flash.blocks import touching

    length = segments.shape[1]
    block = block_of(length, LARGEST_BLOCK)
    ids = jnp.pad(jnp.asarray(segments), [(0, 0), (0, -length % block)])

    def visited(is_local: bool) -> float:
        window, blocks = network.window if is_local else None, (block, block)
        return float(touching(ids, ids, blocks, causal=network.causal, window=window).mean())

    share = {is_local: visited(is_local) for is_local in set(network.local_layers)}
    return 1 - sum(share[is_local] for is_local in network.local_layers) / network.depth


def skipped_shares(
    networks: Mapping[str, TransformerConfig], length: int, document: float | None
) -> dict[str, float]:
    """Computes the skipped share of every network of an objective in made-up rows.

    Args:
      networks: Configurations by name.
      length: Tokens of a row.
      document: Mean number of tokens of a document. None: a row is one document.

    Returns:
      Shares between 0 and 1, by the name of the network.
    """
    segments = packed_segments(length, document)
    return {name: skipped_share(network, segments) for name, network in networks.items()}
