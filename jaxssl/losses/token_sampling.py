"""Drawing tokens from the softmax of a vocabulary head, without ever holding its logits.

    token_i = argmax_v (z_iv / temperature + g_iv),   g = -log(-log(u)),   u uniform          (Gumbel-max)

Maddison et al. 2014, "A* sampling", section 2. The vocabulary is taken in blocks with a running
maximum. The noise at position (i, v) depends on the key and the number i * vocab + v alone, and has
the same bits as in `jax.random`. So the tokens are those of `jax.random.categorical(key, logits)`,
whatever the block size, and however tokens and vocabulary are sharded over devices.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.arguments import check_count, check_temperature
from jaxssl.losses.axes import AxisName, zero_of
from jaxssl.losses.blockwise.gumbel_max import (
    BestToken,
    axis_size,
    best_of,
    best_over_devices,
    first_on_device,
)
from jaxssl.losses.blockwise.gumbel_noise import flat_index, gumbel, words_of_key
from jaxssl.losses.blockwise.vocabulary_sums import check_kernel


def sample_tokens(
    key: Array,
    hidden: Float[Array, "*rows dim"],
    kernel: Float[Array, "vocab dim"],
    *,
    bias: Float[Array, " vocab"] | None = None,
    temperature: float = 1.0,
    block_size: int = 4096,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
) -> Int[Array, "*rows"]:
    """Draws a token for every hidden state: `categorical(key, (hidden @ kernel.T + bias) / temperature)`.

    The result is that of `jax.random.categorical`, but logits exist only for `block_size` rows of
    the kernel at a time. Products are taken in the type of `hidden` and summed in float32. Nothing
    is differentiated.

    Inside a mapped function, the same key on all devices gives the tokens that one device would
    draw. Only the best score of each row and its token are exchanged; the kernel is not gathered.

    Args:
      key: A threefry key (the default kind), or its words, uint32 `[2]`.
      hidden: Hidden states, `[..., dim]`.
      kernel: Output embeddings, `[vocab, dim]`.
      bias: Number added to the logit of every token, `[vocab]`, or `None`.
      temperature: Positive number that divides the logits.
      block_size: Rows of the kernel whose logits are held at a time.
      axis_name: Mapped axis (or axes) over which the rows of `hidden` are sharded.
      vocab_axis_name: Mapped axis over which `kernel` and `bias` are sharded along the vocabulary,
        as in `linear_cross_entropy`.

    Returns:
      Ids of the whole vocabulary, int `[...]`.

    Raises:
      ValueError: The key is not a threefry key, the shapes or types do not fit, or `temperature` or
        `block_size` is not positive.

    References:
      Maddison et al. 2014, "A* sampling", section 2.
      Clark et al. 2020, "ELECTRA: Pre-training text encoders as discriminators rather than
      generators", section 2 (what a generator draws).

    >>> import jax, jax.numpy as jnp
    >>> tokens = sample_tokens(jax.random.key(0), jnp.eye(3), 99 * jnp.eye(3), block_size=2)
    >>> tokens.tolist()
    [0, 1, 2]
    """
    check_kernel(hidden, kernel, bias)
    check_temperature(temperature)
    check_count(block_size, "block_size", "it counts rows of the kernel")
    words, rows = words_of_key(key), hidden.shape[:-1]
    hidden = hidden.reshape(-1, hidden.shape[-1])
    hidden, kernel = jax.lax.stop_gradient((hidden, kernel))
    tokens, vocab = hidden.shape[0], kernel.shape[0]
    bias = jnp.zeros(vocab) if bias is None else jax.lax.stop_gradient(bias)
    block = min(block_size, vocab)
    first_row = first_on_device(tokens, axis_name)
    first_id, whole = first_on_device(vocab, vocab_axis_name), vocab * axis_size(vocab_axis_name)

    def add(best: BestToken, part: tuple[Array, Array, Array]) -> tuple[BestToken, None]:
        """Compares the best tokens so far with those of one block of the vocabulary."""
        first, vectors, shift = part
        logits = jnp.einsum("td,vd->tv", hidden, vectors, preferred_element_type=jnp.float32)
        positions = first + jnp.arange(block)
        ids = first_id + positions.astype(jnp.uint32)
        noise = gumbel(words, flat_index(first_row, tokens, ids, whole))
        scores = (logits + shift[None]) / temperature + noise
        scores = jnp.where((positions < vocab)[None], scores, -jnp.inf)
        return best.or_better(best_of(scores, ids.astype(int))), None

    # The carry of the scan must vary from the start over all mesh axes over which scores will vary.
    zero = zero_of(hidden, kernel, bias) + 0 * (first_row + first_id).astype(jnp.float32)
    start = BestToken(jnp.full(tokens, -jnp.inf) + zero, jnp.zeros(tokens, int) + zero.astype(int))
    best = jax.lax.scan(add, start, _split_vocabulary(kernel.astype(hidden.dtype), bias, block))[0]
    if vocab_axis_name is None:
        return best.token.reshape(rows)
    return best_over_devices(best, whole, vocab_axis_name).reshape(rows)


def _split_vocabulary(kernel: Array, bias: Array, block: int) -> tuple[Array, Array, Array]:
    """The first row of each block, and the blocks of kernel and bias, padded with zeros."""
    vocab, dim = kernel.shape
    padding = -vocab % block
    rows = jnp.pad(kernel, [(0, padding), (0, 0)]).reshape(-1, block, dim)
    shifts = jnp.pad(bias.astype(jnp.float32), (0, padding)).reshape(-1, block)
    return jnp.arange(0, vocab, block), rows, shifts
