"""Small DistilBERTs."""

import transformers

from tests.interop.huggingface.theirs.bert import VOCABULARY, case_of

OWN = {
    "vocab_size": VOCABULARY,
    "dim": 6,
    "n_layers": 2,
    "n_heads": 3,
    "hidden_dim": 10,
    "max_position_embeddings": 9,
    "attn_implementation": "eager",
}


def case(kind, **changes):
    return case_of(kind(transformers.DistilBertConfig(**OWN | changes)))


CASES = {
    "DistilBertForMaskedLM": case(transformers.DistilBertForMaskedLM),
    "DistilBertForMaskedLM-untied": case(
        transformers.DistilBertForMaskedLM, tie_word_embeddings=False
    ),
    "DistilBertModel": case(transformers.DistilBertModel, activation="relu"),
}
