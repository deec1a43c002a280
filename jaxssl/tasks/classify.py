"""Classification of a text, or a pair of texts, by finetuning a pretrained network.

    logits = W dropout(tanh(P pooled + c)) + b
    loss   = - sum over examples i of w_i log softmax(logits_i)[label_i]

The pooled state is that of the begin token (Devlin et al. 2019, section 3.2 and figure 4), the mean
over the text (Reimers & Gurevych 2019), or the state of the last token, the only one that has seen the
whole text in a causal network (Radford et al. 2018, section 3.2).

Shapes:

    batch    number of examples           width    of the states of the network
    length   tokens of a padded example   classes  number of classes
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError, check_choice, check_share
from jaxssl.models.layers.dense import Linear
from jaxssl.models.layers.dropout import dropout
from jaxssl.models.plain import from_dict, to_dict
from jaxssl.models.transformer_config import TransformerConfig

Totals = dict[str, tuple[Float[Array, ""], Float[Array, ""]]]  # metric -> (total, count)


class Spec(Protocol):
    """The properties of the data that `Classify.init` needs."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary."""

    @property
    def classes(self) -> int:
        """Number of classes."""


class Examples(NamedTuple):
    """Labelled rows, whose weights add up to one over the global batch."""

    tokens: Int[Array, "batch length"]
    """Token ids, `[batch, length]`: begin, the text or the two texts, each followed by end, padding."""
    sizes: Int[Array, "batch 2"]
    """Number of tokens up to and including the first `end`, and of the whole example, `[batch, 2]`."""
    labels: Int[Array, " batch"]
    """Classes, `[batch]`; 0 for rows that only fill the batch up."""
    weights: Float[Array, " batch"]
    """Weights of the rows in the loss, `[batch]`; 0 for rows that only fill the batch up."""
    total: Float[Array, " batch"]
    """Number of true examples of the global batch, the same in every row, `[batch]`."""


class PretrainedParts(NamedTuple):
    """The parts of a pretrained model that a task starts from."""

    network: Any
    """The network that reads the text."""
    pooler: Any = None
    """Dense layer on the state of the begin token; None if the pretraining has not trained one."""


def network_and_pooler(objective: Any, model: Any) -> PretrainedParts:
    """Takes the parts out of a pretrained `model` that a task starts from, as its `objective` defines them.

    Raises InputError if the objective has no network for finetuning.
    """
    return PretrainedParts(objective.network(model), getattr(model, "pooler", None))


class Classifier(nnx.Module):
    """A network, which may be causal, with a pooler and a linear layer for the classes.

    Args:
      key: Random key of the parameters.
      network: Configuration of the network.
      spec: Sizes of the vocabulary and of the classes.
      with_pooler: Whether a dense layer with tanh precedes the linear layer.
    """

    layout = (
        (r"pooler/kernel", ("embed", None)),
        (r"classifier/kernel", ("embed", None)),
        (r"(pooler|classifier)/bias", (None,)),
    )

    def __init__(self, key: Array, network: TransformerConfig, spec: Spec, *, with_pooler: bool):
        encoder, pooler, classifier = jax.random.split(key, 3)
        width, sd = network.width, network.initializer_range
        self.encoder = network.make(encoder, spec.vocab_size)
        self.pooler = Linear(pooler, width, width, stddev=sd) if with_pooler else None
        self.classifier = Linear(classifier, width, spec.classes, stddev=sd)


