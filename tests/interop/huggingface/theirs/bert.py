"""Small BERTs, and what encoders of text have in common: inputs, states, logits and losses."""

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


def masks(inputs, window=None):
    """What may be seen, in the form that is added to scores."""
    segments = inputs["segments"]
    seen = (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] != 0)
    if window is not None:
        places = torch.arange(segments.shape[1])
        seen = seen & ((places[:, None] - places[None]).abs() <= window)
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]


def states(model, inputs):
    """Hidden states of packed rows."""
    network, kind = model.base_model, model.config.model_type
    options = {"attention_mask": masks(inputs)}
    positions = torch.tensor(POSITIONS).long()
    if kind == "modernbert":
        local = masks(inputs, model.config.sliding_window)
        options["attention_mask"] = {
            "full_attention": options["attention_mask"],
            "sliding_attention": local,
        }
    if kind in ("roberta", "xlm-roberta"):
        positions = positions + model.config.pad_token_id + 1
    if kind in ("bert", "electra"):
        options["token_type_ids"] = inputs["types"].long()
    found = network(
        inputs["tokens"].long(), position_ids=positions, output_hidden_states=True, **options
    )
    return torch.stack(found.hidden_states)


def head_of(model):
    """The function from states to logits; None for a network without a head."""
    kind, name = model.config.model_type, type(model).__name__
    if not name.endswith(("ForMaskedLM", "ForPreTraining")):
        return None
    if kind == "bert":
        return model.cls.predictions
    if kind in ("roberta", "xlm-roberta"):
        return model.lm_head
    if kind == "distilbert":
        activation = transformers.activations.get_activation(model.config.activation)
        return lambda x: model.vocab_projector(
            model.vocab_layer_norm(activation(model.vocab_transform(x)))
        )
    if kind == "modernbert":
        return lambda x: model.decoder(model.head(x))
    if name == "ElectraForMaskedLM":
        return lambda x: model.generator_lm_head(model.generator_predictions(x))
    return lambda x: model.discriminator_predictions(x)[..., None]


def pairs_of(model, last):
    """Logits of pairs."""
    return model.cls.seq_relationship(model.base_model.pooler(last))


def outputs(model, inputs):
    found = states(model, inputs)
    real = (inputs["segments"] != 0)[None, :, :, None]
    results = {"states": torch.where(real, found, 0.0)}
    if head := head_of(model):
        results["logits"] = torch.where(real[0], head(found[-1]), 0.0)
    if type(model).__name__ == "BertForPreTraining":
        results["pairs"] = pairs_of(model, found[-1])
    return results


def loss(model, inputs):
    last = states(model, inputs)[-1]
    if type(model).__name__ == "ElectraForPreTraining":
        logits, real = head_of(model)(last)[..., 0], inputs["segments"] != 0
        wanted = (inputs["types"] == 1).float()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, wanted, reduction="none"
        )
        return each[real].mean()
    rows = torch.arange(len(last))[:, None]
    logits = head_of(model)(last[rows, inputs["masked"].long()])
    value = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), inputs["targets"].flatten().long()
    )
    if type(model).__name__ == "BertForPreTraining":
        pairs = pairs_of(model, last)
        value = value + torch.nn.functional.cross_entropy(pairs, inputs["labels"].long())
    return value


def case_of(model):
    """The case of an encoder of text, whose padding is never a token: torch gives its row no gradient."""
    inputs, pad = dict(INPUTS), model.config.pad_token_id
    inputs["tokens"] = np.where(pad == TOKENS, VOCABULARY - 1, TOKENS)
    inputs["tokens"][SEGMENTS == 0] = pad
    return Case(model, inputs, outputs, loss if head_of(model) else None)


def case(kind, **changes):
    return case_of(kind(transformers.BertConfig(**SIZES | changes)))


CASES = {
    "BertForMaskedLM": case(transformers.BertForMaskedLM),
    "BertForMaskedLM-untied": case(
        transformers.BertForMaskedLM, tie_word_embeddings=False, hidden_act="gelu_new"
    ),
    "BertForPreTraining": case(transformers.BertForPreTraining, type_vocab_size=3),
    "BertModel": case(transformers.BertModel, hidden_act="relu", layer_norm_eps=1e-5),
}
