"""Which attention is chosen on which platform, and what is said where no fused kernel can."""

import jax
import jax.numpy as jnp
import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers.attention_choice import (
    Choice,
    choices_made,
    choose,
    plain_attention,
    platform_of_mesh,
)
from jaxssl.sharding.mesh import Mesh

ARRAY = jax.ShapeDtypeStruct((2, 128, 4, 64), jnp.bfloat16)
PLAIN = {"dropped": False}


@pytest.mark.parametrize(
    ("platform", "shape", "changes", "said"),
    [
        ("tpu", (2, 128, 4, 64), {}, ""),
        ("gpu", (2, 128, 4, 64), {}, ""),
        ("cpu", (2, 128, 4, 64), {}, "no fused kernel for cpu"),
        ("tpu", (2, 64, 4, 64), {}, ""),
        ("tpu", (2, 63, 4, 64), {}, "63 positions fill less than half of a block of 128"),
        ("tpu", (2, 128, 4, 36), {}, "the width of heads, 36,"),
        ("gpu", (2, 128, 4, 256), {}, "256, is above the 128"),
        ("gpu", (2, 128, 4, 64), {"dtype": jnp.float32}, "cuDNN takes bfloat16"),
        ("tpu", (2, 128, 4, 64), {"dropped": True}, ""),
        ("tpu", (2, 128, 4, 64), {"biased": True}, "relative positions add biases"),
        ("gpu", (2, 128, 4, 64), {"biased": True}, "positions='rotary' has none"),
        ("tpu", (3, 128, 4, 64), {}, "3 rows do not divide over 2 devices of data"),
        ("tpu", (2, 128, 3, 64), {}, "3 heads do not divide over 2 devices of tensor"),
    ],
)
def test_what_a_kernel_cannot_do_is_said(platform, shape, changes, said, monkeypatch):
    monkeypatch.setattr("jaxssl.models.layers.attention_choice.platform_of_mesh", lambda: platform)
    wanted = {"dtype": jnp.bfloat16, **PLAIN, **changes}
    array = jax.ShapeDtypeStruct(shape, wanted.pop("dtype"))
    with jax.sharding.use_abstract_mesh(Mesh(2, 1, 2).make(jax.devices()[:4]).abstract_mesh):
        assert said in choose("auto", array, array, **wanted).reason
        assert choose("xla", array, array, **wanted).kernel == "xla"
        if said:
            with pytest.raises(InputError, match=f"attention='fused': .*{said}.*to 'auto'"):
                choose("fused", array, array, **wanted)
        else:
            kernel = {"tpu": "flash", "gpu": "cudnn"}[platform]
            assert choose("fused", array, array, **wanted) == Choice(kernel, "")


def test_choices_are_collected_once_while_tracing():
    with choices_made() as made:
        for _ in range(2):
            choose("xla", ARRAY, ARRAY, **PLAIN)
    choose("xla", ARRAY, ARRAY, **PLAIN)
    assert made == [Choice("xla", "as asked for")]


def test_plain_attention_is_what_xla_computes_even_if_a_fused_kernel_is_asked_for():
    with plain_attention(), choices_made() as made:
        assert choose("fused", ARRAY, ARRAY, **PLAIN).kernel == "xla"
    assert made == []
    with pytest.raises(InputError, match="no fused kernel for cpu"):
        choose("fused", ARRAY, ARRAY, **PLAIN)


def test_without_a_mesh_the_platform_is_that_of_jax():
    assert platform_of_mesh() == jax.default_backend()


def test_dropout_on_a_gpu_is_fused_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr("jaxssl.models.layers.attention_choice.platform_of_mesh", lambda: "gpu")
    assert choose("fused", ARRAY, ARRAY, dropped=True).kernel == "cudnn"
    plain = choose("auto", ARRAY, ARRAY, dropped=True)
    assert plain.kernel == "xla"
    assert "attention='fused' computes it by several passes" in plain.reason
