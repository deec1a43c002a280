"""What the tests of decoders share: our outputs and losses, and the checks of a family's golden numbers."""

from dataclasses import replace

import jax.numpy as jnp

from jaxssl.interop.huggingface.network_check import plain
from tests.interop.huggingface.golden_files import (
    arrays,
    check_outputs,
    check_round_trip,
    check_ten_steps,
    imported,
    next_token_loss,
)


def outputs(found, inputs):
    """What theirs/decoders.py computes, by our network."""
    decoder, real = found.model.decoder, (inputs["segments"] != 0)[:, :, None]
    states = decoder.hidden_states(inputs["tokens"], inputs["segments"])
    last = decoder.final_norm(states[-1])
    results = {"states": jnp.where(real[None], jnp.concatenate([states[:-1], last[None]]), 0)}
    if not found.architecture.endswith("Model") or "LMHead" in found.architecture:
        logits = last @ found.model.output_embedding().T
        results["logits"] = jnp.where(real, logits, 0)
    return results


def loss_of(inputs):
    tokens, segments = inputs["tokens"], inputs["segments"]

    def loss(model):
        logits = model.decoder(tokens, segments)[:, :-1] @ model.output_embedding().T
        return next_token_loss(logits, tokens, segments)

    return loss


def check_numbers(entry, folder):
    """Logits and all states to 1e-5, and equal bytes."""
    found = imported(entry, folder)
    check_outputs(entry, found, outputs)
    if "logits" not in entry["outputs"] and not found.objective.decoder.tied_head:
        assert found.missing == ("output_kernel",)  # a network without its head
        found = replace(found, missing=())
    check_round_trip(entry, found)


def check_training(entry, folder):
    """Ten steps of gradient descent to 1e-4."""
    found = imported(entry, folder)
    check_ten_steps(entry, found, loss_of(arrays(entry["inputs"])), falls=0.1)


def check_config(family, entry, folder):
    """What goes out describes the same network."""
    found = imported(entry, folder)
    out = family.config(found.objective, found.spec, found.architecture)
    again = family.objective(out, found.architecture)
    assert plain(again.decoder) == plain(found.objective.decoder)
    assert out["vocab_size"] == entry["config"]["vocab_size"]
