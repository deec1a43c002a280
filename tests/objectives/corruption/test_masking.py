"""What is hidden: exact counts, whole words, spans, 80/10/10, and never a special token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.corruption.masking import choose_tokens, masked_count, replace_tokens
from tests.tiny import BEGIN, END, FIRST, MASK, tiny_rows, tiny_spec

SPEC = tiny_spec()
VOCABULARY = Vocabulary.of(SPEC)


def hidden_mask(tokens, hidden):
    mask = np.zeros(tokens.shape, bool)
    for row, (positions, real) in enumerate(zip(hidden.positions, hidden.real, strict=True)):
        mask[row, np.asarray(positions)[np.asarray(real)]] = True
    return mask


def words_of(row):
    """Slow reference: lists of places, one list a word."""
    words, after_special = [], True
    for place, token in enumerate(row):
        if token < FIRST:
            after_special = True
            continue
        if after_special or token % 3 != 0:
            words.append([])
        words[-1].append(place)
        after_special = False
    return words


@pytest.mark.parametrize("masking", ["tokens", "spans"])
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.4])
def test_count_is_exact(masking, rate, key):
    tokens = tiny_rows(sparse=True)
    hidden = choose_tokens(key, jnp.asarray(tokens), VOCABULARY, rate=rate, masking=masking)
    mask = hidden_mask(tokens, hidden)
    available = (tokens >= FIRST).sum(axis=1)
    wanted = np.maximum(np.floor(rate * available + 0.5), available > 0)
    np.testing.assert_array_equal(mask.sum(axis=1), wanted)
    assert not mask[tokens < FIRST].any()
    assert hidden.positions.shape == (8, masked_count(rate, 32))
    for positions in np.asarray(hidden.positions):
        assert len(set(positions)) == len(positions)


@pytest.mark.parametrize("seed", range(4))
def test_whole_words_are_hidden_whole(seed):
    tokens = tiny_rows(seed, batch=16)
    hidden = choose_tokens(
        jax.random.key(seed), jnp.asarray(tokens), VOCABULARY, rate=0.3, masking="words"
    )
    mask = hidden_mask(tokens, hidden)
    counts = np.floor(0.3 * (tokens >= FIRST).sum(axis=1) + 0.5)
    exact = 0
    for row in range(len(tokens)):
        for word in words_of(tokens[row]):
            assert mask[row, word].all() or not mask[row, word].any()
        assert 0 < mask[row].sum() <= counts[row]
        exact += mask[row].sum() == counts[row]
    assert exact >= 15  # words of one token are common here, so nearly every count can be met


@pytest.mark.parametrize(("length", "starts"), [(64, 0.0), (64, 0.02), (16, 0.2)])
def test_text_without_spaces_is_hidden_token_by_token(length, starts):
    """Thai and DNA have no word starts, or few: as many tokens are hidden as of any other text."""
    chance = np.random.default_rng(0)
    tokens = chance.integers(FIRST, SPEC.vocab_size // 3, (32, length)) * 3
    tokens[chance.random(tokens.shape) < starts] += 1  # begins a word
    tokens[:, 0], tokens[:, -1] = BEGIN, END
    for masking in ("words", "spans"):
        hidden = choose_tokens(
            jax.random.key(0), jnp.asarray(tokens), VOCABULARY, rate=0.15, masking=masking
        )
        share = hidden_mask(tokens, hidden).sum() / (tokens >= FIRST).sum()
        assert share == pytest.approx(0.15, abs=0.02)


def test_every_word_is_equally_likely():
    tokens = np.tile(tiny_rows(3, batch=1), (4096, 1))
    hidden = choose_tokens(
        jax.random.key(0), jnp.asarray(tokens), VOCABULARY, rate=0.15, masking="tokens"
    )
    shares = hidden_mask(tokens, hidden).mean(axis=0)[tokens[0] >= FIRST]
    expected = shares.mean()
    deviation = np.sqrt(expected * (1 - expected) / 4096)
    assert np.abs(shares - expected).max() < 4.5 * deviation


@pytest.mark.slow
def test_spans_start_at_words_and_have_geometric_lengths():
    spec = tiny_spec(length=512)
    row = np.full((256, 512), FIRST + 2, np.int32)  # every token is a word
    row[:, 0], row[:, -1] = BEGIN, END
    hidden = choose_tokens(
        jax.random.key(1), jnp.asarray(row), Vocabulary.of(spec), rate=0.02, masking="spans"
    )
    mask = hidden_mask(row, hidden)
    lengths = []
    for line in mask:
        edges = np.flatnonzero(np.diff(np.r_[0, line.astype(int), 0]))
        lengths += list(edges[1::2] - edges[::2])
    # 10 of 510 tokens: spans rarely touch. The last one is cut, so the mean lies below 3.8.
    assert 2.4 < np.mean(lengths) < 3.9
    assert np.mean(np.array(lengths) == 1) < 0.45


def test_spans_start_where_words_start():
    tokens = tiny_rows(5, batch=64)
    hidden = choose_tokens(
        jax.random.key(2), jnp.asarray(tokens), VOCABULARY, rate=0.15, masking="spans"
    )
    mask = hidden_mask(tokens, hidden)
    inside = 0
    for row in range(64):
        starts = {word[0] for word in words_of(tokens[row])}
        runs = np.flatnonzero(mask[row] & ~np.r_[False, mask[row, :-1]])
        inside += sum(place not in starts for place in runs)
    assert inside <= 64 * 0.25  # only random fill, where the drawn spans leave a shortage


def test_shares_of_replacement():
    tokens = np.tile(tiny_rows(0, batch=8), (512, 1))
    hidden = choose_tokens(jax.random.key(0), jnp.asarray(tokens), VOCABULARY, rate=0.3)
    inputs = np.asarray(replace_tokens(jax.random.key(1), jnp.asarray(tokens), hidden, VOCABULARY))
    mask = hidden_mask(tokens, hidden)
    np.testing.assert_array_equal(inputs[~mask], tokens[~mask])
    drawn, original = inputs[mask], tokens[mask]
    total = mask.sum()
    tolerance = 4 / np.sqrt(total)
    assert abs((drawn == MASK).mean() - 0.8) < tolerance
    kept = 0.1 + 0.1 / 45  # a random token may be the same one
    assert abs((drawn == original).mean() - kept) < tolerance
    assert (drawn[drawn != MASK] >= FIRST).all()


@pytest.mark.slow
def test_masks_do_not_depend_on_devices():
    from jax.sharding import NamedSharding, PartitionSpec

    tokens = jnp.asarray(tiny_rows())
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(tokens, NamedSharding(mesh, PartitionSpec("data")))
    for masking in ("tokens", "words", "spans"):
        choose = jax.jit(
            lambda t, masking=masking: choose_tokens(
                jax.random.key(7), t, VOCABULARY, rate=0.2, masking=masking
            )
        )
        one, many = choose(tokens), choose(sharded)
        np.testing.assert_array_equal(one.positions, many.positions)
        np.testing.assert_array_equal(one.real, many.real)


def test_a_span_is_replaced_as_a_whole():
    """SpanBERT draws once for a span whether it is hidden, replaced or kept; 172 of 260 were mixed."""
    tokens = np.tile(tiny_rows(0, batch=8), (64, 1))
    options = {"rate": 0.3, "masking": "spans"}
    hidden = choose_tokens(jax.random.key(0), jnp.asarray(tokens), VOCABULARY, **options)
    inputs = np.asarray(
        replace_tokens(jax.random.key(1), jnp.asarray(tokens), hidden, VOCABULARY, masking="spans")
    )
    mask = hidden_mask(tokens, hidden)
    np.testing.assert_array_equal(inputs[~mask], tokens[~mask])
    spans, hidden_spans, kept_spans = 0, 0, 0
    for row, before, after in zip(mask, tokens, inputs, strict=True):
        edges = np.flatnonzero(np.diff(np.r_[0, row.astype(int), 0]))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            shown = after[start:stop] == MASK
            assert shown.all() or not shown.any()
            spans += 1
            hidden_spans += shown.all()
            kept_spans += (after[start:stop] == before[start:stop]).all()
    tolerance = 4 / np.sqrt(spans)
    assert abs(hidden_spans / spans - 0.8) < tolerance
    assert abs(kept_spans / spans - 0.1) < tolerance
