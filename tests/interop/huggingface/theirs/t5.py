"""Small T5s, of version 1.0 and 1.1."""

import torch
import transformers

from tests.interop.huggingface.theirs.case import Case
from tests.interop.huggingface.theirs.pairs import INPUTS, VOCABULARY, loss, outputs

SIZES = {
    "vocab_size": VOCABULARY,
    "d_model": 6,
    "d_kv": 4,
    "d_ff": 10,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 6,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}


def case(kind, **changes):
    model = kind(transformers.T5Config(**SIZES | changes))
    if changes.get("tie_word_embeddings") is False:
        # As published folders of version 1.1 are read: with a head of its own.
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        tied = {n: s for n, s in model.all_tied_weights_keys.items() if n != "lm_head.weight"}
        model.all_tied_weights_keys = tied
        model.tie_weights = lambda: None  # all but the head share their parameters already
    return Case(model, INPUTS, outputs, loss if hasattr(model, "lm_head") else None)


CASES = {
    "T5ForConditionalGeneration": case(transformers.T5ForConditionalGeneration),
    "T5ForConditionalGeneration-1.1": case(
        transformers.T5ForConditionalGeneration,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        num_decoder_layers=2,
    ),
    "T5Model": case(transformers.T5Model, num_layers=1, num_decoder_layers=1),
}
