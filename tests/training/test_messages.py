"""What a run says at its beginning: how often it reads its rows, which sets of a mixture do not share."""

from types import SimpleNamespace

import pytest

from jaxssl.training.messages import epochs_in_words


@pytest.mark.parametrize(
    ("steps", "batch", "set_rows", "weights", "words"),
    [
        (4, 64, [30], (), "8.5 epochs"),  # a batch of more rows than there are; it was 4.0
        (4, 64, [127], (), "2.0 epochs"),  # full batches do not count; it was 4.0
        (1000, 8, [80_000], (), "0.1 epochs"),
        (10, 10, [90, 10], (), "1.0 epochs"),  # by the number of rows all are read as often
        (10, 10, [90, 10], (0.9, 0.1), "1.0 epochs"),
        (100, 10, [900, 100], (1.0, 1.0), "0.6 to 5.0 epochs of the sets"),
        (100, 10, [900, 100], (3.0, 7.0), "0.3 to 7.0 epochs of the sets"),
    ],
)
def test_epochs(steps, batch, set_rows, weights, words):
    config = SimpleNamespace(steps=steps, data=SimpleNamespace(weights=weights))
    rows = SimpleNamespace(spec=SimpleNamespace(batch=batch), set_rows=set_rows)
    assert epochs_in_words(config, rows) == words
