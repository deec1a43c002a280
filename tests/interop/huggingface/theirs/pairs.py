"""What torch computes by an encoder and a decoder, every document of a packed row by itself."""

import numpy as np
import torch

random = np.random.default_rng(2)
VOCABULARY = 19
# A row with padding, which theirs reads as it is, and a row of two documents.
SEGMENTS = np.array([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 2, 2]], np.int32)
WRITTEN_SEGMENTS = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 2, 2, 2, 2]], np.int32)
TOKENS = np.where(SEGMENTS == 0, 0, random.integers(2, VOCABULARY, SEGMENTS.shape))
WRITTEN = np.where(WRITTEN_SEGMENTS == 0, 0, random.integers(2, VOCABULARY, (2, 6)))
INPUTS = {
    "tokens": TOKENS.astype(np.int32),
    "segments": SEGMENTS,
    "written": WRITTEN.astype(np.int32),
    "written_segments": WRITTEN_SEGMENTS,
}


def documents(inputs):
    """Row, positions read and positions written of every document; a row of one document is whole."""
    for row, segments in enumerate(inputs["segments"]):
        numbers = sorted(set(segments.tolist()) - {0})
        for number in numbers:
            whole = len(numbers) == 1
            here = torch.ones_like(segments, dtype=bool) if whole else segments == number
            written = inputs["written_segments"][row]
            there = torch.ones_like(written, dtype=bool) if whole else written == number
            yield row, here, there


def run(model, inputs, row, here, there):
    return model(
        input_ids=inputs["tokens"][row, here][None].long(),
        attention_mask=(inputs["segments"][row, here] != 0)[None].long(),
        decoder_input_ids=inputs["written"][row, there][None].long(),
        output_hidden_states=True,
        use_cache=False,
    )


def outputs(model, inputs):
    results = {}

    def put(name, row, chosen, values, like):
        shape = (*values.shape[:-3], *like.shape, values.shape[-1])
        whole = results.setdefault(name, torch.zeros(shape))
        whole[..., row, chosen, :] = values[..., 0, :, :]

    for row, here, there in documents(inputs):
        found = run(model, inputs, row, here, there)
        read, written = inputs["segments"], inputs["written_segments"]
        put("states", row, here, torch.stack(found.encoder_hidden_states), read)
        put("written_states", row, there, torch.stack(found.decoder_hidden_states), written)
        if "logits" in found:
            put("logits", row, there, found.logits, written)
    for name, value in results.items():
        real = inputs["segments" if name == "states" else "written_segments"] != 0
        results[name] = torch.where(real[..., None], value, 0.0)
    return results


def loss(model, inputs):
    total, count = 0.0, 0
    for row, here, there in documents(inputs):
        logits = run(model, inputs, row, here, there).logits[0, :-1]
        targets = inputs["written"][row, there][1:].long()
        real = inputs["written_segments"][row, there][1:] != 0
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        total, count = total + nats[real].sum(), count + real.sum()
    return total / count
