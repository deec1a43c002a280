"""Drawing tokens from a vocabulary without ever holding its logits.

    token_i = argmax_v (z_iv / t + g_iv),   g = -log(-log u),  u uniform        (Gumbel-max)

Maddison et al. 2014 (A* Sampling), section 2. The vocabulary is taken in blocks with a running maximum. The
noise of place (i, v) is made from the key and the number i * vocab + v alone, by the same bits as
`jax.random`'s, so the tokens are those of `jax.random.categorical(key, logits)` whatever the block, and
however tokens and vocabulary are cut over devices. Where every token has a key of its own
(`vocabulary_head.py`), they do not depend on the token's place in the batch either.

    tokens   rows i of hidden states, on this device       vocab    rows v of the kernel, on this device
    dim      width of a state                              block    rows of the kernel taken at a time
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from jaxssl.losses.axes import AxisName, zero_of

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of threefry, by turns
PARITY = 0x1BD11BDA


def sample_tokens(
    key: Array,
    hidden: Float[Array, "tokens dim"],
    kernel: Float[Array, "vocab dim"],
    *,
    bias: Float[Array, " vocab"] | None = None,
    temperature: float = 1.0,
    block_size: int = 4096,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
) -> Int[Array, " tokens"]:
    """jax.random.categorical(key, (hidden @ kernel.T + bias) / temperature), in vocabulary blocks.

    For ELECTRA's generator (Clark et al. 2020, section 2). Products in the type of `hidden`, sums in
    float32. Nothing is differentiated.

    Inside a mapped function the same key on all devices gives the tokens that one device would draw:
    `axis_name` is the axis (or axes) over which the rows of `hidden` are cut, `vocab_axis_name` that over
    which `kernel` and `bias` are cut along the vocabulary, as in `linear_cross_entropy`. Only the best
    score and its token of each row cross the devices; the kernel is not gathered.

    The key is a threefry key; raises ValueError for other kinds, for a temperature or block size that is
    not above 0, and where shapes do not fit.

    >>> import jax, jax.numpy as jnp
    >>> tokens = sample_tokens(jax.random.key(0), jnp.eye(3), 99 * jnp.eye(3), block_size=2)
    >>> tokens.tolist()
    [0, 1, 2]
    """
    _check(hidden, kernel, bias, temperature, block_size)
    words = _key_words(key)
    hidden, kernel = jax.lax.stop_gradient((hidden, kernel))
    tokens, vocab = hidden.shape[0], kernel.shape[0]
    bias = jnp.zeros(vocab) if bias is None else jax.lax.stop_gradient(bias)
    block = min(block_size, vocab)
    first_row = _first(tokens, axis_name)
    first_id, whole = _first(vocab, vocab_axis_name), vocab * _size(vocab_axis_name)

    def add(best: _Best, part: tuple[Array, Array, Array]) -> tuple[_Best, None]:
        first, rows, shift = part
        logits = jnp.einsum("td,vd->tv", hidden, rows, preferred_element_type=jnp.float32)
        places = first + jnp.arange(block)
        ids = first_id + places.astype(jnp.uint32)
        noise = _gumbel(words, _flat_index(first_row, tokens, ids, whole))
        scores = (logits + shift[None]) / temperature + noise
        scores = jnp.where((places < vocab)[None], scores, -jnp.inf)
        return best.or_better(_best_of(scores, ids.astype(int))), None

    # A zero that varies over all the axes that scores will vary over.
    zero = zero_of(hidden, kernel, bias) + 0 * (first_row + first_id).astype(jnp.float32)
    start = _Best(jnp.full(tokens, -jnp.inf) + zero, jnp.zeros(tokens, int) + zero.astype(int))
    best = jax.lax.scan(add, start, _cut_vocabulary(kernel.astype(hidden.dtype), bias, block))[0]
    return best.token if vocab_axis_name is None else _over_devices(best, whole, vocab_axis_name)


def draw(
    words: UInt32[Array, "tokens 2"],
    logits: Float[Array, "tokens vocab"],
    *,
    temperature: float = 1.0,
    never: Int[Array, " tokens"] | None = None,
    vocab_axis_name: str | None = None,
) -> Int[Array, " tokens"]:
    """For every token with its own key: jax.random.categorical(key, logits / temperature).

    `logits` may be this device's part of the vocabulary; `never` are ids of the whole vocabulary, one
    for each token, that are not drawn.
    """
    vocab = logits.shape[1]
    ids = _first(vocab, vocab_axis_name) + jnp.arange(vocab, dtype=jnp.uint32)
    noise = _gumbel(words.T[:, :, None], (jnp.zeros((1, 1), jnp.uint32), ids[None]))
    scores = logits / temperature + noise.astype(logits.dtype)
    ids = ids.astype(int)
    if never is not None:
        scores = jnp.where(ids[None] == never[:, None], -jnp.inf, scores)
    best = _best_of(scores, ids)
    if vocab_axis_name is None:
        return best.token
    return _over_devices(best, vocab * _size(vocab_axis_name), vocab_axis_name)


def _cut_vocabulary(kernel: Array, bias: Array, block: int) -> tuple[Array, Array, Array]:
    """The first row of each block; the blocks of the kernel and of the bias, padded with zeros."""
    vocab, dim = kernel.shape
    padding = -vocab % block
    rows = jnp.pad(kernel, [(0, padding), (0, 0)]).reshape(-1, block, dim)
    shifts = jnp.pad(bias.astype(jnp.float32), (0, padding)).reshape(-1, block)
    return jnp.arange(0, vocab, block), rows, shifts


class _Best(NamedTuple):
    score: Float[Array, " tokens"]
    token: Int[Array, " tokens"]

    def or_better(self, other: "_Best") -> "_Best":
        """Of equal scores the first, as argmax takes it."""
        is_better = other.score > self.score
        return _Best(*(jnp.where(is_better, *pair) for pair in zip(other, self, strict=True)))


def _best_of(scores: Float[Array, "tokens block"], ids: Int[Array, " block"]) -> _Best:
    """Of equal scores the lowest id. Two plain reductions: argmax is a slow one on CPUs."""
    top = scores.max(axis=1)
    is_best = scores == top[:, None]
    return _Best(top, jnp.where(is_best, ids[None], jnp.iinfo(ids.dtype).max).min(axis=1))


def _over_devices(best: _Best, whole: int, axis_name: str) -> Int[Array, " tokens"]:
    top = jax.lax.pmax(best.score, axis_name)
    return jax.lax.pmin(jnp.where(best.score == top, best.token, whole), axis_name)


def _size(axis_name: AxisName) -> int:
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def _first(count: int, axis_name: AxisName) -> UInt32[Array, ""]:
    """The number in the whole of the first of this device's `count`."""
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    return jnp.asarray(device, jnp.uint32) * jnp.uint32(count)


