"""The keys and values of the tokens that a decoder has read, so that the next token costs one position.

batch      rows                        capacity   positions that a row may have, static
heads      query heads                 kv_heads   key and value heads

Position i of a row is in slot i. Slots from the length of a row on hold numbers without meaning, such as
those of padding behind a prompt; they are never read, and written before they are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Queries = Float[Array, "batch 1 heads head_dim"]
OneKey = Float[Array, "batch 1 kv_heads head_dim"]
Keys = Float[Array, "batch length kv_heads head_dim"]


class LayerCache(NamedTuple):
    """Keys and values of a layer; the heads come first, so that every product is a plain matrix product."""

    keys: Float[Array, "batch kv_heads capacity head_dim"]
    """Keys after rotary positions, `[batch, kv_heads, capacity, head_dim]`."""
    values: Float[Array, "batch kv_heads capacity head_dim"]
    """Values, `[batch, kv_heads, capacity, head_dim]`."""

    @classmethod
    def of(cls, keys: Keys, values: Keys, capacity: int) -> "LayerCache":
        """Makes the cache of the first positions of rows.

        Args:
          keys: Keys, `[batch, length, kv_heads, head_dim]`.
          values: Values, of the same shape.
          capacity: Number of slots, at least `length`.
        """

        def padded(x: Array) -> Array:
            slots = ((0, 0), (0, 0), (0, capacity - x.shape[1]), (0, 0))
            return jnp.pad(x.transpose(0, 2, 1, 3), slots)

        return cls(padded(keys), padded(values))

    def written(self, keys: OneKey, values: OneKey, slots: Int[Array, " batch"]) -> "LayerCache":
        """Writes one position of every row.

        Args:
          keys: Keys, `[batch, 1, kv_heads, head_dim]`.
          values: Values, of the same shape.
          slots: Where they are written, `[batch]`.
        """

        def write(old: Array, new: Array, slot: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(old, new, slot, axis=1)

        every = jax.vmap(write)
        return LayerCache(
            every(self.keys, keys.transpose(0, 2, 1, 3), slots),
            every(self.values, values.transpose(0, 2, 1, 3), slots),
        )

    def attend(
        self,
        queries: Queries,
        keys: OneKey,
        values: OneKey,
        lengths: Int[Array, " batch"],
        *,
        scale: float | None = None,
        window: Int[Array, ""] | None = None,
        biases: Float[Array, "batch heads slots"] | None = None,
    ) -> Queries:
        """Computes the attention of a new position to those in the cache and to itself.

        The cache is only read. So XLA can write the new position into the same memory afterwards.

        Args:
          queries: Queries of the new position, `[batch, 1, heads, head_dim]`.
          keys: Its keys, `[batch, 1, kv_heads, head_dim]`.
          values: Its values, of the same shape.
          lengths: Positions of each row that are in the cache, `[batch]`.
          scale: Factor of the products of queries and keys. `None`: `1 / sqrt(head_dim)`.
          window: Earlier positions that the new one sees, a scalar. `None`: all.
          biases: Numbers that are added to the scaled products, those of the slots and then that of the new
            position itself, float32 `[batch, heads, capacity + 1]`. `None`: none.

        Returns:
          The mixed values, `[batch, 1, heads, head_dim]`.
        """
        batch, _, heads, head_dim = queries.shape
        kv_heads, capacity = self.keys.shape[1:3]
        own = queries * (head_dim**-0.5 if scale is None else scale)
        own = own.reshape(batch, kv_heads, heads // kv_heads, head_dim)
        earlier = jnp.einsum("bkgd,bksd->bkgs", own, self.keys, preferred_element_type=jnp.float32)
        here = jnp.einsum("bkgd,bkd->bkg", own, keys[:, 0], preferred_element_type=jnp.float32)
        scores = jnp.concatenate([earlier, here[..., None]], axis=-1)
        if biases is not None:
            scores = scores + biases.reshape(scores.shape)
        behind = lengths[:, None] - jnp.arange(capacity)[None]
        seen = behind > 0 if window is None else (behind > 0) & (behind <= window)
        seen = jnp.pad(seen, ((0, 0), (0, 1)), constant_values=True)[:, None, None]
        scores = jnp.where(seen, scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype)
        mixed = jnp.einsum("bkgs,bksd->bkgd", weights[..., :-1], self.values)
        mixed = mixed + weights[..., -1:] * values[:, 0, :, None]
        return mixed.reshape(queries.shape)


class Cache(NamedTuple):
    """What a decoder keeps of the tokens that it has read."""

    layers: tuple[LayerCache, ...]
    """Keys and values of self-attention, layer by layer."""
    lengths: Int[Array, " batch"]
    """Tokens of each row that are in the cache, `[batch]`."""
    memory: tuple[tuple[Keys, Keys], ...] = ()
    """Keys and values of cross-attention, `[batch, memory, kv_heads, head_dim]`, layer by layer."""
    memory_segments: Int[Array, "batch memory"] | None = None
    """1 for positions of the memory that are seen, 0 for the others. None: there is no memory."""

    @property
    def capacity(self) -> int:
        """Number of tokens that a row may have."""
        return int(self.layers[0].keys.shape[2])

    def rows(self, numbers: Int[Array, " rows"]) -> "Cache":
        """Takes rows of the cache, such as those of the beams that go on.

        Args:
          numbers: Numbers of the rows, `[rows]`; a row may be taken several times.
        """
        taken: Cache = jax.tree.map(lambda x: x[numbers], self)
        return taken
