"""Masked autoencoder: from a quarter of an image's patches, the pixels of the others.

    loss = mean over images, mean over their hidden patches p of mean_d (f(seen patches)_pd - x_pd)^2

where x_p is the patch with mean 0 and variance 1 (or as it is). He et al. 2022, "Masked autoencoders are
scalable vision learners", section 3. The encoder sees the seen patches alone, so that a large one is cheap;
a light decoder gets mask tokens at the places of the others. Just as many patches are hidden of every image,
which ones by a random order of its own.

    batch    images                               seen     patches that the encoder sees, static
    places   patches of an image, row by row      width    of the states
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.augment import Augmentation, RandomResizedCrop, fold
from jaxssl.errors import InputError
from jaxssl.models.layers.patches import split_patches
from jaxssl.models.pretraining.masked_patches import MaskedPatchModel
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import States, VisionTransformerConfig
from jaxssl.objectives.batches.batch import Images
from jaxssl.objectives.batches.keyed_images import (
    KeyedImages,
    Metrics,
    draw,
    mean_metrics,
    random_order,
)
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.positions import read_at

VIEW, HIDDEN = range(2)  # what is folded into an image's key


@dataclass(frozen=True)
class MaskedAutoencoder(Objective):
    """Tell the pixels of hidden patches (He et al. 2022, section 3)."""

    encoder: VisionTransformerConfig
    decoder: TransformerConfig  # a few narrow blocks
    hidden: float = 0.75  # share of an image's patches
    normalize_target: bool = True  # every patch by its own mean and variance
    views: Augmentation = Augmentation(crop=RandomResizedCrop((0.2, 1.0), filter="bicubic"))

    def __post_init__(self) -> None:
        if not 0 < self.hidden < 1:
            raise InputError(f"hidden={self.hidden} must lie between 0 and 1, e.g. 0.75")
        VisionTransformerConfig(
            self.decoder, self.encoder.patch
        )  # raises what is wrong with the blocks

    def init(self, key: Array, spec: Any) -> MaskedPatchModel:
        """Encoder and decoder, for images as `spec` describes them."""
        places, seen = self._places(spec)
        if not 0 < seen < places:
            raise InputError(
                f"hidden={self.hidden} of {places} patches leaves {seen} to see; choose another share or "
                f"a patch smaller than {self.encoder.patch}"
            )
        return MaskedPatchModel(key, self.encoder, self.decoder, spec.channels)

    def corrupt(self, batch: Images, key: Array) -> KeyedImages:
        """Keys of views and of what is hidden; weights are normalised over the global batch."""
        return draw(batch, key)

    def loss(
        self, model: MaskedPatchModel, state: Any, examples: KeyedImages, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The weighted sum over these images."""
        views = self.views(examples.pixels, fold(examples.keys, VIEW))
        targets = split_patches(views, self.encoder.patch)
        places = targets.shape[1]
        order, ranks = random_order(fold(examples.keys, HIDDEN), places)
        seen = self.seen(places)
        predicted = self.predict(model, views, order[:, :seen], ranks, key)
        weights = (ranks >= seen) * (examples.weights / (places - seen))[:, None]
        error = losses.masked_reconstruction(
            predicted,
            targets,
            weights,
            normalize_target=self.normalize_target,
            normalize=False,
        )
        return error, (state, mean_metrics(examples, loss=error))

    def predict(
        self,
        model: MaskedPatchModel,
        views: Float[Array, "batch height width channels"],
        seen: Int[Array, "batch seen"],
        ranks: Int[Array, "batch places"],
        key: Array | None = None,
    ) -> Float[Array, "batch places numbers"]:
        """The pixels of all patches, from those seen. A place is seen if its rank is below their number."""
        encoder_key, decoder_key = (None, None) if key is None else jax.random.split(key)
        states = read_at(model.encoder.embed(views), seen)
        states = model.narrow(model.encoder.run(states, encoder_key))
        first, states = states[:, : self.encoder.first], states[:, self.encoder.first :]
        rows, columns = (side // self.encoder.patch for side in views.shape[1:3])
        everywhere = in_order(states, model.masks(states, rows * columns - seen.shape[1]), ranks)
        return model.decode(first, everywhere, rows, columns, decoder_key)

    def seen(self, places: int) -> int:
        """How many of so many patches the encoder sees."""
        return places - round(self.hidden * places)

    def _places(self, spec: Any) -> tuple[int, int]:
        """Patches of a view, and how many of them are seen."""
        height, width = self.views.size or (spec.height, spec.width)
        patch = self.encoder.patch
        if height % patch or width % patch:
            raise InputError(
                f"views of {height}x{width} are not made of patches of {patch}x{patch}; pass "
                "--objective.encoder.patch that divides both sides, or views of another size"
            )
        places = (height // patch) * (width // patch)
        return places, self.seen(places)


def in_order(seen: States, masks: States, ranks: Int[Array, "batch places"]) -> States:
    """The states of the seen patches and mask tokens, each at its place."""
    return read_at(jnp.concatenate([seen, masks], axis=1), ranks)
