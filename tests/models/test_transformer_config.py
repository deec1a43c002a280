"""Which fields a transformer may have, what follows from them, and the longest row."""

import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers.rotary import RotaryScaling
from jaxssl.models.recipes import bert, gpt2, modern, modernbert
from jaxssl.models.transformer_config import TransformerConfig, check_length


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 100, "heads": 3}, ["heads=3", "width=100", "set heads to 2", "head_width"]),
        ({"heads": 4, "kv_heads": 3}, ["kv_heads=3", "heads=4", "divisor of 4"]),
        ({"width": 12, "heads": 4, "positions": "rotary"}, ["width=12 / heads=4 = 3 is odd", "4"]),
        ({"head_width": 5, "positions": "rotary"}, ["head_width = 5 is odd", "such as 6"]),
        ({"head_width": 0}, ["head_width=0 is below 1"]),
        (
            {"activation": "tanh"},
            ["'tanh'", "gelu, gelu_tanh, quick_gelu, relu, silu, swiglu, geglu or geglu_tanh"],
        ),
        ({"remat": "some"}, ["'some'", "auto, scores, activations or inputs"]),
        ({"depth": 0}, ["depth=0"]),
        ({"dropout": 1.0}, ["dropout=1.0", "[0, 1)"]),
        ({"segment_types": -1}, ["segment_types=-1"]),
        ({"window": 8}, ["window=8", "global_every=1", "global_every to 3"]),
        ({"attention_scale": 0.0}, ["attention_scale=0.0 must be above 0"]),
        ({"positions": "rotary", "position_offset": 2}, ["position_offset=2", "'rotary' has none"]),
        ({"rotary_scaling": RotaryScaling(2.0)}, ["positions='learned'", "rotary_scaling to None"]),
        ({"positions": "relative", "relative_buckets": 3}, ["relative_buckets=3 is below 4", "32"]),
        ({"relative_distance": 8}, ["relative_distance=8 is not above 8", "to 64"]),
        ({"longer_rows": True}, ["longer_rows=True", "max_length=512", "positions to 'rotary'"]),
    ],
)
def test_impossible_fields_are_named(fields, words):
    with pytest.raises(InputError) as error:
        TransformerConfig(**fields)
    assert [word for word in words if word not in str(error.value)] == []


def test_widths_that_follow():
    plain = TransformerConfig(width=96, heads=6)
    assert (plain.head_dim, plain.inner, plain.table_width) == (16, 384, 96)
    other = TransformerConfig(width=96, heads=5, head_width=32, mlp=64, embedding_width=24)
    assert (other.head_dim, other.inner, other.table_width) == (32, 64, 24)


def test_local_layers():
    assert modernbert(7).local_layers == (False, True, True, False, True, True, False)
    assert bert(2).local_layers == (False, False)
    assert modern(2, window=4, global_every=0).local_layers == (True, True)


def test_residual_kernels_are_smaller_where_asked_for():
    assert gpt2(8).residual_stddev == pytest.approx(0.02 / 4)
    assert bert(8).residual_stddev == 0.02


def test_the_longest_row():
    check_length(bert(max_length=8), 8)
    check_length(modern(max_length=8, longer_rows=True), 9)
    with pytest.raises(InputError) as error:
        check_length(bert(max_length=8), 9)
    assert str(error.value) == (
        "rows of 9 tokens exceed max_length 8 of the model; prepare rows of at most 8 tokens, or set "
        "max_length to 9"
    )
    with pytest.raises(InputError) as error:
        check_length(modern(max_length=8), 9, network="text", rows="captions")
    assert str(error.value) == (
        "captions of 9 tokens exceed max_length 8 of the text; prepare captions of at most 8 tokens, or set "
        "text.max_length to 9, or text.longer_rows to True"
    )
