"""Fields that change no number are no difference; others are named."""

import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.network_check import check_network, plain, scale_of
from jaxssl.models.recipes import bert, modern


def test_defaults_and_what_they_stand_for_are_the_same():
    written_out = {
        "kv_heads": 4,
        "head_width": 4,
        "embedding_width": 16,
        "mlp": 64,
        "attention_scale": 0.5,
        "qkv_bias": True,
    }
    assert plain(bert(2, 16, 4, **written_out)) == bert(2, 16, 4)


def test_fields_without_effect_are_the_same():
    idle = {"rotary_base": 5.0, "relative_buckets": 8, "norm_before_first": False}
    assert plain(bert(2, 16, 4, **idle)) == bert(2, 16, 4)
    assert plain(modern(1, 16, 4, window=3, global_every=2)).window is None  # the layer is global


def test_fields_that_differ_are_named_unless_they_are_free_or_change_no_number():
    own = bert(2, 16, 4, dropout=0.3, compute_dtype="bfloat16", norm="rms")
    check_network(own, bert(2, 16, 4), "BERT", "norm", field="encoder")
    with pytest.raises(InputError, match="BERT has networks with norm='layer', and encoder.norm"):
        check_network(own, bert(2, 16, 4), "BERT", field="encoder")


def test_the_scale_of_attention():
    assert scale_of(bert(2, 16, 4)) == 0.5
    assert scale_of(bert(2, 16, 4, attention_scale=1.0)) == 1.0
