"""Small BERTs."""

import numpy as np
import torch
import transformers

from tests.interop.huggingface.theirs.case import Case

VOCABULARY = 19
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 9,
    "attn_implementation": "eager",
}
random = np.random.default_rng(0)
TOKENS = random.integers(1, VOCABULARY, (2, 7)).astype(np.int32)
# A row with padding, and a row of two documents.
SEGMENTS = np.array([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 2, 2, 2, 2]], np.int32)
POSITIONS = np.array([[0, 1, 2, 3, 4, 0, 0], [0, 1, 2, 0, 1, 2, 3]], np.int32)
TOKENS[SEGMENTS == 0] = 0
TYPES = np.array([[0, 0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 0, 0, 1]], np.int32)
INPUTS = {
    "tokens": TOKENS,
    "segments": SEGMENTS,
    "types": TYPES,
    "masked": np.array([[1, 3], [2, 6]], np.int32),
    "targets": np.array([[4, 5], [6, 7]], np.int32),
    "labels": np.array([0, 1], np.int32),
}


def states(model, inputs):
    """Hidden states of packed rows, those of padding 0."""
    segments = inputs["segments"]
    seen = (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] != 0)
    mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]
    network = getattr(model, "base_model", model)
    types = {"token_type_ids": inputs["types"].long()} if "types" in inputs else {}
    found = network(
        inputs["tokens"].long(),
        attention_mask=mask,
        position_ids=torch.tensor(POSITIONS).long(),
        output_hidden_states=True,
        **types,
    )
    return torch.stack(found.hidden_states)


def outputs(model, inputs):
    found = states(model, inputs)
    real = (inputs["segments"] != 0)[None, :, :, None]
    results = {"states": torch.where(real, found, 0.0)}
    if hasattr(model, "cls"):
        logits = model.cls.predictions(found[-1])
        results["logits"] = torch.where(real[0], logits, 0.0)
    if hasattr(model.base_model, "pooler") and hasattr(
        getattr(model, "cls", None), "seq_relationship"
    ):
        results["pairs"] = model.cls.seq_relationship(model.base_model.pooler(found[-1]))
    return results


def loss(model, inputs):
    last = states(model, inputs)[-1]
    rows = torch.arange(len(last))[:, None]
    logits = model.cls.predictions(last[rows, inputs["masked"].long()])
    value = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), inputs["targets"].flatten().long()
    )
    if hasattr(model.cls, "seq_relationship"):
        pairs = model.cls.seq_relationship(model.base_model.pooler(last))
        value = value + torch.nn.functional.cross_entropy(pairs, inputs["labels"].long())
    return value


def case(kind, **changes):
    with_loss = hasattr(kind(transformers.BertConfig(**SIZES)), "cls")
    model = kind(transformers.BertConfig(**SIZES | changes))
    return Case(model, INPUTS, outputs, loss if with_loss else None)


CASES = {
    "BertForMaskedLM": case(transformers.BertForMaskedLM),
    "BertForMaskedLM-untied": case(
        transformers.BertForMaskedLM, tie_word_embeddings=False, hidden_act="gelu_new"
    ),
    "BertForPreTraining": case(transformers.BertForPreTraining, type_vocab_size=3),
    "BertModel": case(transformers.BertModel, hidden_act="relu", layer_norm_eps=1e-5),
}
