"""SimCSE of BERT-base, unsupervised (Gao et al. 2021), from a masked LM that `bert_base.py` has made.

    jaxssl prepare SENTENCES --documents blank_line --into prepared/sentences --length 32 \\
        --tokenizer runs/bert_base/tokenizer
    python train.py --config configs/simcse_bert_base.py --start runs/bert_base

Published (section 6 and appendix A): a million sentences of Wikipedia, one epoch, batch 64, learning rate
3e-5, at most 32 tokens. Spearman x 100, table 5: STS-B 76.9, SICK-R 72.2, seven sets 76.3; the mean of BERT's
own first and last layers 53.9, 62.1, 56.7. Here a row of 32 tokens may hold several short sentences, so that
a batch contrasts more than 64.
"""

from jaxssl.data import Rows
from jaxssl.models import bert
from jaxssl.objectives import SimCSE
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/sentences", batch=64),
    objective=SimCSE(
        encoder=bert(depth=12, width=768, heads=12, compute_dtype="bfloat16"), pooling="projector"
    ),
    optimizer=AdamW(peak=3e-5, warmup=0, decay=0.0, epsilon=1e-8),
    start="runs/bert_base",
    steps=15_625,
    evaluate_every=500,
    save_every=500,
)
