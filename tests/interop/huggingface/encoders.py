"""What `theirs/bert.py` computes of an encoder of text, by our networks, and checks of all families."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax

from jaxssl import losses as our_losses
from jaxssl.interop.huggingface.family import family_of
from jaxssl.objectives.electra import Electra
from tests.interop.huggingface.golden_files import (
    arrays,
    check_outputs,
    check_round_trip,
    check_ten_steps,
    imported,
    written,
)
from tests.interop.huggingface.random_folder import write_folder


def has_head(found):
    return found.architecture.endswith(("ForMaskedLM", "ForPreTraining"))


def head_of(found, states):
    """Logits of tokens, or that a token was replaced."""
    model = found.model
    if isinstance(found.objective, Electra):
        return model.replaced_head(states)[..., None]
    logits = model.token_head(states) @ model.output_embedding().T
    return logits + model.output_bias[...].reshape((1,) * (logits.ndim - 1) + (-1,))


def states_of(found, inputs, *, every=False):
    """States after the final norm; of every layer those before it."""
    network = found.objective.network(found.model)
    types = inputs["types"] if network.config.segment_types > 1 else None
    rows = (inputs["tokens"], inputs["segments"])
    if not every:
        return network(*rows, types=types)
    states = network.hidden_states(*rows, types=types)
    if network.final_norm is not None:  # which theirs has in its last entry
        states = states.at[-1].set(network.final_norm(states[-1]))
    return states


def outputs(found, inputs):
    """All that is compared, with zeros in padding."""
    real = inputs["segments"] != 0
    states = states_of(found, inputs, every=True)
    results = {"states": jnp.where(real[None, :, :, None], states, 0)}
    if has_head(found):
        results["logits"] = jnp.where(real[:, :, None], head_of(found, states[-1]), 0)
    if found.architecture == "BertForPreTraining":
        results["pairs"] = found.model.pair_head(states[-1][:, 0])
    return results


def loss_of(found, inputs):
    """The function from a model to the loss of theirs/bert.py."""
    rows = np.arange(len(inputs["tokens"]))[:, None]

    def loss(model):
        own = replace(found, model=model)
        states = states_of(own, inputs)
        if isinstance(found.objective, Electra):
            logits, replaced = head_of(own, states)[..., 0], inputs["types"] == 1
            real = (inputs["segments"] != 0).astype(np.float32)
            return our_losses.replaced_token_detection(logits, replaced, real)
        logits = head_of(own, states[rows, inputs["masked"]])
        value = optax.softmax_cross_entropy_with_integer_labels(logits, inputs["targets"]).mean()
        if found.architecture == "BertForPreTraining":
            pairs = model.pair_head(states[:, 0])
            labels = inputs["labels"]
            value += optax.softmax_cross_entropy_with_integer_labels(pairs, labels).mean()
        return value

    return loss


def check_case(entry, folder):
    """States and logits are those of torch, and what goes out is what came in."""
    found = imported(entry, folder)
    check_outputs(entry, found, outputs)
    check_missing(found)
    check_round_trip(entry, replace(found, missing=()))


def check_missing(found):
    """Only heads that a class of theirs does not have begin with random parameters."""
    if isinstance(found.objective, Electra):
        heads = ("generator/",) + (() if has_head(found) else ("transform/", "classifier/"))
    else:
        heads = () if has_head(found) else ("transform", "output_")
    assert all(name.startswith(heads or "none") for name in found.missing), found.missing
    assert not [name for name in found.unused.names if "pooler" not in name and "bias" not in name]


def check_losses(entry, folder):
    """Ten steps of gradient descent have the losses of torch."""
    found = imported(entry, folder)
    check_ten_steps(entry, found, loss_of(found, arrays(entry["inputs"])), falls=0.005)


def check_config(entry, folder):
    """What goes out describes the same network."""
    found = imported(entry, folder)
    family = family_of(found.config)
    config = family.config(found.objective, found.spec, found.architecture)
    assert family.objective(config, found.architecture) == found.objective
    assert config["model_type"] == entry["config"]["model_type"]
    for field in ("vocab_size", "max_position_embeddings", "pad_token_id"):
        assert config[field] == entry["config"].get(field, config[field])


def check_with_torch(module, entries, folder):
    """Torch computes the golden numbers, and loads what goes out with no missing or unexpected key."""
    from tests.interop.huggingface.theirs import case

    for name, one in module.CASES.items():
        entry = case.record(one)
        assert entry["shapes"] == entries[name]["shapes"]
        configs = [{**one["config"], "dtype": "float32"} for one in (entry, entries[name])]
        assert configs[0] == configs[1]
        for part, value in entry["outputs"].items():
            np.testing.assert_allclose(value, entries[name]["outputs"][part], atol=1e-5)
        np.testing.assert_allclose(entry["losses"], entries[name]["losses"], atol=1e-4)
        found = imported(entries[name], folder / name / "in")
        family = family_of(found.config)
        config = family.config(found.objective, found.spec, found.architecture)
        out = write_folder(folder / name / "out", config, written(found))
        case.reloaded(out, found.architecture)
