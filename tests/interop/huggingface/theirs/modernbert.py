"""Small ModernBERTs: local layers between global ones, with and without biases."""

import transformers

from tests.interop.huggingface.theirs.bert import VOCABULARY, case_of

OWN = {
    "vocab_size": VOCABULARY,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 9,
    "local_attention": 4,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "attn_implementation": "eager",
}
BIASES = dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"), True)


def case(kind, **changes):
    return case_of(kind(transformers.ModernBertConfig(**OWN | changes)))


CASES = {
    "ModernBertForMaskedLM": case(transformers.ModernBertForMaskedLM),
    "ModernBertForMaskedLM-biases": case(
        transformers.ModernBertForMaskedLM,
        tie_word_embeddings=False,
        hidden_activation="silu",
        norm_eps=1e-3,
        **BIASES,
    ),
    "ModernBertModel": case(transformers.ModernBertModel, layer_types=["full_attention"] * 3),
}
