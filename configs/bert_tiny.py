"""BERT-Tiny (Turc et al. 2019, L2 H128) on your own text, masked LM.

    jaxssl prepare TEXT --into prepared/text --length 128 --tokenizer bert-base-uncased-vocab.txt
    python train.py --config configs/bert_tiny.py --data.path prepared/text

Published: GLUE 64.2 (Turc et al. 2019, distilled from BERT-Large on Wikipedia and books).
"""

from jaxssl.data import Rows
from jaxssl.models import bert
from jaxssl.objectives import MaskedLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=256),
    objective=MaskedLM(encoder=bert(depth=2, width=128, heads=2)),
    optimizer=AdamW(peak=1e-3, warmup=1_000),
    steps=20_000,
)
