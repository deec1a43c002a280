"""Image-text contrast (CLIP, SigLIP): recognise the caption of an image among all captions, and vice versa.

    u_i = image projection(encoder(view of image i)),   v_j = text projection(text encoder(caption j))
    clip      mean over i of the two cross-entropies of cos(u, v) / t, by rows and by columns
    siglip    1/n sum over i, j of log(1 + exp(-y_ij (cos(u_i, v_j) / t + b))),   y = 1 for a pair, else -1

The temperature t and the bias b are trained.

Deviations from the papers, with the reason for each:
  - By default a caption's embedding is the mean of its states, which serves causal and other networks. That
    of CLIP is the state of the end token of a causal network (pooling="last"), that of SigLIP the last state
    of a row whose padding is read, too (and reads_padding=True).
  - By default both projections are without bias, as CLIP's; SigLIP has none for images
    (projects_images=False), and one with a bias for texts (text_bias=True).
  - An image's embedding is what the encoder gives. What CLIP's and SigLIP's vision transformers have of their
    own are fields of `VisionTransformerConfig`: `embedding_norm`, `patch_bias` and `token_position` of CLIP,
    `pooling="attention"` of SigLIP, and the activations quick_gelu and gelu_tanh. CLIP's ResNets pool by
    attention, too, and ours do not; its kernels are drawn with deviations of their own.
  - CLIP's factor 1 / t is limited where it is used; OpenCLIP clips the parameter after every step (limits of
    parameters are no part of an optimizer here).
  - The views are crops of 0.9 to 1 of the area, as in OpenCLIP; CLIP's are squares at random positions, and
    SigLIP resizes the whole image.
  - Captions are split by the tokenizer of the prepared set; theirs have byte pairs and sentencepiece.

References:
  Radford et al. 2021, "Learning transferable visual models from natural language supervision" (CLIP),
  figure 3; Zhai et al. 2023, "Sigmoid loss for language image pre-training" (SigLIP), equation 1.

    batch    images and their captions    length   tokens of a caption    width   width of an embedding
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8

from jaxssl import losses
from jaxssl.augment import Augmentation, RandomResizedCrop, example_keys
from jaxssl.errors import InputError, check_above, check_at_least, check_choice, checked
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.models.pretraining.image_text import ImageTextModel
from jaxssl.models.pretraining.joint_embedding import Encoder
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.objectives.batches.batch import Images, Ratio, share_evenly
from jaxssl.objectives.batches.keyed_images import Metrics
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.joint_embedding.batch_statistics import (
    first_statistics,
    in_every_row,
    over_rows,
    statistics_for,
    update_statistics,
)
from jaxssl.objectives.joint_embedding.geometry import geometry
from jaxssl.sharding.contrastive import over_all_rows

LARGEST_SCALE = 100.0  # CLIP's largest factor 1 / t of cosines (Radford et al. 2021, section 2.5)

# Radford et al. 2021, section 2.5; Zhai et al. 2023, algorithm 1: t' = log 10
FIRST_TEMPERATURES = {"clip": 0.07, "siglip": 0.1}

NO_CAPTIONS = "the images have no captions; prepare the set from a source with captions"


class Embeddings(NamedTuple):
    """What each row contributes to a comparison of all rows."""

    images: Float[Array, "batch width"]
    """Embeddings of the images."""
    texts: Float[Array, "batch width"]
    """Embeddings of the captions."""
    moments: Any
    """Moments of the encoder's batch norms, repeated for every row."""


class Examples(NamedTuple):
    """Images as they were read, with random keys, and their captions."""

    pixels: UInt8[Array, "batch height width channels"]
    """The images."""
    keys: Key[Array, " batch"]
    """Random key of each image."""
    tokens: Int[Array, "batch length"]
    """Tokens of the captions."""
    segments: Int[Array, "batch length"]
    """1 for the tokens of a caption, 0 for padding that is not read."""
    weights: Float[Array, " batch"]
    """Weights of the pairs, 0 for an image without a caption; they add up to one over the global batch."""
    total: Float[Array, " batch"]
    """Number of pairs of the global batch, the same in every row."""


