"""Small sentencepiece models, trained in the tests."""

import io
from functools import cache
from typing import Any

import sentencepiece

from jaxssl.data.sources.standard_library import topics

TEXTS = [text for _, text in topics()[:20]]


@cache
def tiny_model(*, fairseq: bool = False, **options: Any) -> tuple[bytes, Any]:
    """Returns a model of 400 pieces and its processor.

    Args:
      fairseq: Whether its first pieces are those of XLM-RoBERTa, else those of T5.
      **options: Other options of the trainer.
    """
    model = io.BytesIO()
    first = {} if fairseq else {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in TEXTS for line in text.split("\n") if line),
        model_writer=model,
        num_threads=1,
        minloglevel=2,
        **{"vocab_size": 400, "normalization_rule_name": "identity", **first, **options},
    )
    data = model.getvalue()
    return data, sentencepiece.SentencePieceProcessor(model_proto=data)
