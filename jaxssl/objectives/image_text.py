"""Image-text contrast: tell the caption of an image from those of all others, and the reverse.

    u_i = image projection(encoder(view of image i)),   v_j = text projection(text encoder(caption j))
    clip      mean over i of the two cross-entropies of cos(u, v) / t, by rows and by columns
    siglip    1/n sum over i, j of log(1 + exp(-y_ij (cos(u_i, v_j) / t + b))),   y = 1 for a pair, else -1

Radford et al. 2021, "Learning transferable visual models from natural language supervision" (CLIP), figure 3;
Zhai et al. 2023, "Sigmoid loss for language image pre-training", equation 1. Temperature t and bias b are
trained.

    batch    images and their captions    length   tokens of a caption    width   of an embedding
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxssl import losses
from jaxssl.augment import Augmentation, RandomResizedCrop, example_keys
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.models.pretraining.image_text import ImageTextModel
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Images, Ratio, share_evenly
from jaxssl.objectives.batches.keyed_images import Metrics
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    in_every_row,
    moved,
    over_rows,
    statistics_for,
)
from jaxssl.objectives.joint_embedding.geometry import geometry
from jaxssl.sharding.contrastive import over_all_rows

LARGEST_SCALE = 100.0  # of cosines, 1 / t (Radford et al. 2021, section 2.5)


class Embeddings(NamedTuple):
    """What each row gives to a contrast of all rows."""

    images: Float[Array, "batch width"]
    texts: Float[Array, "batch width"]
    moments: Any  # of the encoder's batch norms, in every row


class Examples(NamedTuple):
    """Images as they were read with the keys of their views, and captions."""

    pixels: UInt8[Array, "batch height width channels"]
    keys: Key[Array, " batch"]
    tokens: Int[Array, "batch length"]
    segments: Int[Array, "batch length"]
    weights: Float[Array, " batch"]  # add up to one over the global batch; 0 without a caption
    total: Float[Array, " batch"]  # captions of the global batch, the same in every row


@dataclass(frozen=True)
class ImageText(ContrastiveObjective):
    """Contrast images with their captions."""

    encoder: Encoder
    text: TransformerConfig
    kind: Literal["clip", "siglip"] = "clip"
    width: int = 512  # of the embeddings
    views: Augmentation = Augmentation(crop=RandomResizedCrop((0.9, 1.0)), flip=0.0)
    pooling: Pooling = "mean"  # of a caption's tokens
    temperature: float = 0.07  # to begin with; 0.1 in SigLIP
    bias: float = -10.0  # to begin with, of SigLIP alone
    block_size: int | None = None  # rows at a time; None holds all [n, n] cosines

    def __post_init__(self) -> None:
        if self.kind not in ("clip", "siglip"):
            raise InputError(f"kind={self.kind!r} is unknown; use clip or siglip")
        if self.width < 1:
            raise InputError(f"width={self.width} must be at least 1")
        if self.temperature < 1 / LARGEST_SCALE:
            raise InputError(f"temperature={self.temperature} must be at least 0.01, e.g. 0.07")
        if self.pooling not in ("mean", "cls"):
            raise InputError(f"pooling={self.pooling!r} is unknown; use mean or cls")
        if self.pooling == "cls" and self.text.causal:
            raise InputError(
                "the first place of a causal network sees no caption; set pooling to mean"
            )
        if self.block_size is not None and self.block_size < 1:
            raise InputError(f"block_size={self.block_size} must be at least 1 row")

    def init(self, key: Array, spec: Any) -> ImageTextModel:
        """Both encoders with their projections, for images and captions as `spec` describes them."""
        if spec.captions is None:
            raise InputError("the images have no captions; prepare them with --captions")
        if spec.captions.length > self.text.max_length:
            raise InputError(
                f"captions of {spec.captions.length} tokens exceed max_length {self.text.max_length} "
                "of the text encoder; prepare shorter ones or raise --objective.text.max-length"
            )
        return ImageTextModel(
            key,
            self.encoder,
            self.text,
            channels=spec.channels,
            vocab_size=spec.captions.vocab_size,
            width=self.width,
            temperature=self.temperature,
            bias=self.bias if self.kind == "siglip" else None,
        )

    def init_state(self, model: ImageTextModel) -> Any:
        """Running statistics of batch norms."""
        return {"statistics": first_statistics(model)}

    def corrupt(self, batch: Images, key: Array) -> Examples:
        """Keys of the views; weights are normalised over the images that have a caption."""
        if batch.captions is None:
            raise InputError("the images have no captions; prepare them with --captions")
        tokens, vocabulary = batch.captions
        segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
        has_words = ~vocabulary.special[tokens]
        weights, total = share_evenly(has_words.any(axis=1))
        rows = tokens.shape[0]
        return Examples(
            pixels=batch.pixels,
            keys=example_keys(key, rows),
            tokens=tokens,
            segments=segments,
            weights=weights,
            total=jnp.broadcast_to(total, rows),
        )

    def embed(
        self, model: ImageTextModel, state: Any, examples: Examples, key: Array | None
    ) -> Embeddings:
        """Images and captions, each by its own encoder."""
        image_key, text_key = (None, None) if key is None else jax.random.split(key)
        statistics = statistics_for(state, key)
        features, moments = model.encoder(
            self.views(examples.pixels, examples.keys),
            key=image_key,
            statistics=None if statistics is None else statistics["encoder"],
        )
        states = model.text(examples.tokens, examples.segments, key=text_key)
        pooled = pool_pieces(states, examples.segments, pieces=1, pooling=self.pooling)[:, 0]
        return Embeddings(
            model.image_projection(features),
            model.text_projection(pooled),
            in_every_row(moments, len(pooled)),
        )

    def contrast(
        self, model: ImageTextModel, state: Any, embeddings: Embeddings, examples: Examples
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The loss over all images and captions of the global batch."""
        images, texts, moments = embeddings
        temperature = jnp.exp(-bounded(model.logit_scale[...]))
        trained = {"temperature": temperature}
        if model.logit_bias is not None:
            trained["bias"] = model.logit_bias[...]
        nats = over_all_rows(
            losses.info_nce if self.kind == "clip" else losses.sigmoid_contrastive,
            images,
            texts,
            examples.weights,
            trained=trained,
            block_size=self.block_size,
        )
        total = examples.total[0]
        metrics = {
            "loss": Ratio(nats * total, total),
            **geometry(images, texts, examples.weights > 0),
            "temperature": Ratio(temperature, jnp.ones(())),
        }
        return nats, (moved(state, {"encoder": over_rows(moments)}), metrics)


def bounded(logarithm: Float[Array, ""]) -> Float[Array, ""]:
    """At most log(LARGEST_SCALE); its gradient goes on above, so that it comes back where it should."""
    above = jax.lax.stop_gradient(jnp.maximum(logarithm - math.log(LARGEST_SCALE), 0.0))
    return logarithm - above
