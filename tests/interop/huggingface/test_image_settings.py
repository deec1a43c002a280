"""How images are prepared, read from folders and written to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.augment import Augmentation
from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.huggingface.folder_writing import export_again, export_of, write_network
from jaxssl.interop.huggingface.image_settings import (
    SETTINGS,
    STANDARD,
    image_size,
    image_spec,
    normalized,
    preprocessor,
)
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives.masked_autoencoder import MaskedAutoencoder
from jaxssl.objectives.simclr import SimCLR

VIEWS = Augmentation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
VIT = VisionTransformerConfig(vit(1, 8, 2), patch=4)
OBJECTIVES = {
    "ViTForImageClassification": SimCLR(VIT, VIEWS, (8, 4)),
    "ViTMAEForPreTraining": MaskedAutoencoder(VIT, vit(1, 12, 3), views=VIEWS),
    "ResNetModel": SimCLR(ResNetConfig(10, width=2, stem="imagenet", norm="batch"), VIEWS, (8, 4)),
}


def test_sizes():
    assert image_size({"image_size": 8}) == (8, 8)
    assert image_size({"image_size": [8, 12]}) == (8, 12)
    assert image_size({SETTINGS: {"size": {"height": 4, "width": 6}}}) == (4, 6)
    assert image_size({SETTINGS: {"crop_size": 5, "size": {"shortest_edge": 9}}}) == (5, 5)
    assert image_size({SETTINGS: {"size": {"shortest_edge": 9}}}) == (9, 9)
    assert image_size({}) == (224, 224)
    for wrong in (0, "8", [8], [8, True], {"height": 8}):
        with pytest.raises(InputError, match="the size of images is"):
            image_size({"image_size": wrong})
    with pytest.raises(InputError, match="num_channels=4; images have 1 or 3"):
        image_spec({"num_channels": 4})


def test_normalisation():
    config = {"image_size": 8, "num_channels": 1}
    plain = normalized(Augmentation(), config, STANDARD)
    assert (plain.size, plain.mean, plain.std) == ((8, 8), (0.5,), (0.5,))
    raw = normalized(VIEWS, config | {SETTINGS: {"do_normalize": False}}, STANDARD)
    assert (raw.mean, raw.std) == ((), ())
    for wrong, line in (
        ({"do_rescale": False}, "do_rescale=false"),
        ({"rescale_factor": 0.5}, "rescale_factor=0.5"),
        ({"image_mean": [0.1, 0.2]}, r"image_mean=\[0.1, 0.2\]; it must be 1 numbers"),
        ({"image_std": "all"}, "image_std"),
        ({"do_normalize": 1}, "do_normalize"),
    ):
        with pytest.raises(InputError, match=line):
            normalized(VIEWS, config | {SETTINGS: wrong}, STANDARD)


def test_what_goes_out_comes_back():
    spec = ImageSpec(1, 8, 12, 3)
    settings = preprocessor(VIEWS, spec, "ViTImageProcessor")
    found = normalized(Augmentation(), {"image_size": [8, 12], SETTINGS: settings}, STANDARD)
    assert (found.size, found.mean, found.std) == ((8, 12), VIEWS.mean, VIEWS.std)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_goes_out_and_embeds_the_same_when_it_is_read_again(name, tmp_path):
    objective, spec = OBJECTIVES[name], ImageSpec(1, 32, 32, 3)
    model = objective.init(jax.random.key(0), spec)
    export = export_of(objective, spec)
    assert export.architecture == name
    write_network(tmp_path, export, model, objective.init_state(model))
    found = read_folder(tmp_path)
    assert (found.objective.views.mean, found.objective.views.std) == (VIEWS.mean, VIEWS.std)
    pixels = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), jnp.float32)
    state = objective.init_state(model)
    own, theirs = (one["statistics"]["encoder"] if one else None for one in (state, found.carried))
    np.testing.assert_allclose(
        found.model.encoder(pixels, statistics=theirs)[0],
        model.encoder(pixels, statistics=own)[0],
        atol=1e-5,
    )
    again = export_again(found, found.objective, found.spec)
    (tmp_path / "again").mkdir()
    write_network(tmp_path / "again", again, found.model, found.carried)
    for one, other in zip(
        *(sorted((tmp_path / part).glob("*.safetensors")) for part in ("", "again")), strict=True
    ):
        assert one.stat().st_size == other.stat().st_size
