"""Relative positions as biases of attention: a learned number for every head and range of distances (T5)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int


class RelativeBiases(nnx.Module):
    """Biases of the scores of attention, which depend on the distance of key and query alone.

        score(query i, key j) = q_i . k_j + embedding[bucket(j - i), head]

    Documents of a packed row are contiguous, so that distances within the row are those within the document.

    Args:
      key: Random key of the initial biases.
      heads: Number of query heads.
      buckets: Number of ranges of distances.
      longest: Distance from which on all are in one range.
      causal: Whether no query sees later keys; all ranges are of earlier keys then, and else half of them.
      stddev: Standard deviation of the initial biases.

    References:
      Raffel et al. 2020, "T5", section 2.1.
    """

    def __init__(
        self, key: Array, heads: int, *, buckets: int, longest: int, causal: bool, stddev: float
    ):
        self.longest, self.causal = longest, causal
        self.embedding = nnx.Param(stddev * jax.random.normal(key, (buckets, heads)))

    def __call__(
        self, query_positions: Int[Array, "*rows queries"], key_positions: Int[Array, "*rows keys"]
    ) -> Float[Array, "*rows heads queries keys"]:
        """Computes the biases of all pairs of a query and a key.

        Args:
          query_positions: Positions of the queries in the row, `[..., queries]`.
          key_positions: Positions of the keys in the same row, `[..., keys]`.

        Returns:
          Biases, float32 `[..., heads, queries, keys]`.
        """
        table = self.embedding[...]
        ahead = key_positions[..., None, :] - query_positions[..., :, None]
        numbers = buckets_of(table.shape[0], self.longest, causal=self.causal)
        ranges = jnp.asarray(numbers)[jnp.clip(ahead, -self.longest, self.longest) + self.longest]
        return jnp.moveaxis(table[ranges], -1, -3)


def buckets_of(buckets: int, longest: int, *, causal: bool) -> Int[np.ndarray, " distances"]:
    """Computes which range each distance from `-longest` to `longest` belongs to.

    Half of the ranges of a direction hold one distance each; those of the others grow by a constant factor.

    Args:
      buckets: Number of ranges.
      longest: Distance from which on all are in the last range.
      causal: Whether all ranges are of earlier keys (distances below 0); later keys count as distance 0.

    Returns:
      Numbers of ranges, int32 `[2 * longest + 1]`. Unless `causal`, the first half of them are of distances
      up to 0, the second half of those above 0.
    """
    ahead = np.arange(-longest, longest + 1)
    here = buckets if causal else buckets // 2
    far = np.maximum(-ahead, 0) if causal else np.abs(ahead)
    exact = here // 2
    # In float32, as the published networks were trained.
    growth = np.log(np.maximum(far, 1).astype(np.float32) / np.float32(exact))
    growth = growth / np.float32(np.log(longest / exact)) * np.float32(here - exact)
    large = np.minimum(exact + growth.astype(np.int32), here - 1)
    later = 0 if causal else here * (ahead > 0)
    return (np.where(far < exact, far, large) + later).astype(np.int32)
