"""Small RoBERTas: the row of padding is 1, so that the first position is in row 2."""

import transformers

from tests.interop.huggingface.theirs.bert import SIZES, case_of

OWN = SIZES | {"pad_token_id": 1, "type_vocab_size": 1, "max_position_embeddings": 11}


def case(kind, config=transformers.RobertaConfig, **changes):
    return case_of(kind(config(**OWN | changes)))


CASES = {
    "RobertaForMaskedLM": case(transformers.RobertaForMaskedLM, layer_norm_eps=1e-5),
    "RobertaForMaskedLM-untied": case(
        transformers.RobertaForMaskedLM, tie_word_embeddings=False, pad_token_id=0
    ),
    "RobertaModel": case(transformers.RobertaModel),
    "XLMRobertaForMaskedLM": case(
        transformers.XLMRobertaForMaskedLM, transformers.XLMRobertaConfig
    ),
}