@dataclass(frozen=True)
class Classify:
    """Finetunes all parameters of a pretrained network, with a linear layer on one pooled state."""

    checkpoint: str = ""
    """Folder of the pretraining run, or its URL."""
    pooling: Literal["cls", "mean", "last"] = "cls"
    """Which state is classified: that of the begin token ("cls"), the mean, or that of the last token."""
    pooler: bool = True
    """Whether a dense layer with tanh precedes the classes; it is the pretrained one if there is one."""
    dropout: float = 0.1
    """Probability of dropout before the classes."""
    network_dropout: float | None = None
    """Probability of dropout inside the network, attention included; None leaves it as it was pretrained."""
    label_smoothing: float = 0.0
    """Probability that is spread evenly over all classes in the targets."""

    def __post_init__(self) -> None:
        check_choice(self, "pooling", ("cls", "mean", "last"))
        check_share(self, "dropout", "network_dropout", "label_smoothing")

    def network(self, pretrained: TransformerConfig) -> TransformerConfig:
        """Returns the configuration of the network in finetuning, from that of the `pretrained` network.

        Raises InputError if the network does not read text, or if it is causal and the pooling is "cls".
        """
        if not hasattr(pretrained, "causal"):
            raise InputError(
                f"classification of texts needs a network that reads texts, and the run has made a "
                f"{type(pretrained).__name__}; pass a run that read text as checkpoint"
            )
        if pretrained.causal and self.pooling == "cls":
            raise InputError(
                'pooling="cls" takes the first state, and that of a causal network has seen no text; set '
                "pooling to last or mean"
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
        pretrained: PretrainedParts | None = None,
    ) -> Classifier:
        """Makes the model: the network, and a new linear layer with random parameters.

        Args:
          key: Random key of the new parameters.
          network: Configuration of the network as it was pretrained.
          spec: Sizes of the vocabulary and of the classes.
          pretrained: Parameters to start from; None starts from random ones. The pooler is taken over if
            both the pretraining and this task have one.

        Raises:
          InputError: The pretrained parameters have other names or shapes.
        """
        model = Classifier(key, self.network(network), spec, with_pooler=self.pooler)
        if pretrained is None:
            return model
        # Plain dicts have no configuration: that of the finetuned network may differ in its dropout.
        parameters = to_dict(pretrained.network)
        if "tokens" in parameters:  # sentinel tokens, the last rows of a larger table, are left out
            table = parameters["tokens"]["embedding"]
            parameters["tokens"] = {"embedding": table[: spec.vocab_size]}
        model.encoder = from_dict(model.encoder, parameters)
        if model.pooler is not None and pretrained.pooler is not None:
            model.pooler = pretrained.pooler
        return model

    def weigh(self, batch: dict[str, Array]) -> Examples:
        """Makes the examples of a global batch, with equal weights that add up to one.

        Args:
          batch: "tokens" `[batch, length]`, "sizes" `[batch, 2]` and "labels" `[batch]`, all int32. Rows that
            only fill the batch up have label -1; their weight is 0.
        """
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
        """Computes the logits of the classes.

        Args:
          model: The model.
          tokens: Token ids, `[batch, length]`.
          sizes: Number of tokens up to and including the first `end`, and of the whole example, `[batch, 2]`.
          key: Random key of dropout; None for no dropout.

        Returns:
          Logits, float32 `[batch, classes]`.
        """
        network_key, head_key = (None, None) if key is None else jax.random.split(key)
        position = jax.lax.broadcasted_iota(jnp.int32, tokens.shape, 1)
        real = position < sizes[:, 1:]
        types = None
        if model.encoder.types is not None:
            types = (real & (position >= sizes[:, :1])).astype(jnp.int32)
        segments = real.astype(jnp.int32)
        states = model.encoder(tokens, segments, types=types, key=network_key)
        pooled = self._pool(states.astype(jnp.float32), real, sizes[:, 1])
        if model.pooler is not None:
            pooled = jnp.tanh(model.pooler(pooled))
        return model.classifier(dropout(pooled, self.dropout, head_key))

    def loss(
        self, model: Classifier, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, Totals]]:
        """Computes the weighted sum of the cross entropy over some examples of a global batch.

        Args:
          model: The model.
          state: Returned unchanged; the task has no state.
          examples: Some rows of what `weigh` has made.
          key: Random key of dropout; None for no dropout.

        Returns:
          Loss, scalar, and a pair of the state and the metrics "loss" and "accuracy", each as a sum over the
          examples and their number. Losses, sums and numbers of the parts of a batch add up.
        """
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
        """Pools the states of each example: `real` marks its tokens, `size` is their number."""
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "mean":
            summed = jnp.where(real[..., None], states, 0.0).sum(axis=1)
            return summed / jnp.maximum(size, 1)[:, None].astype(jnp.float32)
        last = jnp.maximum(size - 1, 0)[:, None, None]
        return jnp.take_along_axis(states, last, axis=1)[:, 0]
