"""The gradient of a convolution's kernel as products of matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.convolution import Convolution
from jaxssl.models.layers.convolution_on_cpu import convolve, convolve_on_cpu
from tests.models.vision_reference import images


@pytest.mark.slow
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("cached", [1, 1 << 20])  # numbers at a time: image by image, all together
def test_the_kernels_gradient_on_a_cpu(size, stride, cached, monkeypatch, key):
    """That of XLA's own, of sides that the stride does not divide: to 1e-5, in bfloat16 to 1 %."""
    monkeypatch.setattr("jaxssl.models.layers.convolution_on_cpu.CACHED", cached)
    x, kernel = images(3, height=9, width=6), Convolution(key, 3, 4, size).kernel[...]
    cotangent = jax.random.normal(key, convolve(x, kernel, stride).shape)

    def gradients(function, kind):
        result, back = jax.vjp(
            lambda *of: function(*of, stride), x.astype(kind), kernel.astype(kind)
        )
        return jax.device_get(back(cotangent.astype(result.dtype)))

    wanted = gradients(convolve, "float32")
    for a, b in zip(gradients(convolve_on_cpu, "float32"), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())
    for a, b in zip(gradients(convolve_on_cpu, "bfloat16"), wanted, strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(np.float32), b, atol=1e-2 * np.abs(b).max())
