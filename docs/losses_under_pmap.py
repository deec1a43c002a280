"""A language model trained by a loop of your own under pmap, with the loss of jaxssl.

Rows, network and optimizer are those of a recipe, so that the losses can be compared: they are those of
train.py, step by step. Yours may be any; only `losses.causal_lm` and its `axis_name` matter here.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python docs/losses_under_pmap.py \\
        --config configs/gpt2_tiny.py --steps 20
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxssl import losses
from jaxssl.data.rows import open_rows
from jaxssl.models.layers.packing import segments_of
from jaxssl.tools.errors import one_line_errors
from jaxssl.training.config import Pretraining, read_config


def train(config: Pretraining) -> list[float]:
    """Trains on all devices of this process, and returns the loss of every step."""
    devices = jax.local_device_count()
    rows = open_rows(config.data, "train", seed=config.seed)
    spec, optimizer = rows.spec, config.optimizer.make(config.steps)

    def loss(model, tokens):
        """The loss of this device's rows; with `axis_name` the mean is over the tokens of all devices."""
        states = model.decoder(tokens, segments_of(tokens, spec.begin, spec.pad))
        logits = states @ model.decoder.tokens.embedding[...].T
        is_predicted = (tokens != spec.pad) & (tokens != spec.begin)
        return losses.causal_lm(logits, tokens, is_predicted.astype(float), axis_name="devices")

    def step(model, state, tokens):
        """One step of the optimizer, the same on every device."""
        value, gradients = jax.value_and_grad(loss)(model, tokens)
        # The exact gradient of the loss of the whole batch; jaxssl.losses.axes says why.
        gradients = jax.lax.pmean(gradients, "devices")
        updates, state = optimizer.update(gradients, state, model)
        return optax.apply_updates(model, updates), state, value

    mapped = jax.pmap(step, "devices", in_axes=(None, None, 0), out_axes=None)
    model = config.objective.init(jax.random.key(config.seed), spec)
    state, values = optimizer.init(model), []
    for number in range(config.steps):
        tokens = rows.batch(number)["tokens"].reshape(devices, -1, spec.length)
        model, state, value = mapped(model, state, jnp.asarray(tokens))
        values.append(float(np.asarray(value)))
        print(f"step {number + 1}: {values[-1]:.4f}")
    return values


if __name__ == "__main__":
    with one_line_errors():
        train(read_config(Pretraining, __doc__ or ""))
