"""The parts of joint embeddings, those that were asked for alone."""

import jax
import numpy as np

from jaxssl.models.pretraining.joint_embedding import JointEmbedding
from jaxssl.models.resnet import ResNetConfig
from jaxssl.sharding.layout import axes_of

ENCODER = ResNetConfig(10, width=8)


def test_a_projector_alone(key):
    model = jax.eval_shape(lambda: JointEmbedding(key, ENCODER, 3, projector=(16, 4)))
    assert [layer.kernel.shape for layer in model.projector.layers] == [(64, 16), (16, 4)]
    assert model.predictor is None
    assert model.prototypes is None


def test_predictor_and_prototypes_read_the_projections(key):
    parts = {"projector": (16, 4), "predictor": (8, 4), "prototypes": 500, "norm": "batch"}
    model = JointEmbedding(key, ENCODER, 3, **parts)
    assert [layer.kernel.shape for layer in model.predictor.layers] == [(4, 8), (8, 4)]
    assert model.prototypes.shape == (4, 500)
    norms = np.linalg.norm(model.prototypes[...], axis=0)
    np.testing.assert_allclose(np.mean(norms**2), 1, rtol=0.15)
    assert None not in axes_of(model).values()
