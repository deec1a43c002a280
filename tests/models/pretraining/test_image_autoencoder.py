"""The image autoencoder on a mesh, and the size of its maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.models.layers.mlp import MLP
from jaxssl.models.pretraining.image_autoencoder import ImageAutoencoderModel, map_shape
from jaxssl.models.resnet import ResNetConfig
from jaxssl.sharding.layout import axes_of, shardings
from jaxssl.sharding.mesh import Mesh
from tests.models.vision_reference import images


def test_maps_become_at_least_as_large_as_the_image(key):
    assert map_shape(32, 17, 4) == (4, 3, 32)
    encoder = ResNetConfig(10, width=8)
    sizes = {"code": 4, "decoder_width": 4}
    model = jax.eval_shape(lambda: ImageAutoencoderModel(key, encoder, 12, 17, 3, **sizes))
    features = jnp.zeros((2, encoder.features))
    image = jax.eval_shape(lambda model, x: model.decode(x, "float32"), model, features)
    assert image.shape == (2, 12, 17, 3)
    assert None not in axes_of(model).values()


@pytest.mark.slow
def test_gradients_where_kernels_are_sharded_twice(key):
    """On 2 x 2 x 2 devices those of one, to 1e-4; XLA mixed up rows, or added parts four times."""
    mesh = Mesh(data=2, fsdp=2, tensor=2).make()
    encoder, size = ResNetConfig(10, width=8), {"code": 16, "decoder_width": 8}
    model = {
        "images": ImageAutoencoderModel(key, encoder, 16, 16, 3, **size),
        "projector": MLP(jax.random.key(1), (64, 16, 256)),
    }
    x = images(16, 16, 16)

    def loss(model, x):
        features, _ = model["images"].encoder(x)
        image = model["images"].decode(features, "float32")
        projected, _ = model["projector"](features)
        rows = jnp.arange(16.0)[:, None]
        return jnp.square(image - x).mean() + jnp.square(projected - rows).mean()

    def on_mesh(model, x):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.grad(loss)(model, x)

    specs = shardings(model, mesh)
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    many = jax.jit(on_mesh, in_shardings=(specs, rows), out_shardings=specs)(model, x)
    one = jax.jit(jax.grad(loss))(model, x)
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(many), strict=True):
        atol = 1e-4 * float(jnp.abs(a).max()) + 1e-9
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=str(path))
