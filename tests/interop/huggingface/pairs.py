"""What the tests of encoders with decoders share: our outputs and losses, and the checks of a family."""

import jax.numpy as jnp

from jaxssl.interop.huggingface.network_check import plain
from jaxssl.models.encoder_decoder import Memory
from jaxssl.models.transformer_layers import finish
from tests.interop.huggingface.golden_files import (
    arrays,
    check_outputs,
    check_round_trip,
    check_ten_steps,
    imported,
    next_token_loss,
)


def outputs(found, inputs):
    """What theirs/pairs.py computes, by our networks."""
    model, real = found.model, (inputs["written_segments"] != 0)[:, :, None]
    states = _with_final_norm(
        model.encoder, model.encoder.hidden_states(inputs["tokens"], inputs["segments"])
    )
    memory = Memory(states[-1], inputs["segments"])
    embedded = model.embed(inputs["written"])
    written = model.decoder.hidden_states(embedded, inputs["written_segments"], memory)
    results = {
        "states": jnp.where((inputs["segments"] != 0)[None, :, :, None], states, 0),
        "written_states": jnp.where(real[None], _with_final_norm(model.decoder, written), 0),
    }
    if found.architecture.endswith("Generation"):
        last = finish(model.decoder.config, model.decoder.final_norm, written[-1])
        logits = last @ model.output_embedding().T
        results["logits"] = jnp.where(real, logits, 0)
    return results


def _with_final_norm(network, states):
    """The last entry with the final norm, if there is one, as in theirs."""
    norm = network.final_norm
    last = states[-1] if norm is None else norm(states[-1])
    return jnp.concatenate([states[:-1], last[None]])


def loss_of(inputs):
    written, segments = inputs["written"], inputs["written_segments"]

    def loss(model):
        memory = Memory(model.encoder(inputs["tokens"], inputs["segments"]), inputs["segments"])
        states = model.decode(written, segments, memory)[:, :-1]
        logits = states @ model.output_embedding().T
        return next_token_loss(logits, written, segments)

    return loss


def check_numbers(entry, folder):
    """Logits and all states to 1e-5, and equal bytes."""
    found = imported(entry, folder)
    check_outputs(entry, found, outputs)
    check_round_trip(entry, found)


def check_training(entry, folder):
    """Ten steps of gradient descent to 1e-4."""
    found = imported(entry, folder)
    check_ten_steps(entry, found, loss_of(arrays(entry["inputs"])), falls=0.1)


def check_config(family, entry, folder):
    """What goes out describes the same networks."""
    found = imported(entry, folder)
    out = family.config(found.objective, found.spec, found.architecture)
    again = family.objective(out, found.architecture)
    for half in ("encoder", "decoder"):
        assert plain(getattr(again, half)) == plain(getattr(found.objective, half))
    assert out["vocab_size"] == entry["config"]["vocab_size"]
