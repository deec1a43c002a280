"""What torch computes of packed rows by decoders alone, and what it trains with."""

import numpy as np
import torch

random = np.random.default_rng(1)
VOCABULARY = 19
# A row with padding, and a row of two documents.
SEGMENTS = np.array([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 2, 2]], np.int32)
POSITIONS = np.array([[0, 1, 2, 3, 4, 0, 0], [0, 1, 2, 0, 1, 2, 3]], np.int32)
TOKENS = random.integers(1, VOCABULARY, SEGMENTS.shape).astype(np.int32)
TOKENS[SEGMENTS == 0] = 0
INPUTS = {"tokens": TOKENS, "segments": SEGMENTS}


def run(model, inputs, window=None):
    """Hidden states of all layers, and logits where there is a head."""
    segments = inputs["segments"]
    length = segments.shape[1]
    behind = torch.arange(length)[:, None] - torch.arange(length)[None]
    seen = (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] != 0)
    seen = seen & (behind >= 0)
    masks = [seen]
    if window is not None:
        masks.append(seen & (behind < window))
    floats = [torch.where(mask, 0.0, torch.finfo(torch.float32).min)[:, None] for mask in masks]
    mask = floats[0]
    if window is not None:  # models with local layers take a mask for each kind
        kinds = getattr(model.config, "layer_types", None)
        mask = floats[1]
        if kinds is not None:
            mask = dict(zip(("full_attention", "sliding_attention"), floats, strict=True))
    return model(
        inputs["tokens"].long(),
        attention_mask=mask,
        position_ids=torch.tensor(POSITIONS).long(),
        output_hidden_states=True,
        use_cache=False,
    )


def outputs(model, inputs, window=None):
    found = run(model, inputs, window)
    real = (inputs["segments"] != 0)[:, :, None]
    results = {"states": torch.where(real[None], torch.stack(found.hidden_states), 0.0)}
    if "logits" in found:
        results["logits"] = torch.where(real, found.logits, 0.0)
    return results


def loss(model, inputs, window=None):
    segments, tokens = inputs["segments"], inputs["tokens"].long()
    logits = run(model, inputs, window).logits[:, :-1]
    nats = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), tokens[:, 1:], reduction="none"
    )
    counts = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] != 0)
    return nats[counts].mean()
