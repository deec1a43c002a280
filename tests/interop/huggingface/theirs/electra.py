"""Small ELECTRAs: generators and discriminators, whose embeddings are narrower than their states or not."""

import transformers

from tests.interop.huggingface.theirs.bert import SIZES, case_of

OWN = SIZES | {"embedding_size": 4}


def case(kind, **changes):
    return case_of(kind(transformers.ElectraConfig(**OWN | changes)))


CASES = {
    "ElectraForMaskedLM": case(transformers.ElectraForMaskedLM),
    "ElectraForMaskedLM-wide": case(
        transformers.ElectraForMaskedLM, embedding_size=6, tie_word_embeddings=False
    ),
    "ElectraForPreTraining": case(transformers.ElectraForPreTraining, hidden_act="relu"),
    "ElectraModel": case(transformers.ElectraModel, embedding_size=6),
}
