"""Classification: which of a few classes does a text, or a pair of texts, belong to?

    logits = W dropout(tanh(P pooled + c)) + b,   loss = - sum over examples i of w_i log p(label_i)

The pooled state is that of the begin token (Devlin et al. 2019, section 3.2 and figure 4), the mean
over the text (Reimers & Gurevych 2019), or that of the last token, which is the only one to have
seen all of a causal model's text (Radford et al. 2018, section 3.2).

    batch    examples                     width    of the network's states
    length   tokens of a padded example   classes
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError
from jaxssl.models.layers.dense import Linear
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.plain import from_dict, to_dict
from jaxssl.models.transformer_config import TransformerConfig

Totals = dict[str, tuple[Float[Array, ""], Float[Array, ""]]]  # metric -> (total, count)


class Spec(Protocol):
    """What `Classify.init` must know of the data."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def classes(self) -> int: ...


class Examples(NamedTuple):
    """Labelled rows; the weights add up to one over the global batch."""

    tokens: Int[Array, "batch length"]
    sizes: Int[Array, "batch 2"]  # tokens up to and with the first `end`; and of the whole example
    labels: Int[Array, " batch"]
    weights: Float[Array, " batch"]
    total: Float[Array, " batch"]  # true examples of the global batch, the same in every row


class Learned(NamedTuple):
    """The part of a pretrained model that a task takes over."""

    network: Any
    pooler: Any = (
        None  # the dense layer behind its first state, where the pretraining has trained one
    )


def network_and_pooler(objective: Any, model: Any) -> Learned:
    """The part of a pretrained model that a task takes over.

    Raises InputError where the objective has none.
    """
    return Learned(objective.network(model), getattr(model, "pooler", None))


class Classifier(nnx.Module):
    """A network and its head. `encoder` may be causal."""

    layout = (
        (r"pooler/kernel", ("embed", None)),
        (r"classifier/kernel", ("embed", None)),
        (r"(pooler|classifier)/bias", (None,)),
    )

    def __init__(self, key: Array, network: TransformerConfig, spec: Spec, *, with_pooler: bool):
        encoder, pooler, classifier = jax.random.split(key, 3)
        width, sd = network.width, network.initializer_range
        self.encoder = network.make(encoder, spec.vocab_size)
        self.pooler = Linear(pooler, width, width, deviation=sd) if with_pooler else None
        self.classifier = Linear(classifier, width, spec.classes, deviation=sd)


@dataclass(frozen=True)
class Classify:
    """Finetunes a pretrained network, all of it, with a linear head on one pooled state."""

    checkpoint: str = ""  # run folder of a pretraining
    pooling: Literal["cls", "mean", "last"] = "cls"  # state of begin; mean; state of the last token
    pooler: bool = (
        True  # a dense layer with tanh before the classes; the checkpoint's if it has one
    )
    dropout: float = 0.1  # before the classes
    network_dropout: float | None = None  # inside the network; None: as it was pretrained
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.pooling not in ("cls", "mean", "last"):
            raise InputError(f"pooling={self.pooling!r} is unknown; use cls, mean or last")
        for name in ("dropout", "network_dropout", "label_smoothing"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < 1:
                raise InputError(f"{name}={rate} must lie in [0, 1), e.g. 0.1")

    def network(self, pretrained: TransformerConfig) -> TransformerConfig:
        """The pretrained network's configuration as it is finetuned."""
        if not hasattr(pretrained, "causal"):
            raise InputError(
                f"classification of texts needs a network that reads texts, and the run has made a "
                f"{type(pretrained).__name__}; pass a run that read text as checkpoint"
            )
        if pretrained.causal and self.pooling == "cls":
            raise InputError(
                "a causal network's first state has seen no text; pass --task.pooling last or mean"
            )
        if self.network_dropout is None:
            return pretrained
        rate = self.network_dropout
        return replace(pretrained, dropout=rate, attention_dropout=rate)

    def init(
        self,
        key: Array,
        network: TransformerConfig,
        spec: Spec,
        pretrained: Learned | None = None,
    ) -> Classifier:
        """The network with a new head: random, or with the parameters that a pretraining has learned.

        Raises InputError where these have another shape.
        """
        model = Classifier(key, self.network(network), spec, with_pooler=self.pooler)
        if pretrained is None:
            return model
        # By way of plain dicts: what is finetuned may differ in dropout, which is static data.
        parameters = to_dict(pretrained.network)
        if "tokens" in parameters:  # without the rows of a table for sentinels, which come last
            table = parameters["tokens"]["embedding"]
            parameters["tokens"] = {"embedding": table[: spec.vocab_size]}
        model.encoder = from_dict(model.encoder, parameters)
        if model.pooler is not None and pretrained.pooler is not None:
            model.pooler = pretrained.pooler
        return model

    def weigh(self, batch: dict[str, Array]) -> Examples:
        """Equal weights for all examples of the global batch, none for rows that fill it up."""
        real = batch["labels"] >= 0
        total = real.sum().astype(jnp.float32)
        return Examples(
            tokens=batch["tokens"],
            sizes=batch["sizes"],
            labels=jnp.maximum(batch["labels"], 0),
            weights=real / jnp.maximum(total, 1.0),
            total=jnp.broadcast_to(total, real.shape),
        )

    def logits(
        self,
        model: Classifier,
        tokens: Int[Array, "batch length"],
        sizes: Int[Array, "batch 2"],
        key: Array | None = None,
    ) -> Float[Array, "batch classes"]:
        """Scores of the classes, in float32; no dropout where `key` is None."""
        network_key, head_key = (None, None) if key is None else jax.random.split(key)
        place = jax.lax.broadcasted_iota(jnp.int32, tokens.shape, 1)
        real = place < sizes[:, 1:]
        types = None
        if model.encoder.types is not None:
            types = (real & (place >= sizes[:, :1])).astype(jnp.int32)
        segments = real.astype(jnp.int32)
        states = model.encoder(tokens, segments, types=types, key=network_key)
        pooled = self._pool(states.astype(jnp.float32), real, sizes[:, 1])
        if model.pooler is not None:
            pooled = jnp.tanh(model.pooler(pooled))
        return model.classifier(dropout(pooled, self.dropout, head_key))

    def loss(
        self, model: Classifier, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Totals]]:
        """The weighted sum over these examples, and (total, count) of the loss and the accuracy."""
        logits = self.logits(model, examples.tokens, examples.sizes, key)
        nats = losses.masked_lm(
            logits,
            examples.labels,
            examples.weights,
            label_smoothing=self.label_smoothing,
            normalize=False,
        )
        right = (jnp.argmax(logits, axis=-1) == examples.labels) * examples.weights
        total = examples.total[0]
        count = examples.weights.sum() * total
        metrics = {"loss": (nats * total, count), "accuracy": (right.sum() * total, count)}
        return nats, (state, metrics)

    def _pool(
        self,
        states: Float[Array, "batch length width"],
        real: Array,
        size: Int[Array, " batch"],
    ) -> Float[Array, "batch width"]:
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "mean":
            summed = jnp.where(real[..., None], states, 0.0).sum(axis=1)
            return summed / jnp.maximum(size, 1)[:, None].astype(jnp.float32)
        last = jnp.maximum(size - 1, 0)[:, None, None]
        return jnp.take_along_axis(states, last, axis=1)[:, 0]