def _key_words(key: Array) -> UInt32[Array, " 2"]:
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if data.shape != (2,):
        raise ValueError(
            f"a threefry key has 2 words, this one has shape {data.shape}; make it with "
            "jax.random.key(seed, impl='threefry2x32')"
        )
    return data


def _flat_index(
    first_row: Array, tokens: int, ids: Array, vocab: int
) -> tuple[UInt32[Array, "tokens block"], UInt32[Array, "tokens block"]]:
    """row * vocab + id in two words of 32 bits: there may be more than 2^32 places."""
    rows = first_row + jnp.arange(tokens, dtype=jnp.uint32)
    size = jnp.uint32(vocab)
    # Rows below 2^32, in halves of 16 bits: (h 2^16 + l) * vocab, vocab below 2^32 likewise.
    low, high = rows & 0xFFFF, rows >> 16
    size_low, size_high = size & 0xFFFF, size >> 16
    middle = low * size_high
    middle_sum = middle + high * size_low  # may wrap, and its carry is worth 2^48
    carry = (middle_sum < middle).astype(jnp.uint32) << 16
    bottom = low * size_low
    product_low = bottom + (middle_sum << 16)
    wrapped = (product_low < bottom).astype(jnp.uint32)
    product_high = high * size_high + (middle_sum >> 16) + carry + wrapped
    added = product_low[:, None] + ids.astype(jnp.uint32)[None]
    overflow = (added < product_low[:, None]).astype(jnp.uint32)
    return product_high[:, None] + overflow, added


def _gumbel(words: Array, index: tuple[Array, Array]) -> Float[Array, "tokens block"]:
    """jax.random.gumbel's numbers (mode "low") at these places of its flat order.

    `words` are those of one key [2], or of a key for every token [2, tokens, 1].
    """
    bits = _threefry(words[0], words[1], *index)
    unit = jax.lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    tiny = jnp.finfo(jnp.float32).tiny
    uniform = jnp.maximum(tiny, unit * (1.0 - tiny) + tiny)
    return -jnp.log(-jnp.log(uniform))


def _threefry(key_high: Array, key_low: Array, high: Array, low: Array) -> UInt32[Array, "..."]:
    """jax.random.bits of a key at the places high * 2^32 + low of its flat order.

    Threefry-2x32 of 20 rounds (Salmon et al. 2011, section 4.2), written out: JAX's primitive is a loop
    on CPUs, which does not fuse with what takes the bits and costs ten times as much.
    """
    keys = (key_high, key_low, key_high ^ key_low ^ jnp.uint32(PARITY))
    left, right = high + keys[0], low + keys[1]
    for group in range(5):
        for bits in ROTATIONS[group % 2]:
            left = left + right
            right = ((right << bits) | (right >> (32 - bits))) ^ left
        left = left + keys[(group + 1) % 3]
        right = right + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return left ^ right


def words_of(keys: Array) -> UInt32[Array, "tokens 2"]:
    """Of one threefry key for every token, typed or as words already."""
    data = jax.random.key_data(keys) if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else keys
    if data.ndim != 2 or data.shape[1] != 2:
        raise ValueError(
            f"keys of shape {keys.shape} with words {data.shape} must be a threefry key of 2 words for "
            "each token; make them with jax.random.split(key, tokens)"
        )
    return data


def check_temperature(temperature: float) -> None:
    if isinstance(temperature, (int, float)) and temperature <= 0:
        raise ValueError(f"temperature {temperature} must be above 0: it divides the logits")


def _check(
    hidden: Array, kernel: Array, bias: Array | None, temperature: float, block_size: int
) -> None:
    if hidden.ndim != 2 or kernel.ndim != 2 or hidden.shape[1] != kernel.shape[1]:
        raise ValueError(
            f"hidden {hidden.shape} and kernel {kernel.shape} need [tokens, dim] and [vocab, dim]"
        )
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(
            f"bias of shape {bias.shape} must be [{kernel.shape[0]}], one for each row of "
            f"kernel {kernel.shape}"
        )
    check_temperature(temperature)
    if block_size < 1:
        raise ValueError(f"block_size {block_size} must be at least 1 row of the kernel")
