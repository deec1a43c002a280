"""BERT-Small (Turc et al. 2019, L4 H512) on your own text, masked LM with sentence order.

    jaxssl prepare TEXT --into prepared/text --length 128 --tokenizer bert-base-uncased-vocab.txt
    python train.py --config configs/bert_small.py --data.path prepared/text

Published: GLUE 71.2 (Turc et al. 2019, distilled); 75.1 (Clark et al. 2020, L12 H256, from scratch).
"""

from jaxssl.data import Rows
from jaxssl.models import bert
from jaxssl.objectives import MaskedLM, SentenceOrder
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=256),
    objective=MaskedLM(
        encoder=bert(depth=4, width=512, heads=8), masking="words", second_task=SentenceOrder()
    ),
    optimizer=AdamW(peak=5e-4, warmup=5_000),
    steps=100_000,
)