@dataclass(frozen=True)
@checked
class ImageText(ContrastiveObjective):
    """Contrasts images with their captions (Radford et al. 2021; Zhai et al. 2023)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: Encoder
    """Network for images: a `ResNetConfig` or a `VisionTransformerConfig`."""
    text: TransformerConfig
    """Network for captions."""
    kind: Literal["clip", "siglip"] = "clip"
    """Which of the two losses."""
    width: int = 512
    """Width of the embeddings."""
    views: Augmentation = Augmentation(crop=RandomResizedCrop((0.9, 1.0)), flip=0.0)
    """Augmentation of the images."""
    pooling: Pooling = "mean"
    """Embedding of a caption: the mean of its states, or the state of its begin or of its last token."""
    reads_padding: bool = False
    """Whether padding is read like words, so that the last token is the last of the row (SigLIP). Captions
    must then be padded to one length, in training and afterwards."""
    projects_images: bool = True
    """Whether the features of images are projected; if not, they are the embeddings (SigLIP)."""
    text_bias: bool = False
    """Whether the projection of captions has a bias (SigLIP)."""
    temperature: float | None = None
    """Temperature before the first step, for "clip" at least 0.01, which is also its limit in training; None
    for that of the papers: 0.07 for "clip", 0.1 for "siglip"."""
    bias: float = -10.0
    """Bias of SigLIP before the first step; CLIP has none."""
    block_size: int | None = None
    """Rows of the matrix of cosines that are computed at a time; None holds all `[n, n]`."""

    def __post_init__(self) -> None:
        check_choice(self, "kind", ("clip", "siglip"))
        check_at_least(self, 1, "width", "block_size")
        check_above(self, 0, "temperature")
        if self.kind == "clip":
            check_at_least(self, 1 / LARGEST_SCALE, "temperature")
        if not self.projects_images and self.width != self.encoder.features:
            raise InputError(
                f"projects_images=False: the embeddings of images are the {self.encoder.features} features "
                f"of the encoder, and width={self.width}; set width to {self.encoder.features}"
            )
        if self.pooling == "cls" and self.text.causal:
            raise InputError(
                "pooling='cls': the first position of a causal text network sees no caption; set pooling "
                "to 'mean' or 'last'"
            )

    @property
    def first_temperature(self) -> float:
        """The temperature before the first step."""
        return FIRST_TEMPERATURES[self.kind] if self.temperature is None else self.temperature

    def init(self, key: Array, spec: Any) -> ImageTextModel:
        """Makes both networks with their projections for a batch as in `spec`, with parameters by `key`."""
        if spec.captions is None:
            raise InputError(NO_CAPTIONS)
        check_length(self.text, spec.captions.length, network="text", rows="captions")
        return ImageTextModel(
            key,
            self.encoder,
            self.text,
            channels=spec.channels,
            vocab_size=spec.captions.vocab_size,
            width=self.width,
            temperature=self.first_temperature,
            bias=self.bias if self.kind == "siglip" else None,
            projects_images=self.projects_images,
            text_bias=self.text_bias,
        )

    def temperature_of(self, model: ImageTextModel) -> Float[Array, ""]:
        """Returns the temperature that the `model` has learned; that of CLIP has a limit."""
        logarithm = model.logit_scale[...]
        return jnp.exp(-(bounded(logarithm) if self.kind == "clip" else logarithm))

    def init_state(self, model: ImageTextModel) -> Any:
        """Makes the running statistics of the batch norms of `model`."""
        return {"statistics": first_statistics(model)}

    def corrupt(self, batch: Images, key: Array) -> Examples:
        """Gives every image a random key, and normalises weights over the images that have a caption.

        Args:
          batch: Images as they were read, `[batch, height, width, channels]`, with captions.
          key: Random key.

        Raises:
          InputError: The images have no captions.
        """
        if batch.captions is None:
            raise InputError(NO_CAPTIONS)
        tokens, vocabulary = batch.captions
        segments = (
            jnp.ones_like(tokens)
            if self.reads_padding
            else segments_of(tokens, vocabulary.begin, vocabulary.pad)
        )
        has_words = (~vocabulary.special[tokens]).any(axis=1)
        weights, total = share_evenly(has_words if batch.real is None else has_words & batch.real)
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
        """Embeds images and captions, each with its own network.

        Args:
          model: Both networks with their projections.
          state: Running statistics of batch norms.
          examples: Images, `[batch, height, width, channels]`, and captions, `[batch, length]`.
          key: Random key of dropout; None in evaluation, where batch norms take the running statistics.

        Returns:
          Embeddings, `[batch, width]` each.
        """
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
            model.project_images(features),
            model.text_projection(pooled),
            in_every_row(moments, len(pooled)),
        )

    def contrast(
        self, model: ImageTextModel, state: Any, embeddings: Embeddings, examples: Examples
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """Computes the loss over all images and captions of the global batch.

        Args:
          model: The trained temperature and bias.
          state: Running statistics of batch norms.
          embeddings: What `embed` has made of all rows, `[batch, width]` each.
          examples: Their weights.

        Returns:
          The loss in nats, a scalar, and (the state with moved statistics, metrics by name).
        """
        images, texts, moments = embeddings
        temperature = self.temperature_of(model)
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
        return nats, (update_statistics(state, {"encoder": over_rows(moments)}), metrics)


def bounded(logarithm: Float[Array, ""]) -> Float[Array, ""]:
    """Limits a scalar `logarithm` to log(LARGEST_SCALE); its gradient stays 1, so that it can fall again."""
    above = jax.lax.stop_gradient(jnp.maximum(logarithm - math.log(LARGEST_SCALE), 0.0))
    return logarithm - above
