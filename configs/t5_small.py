"""T5-small (Raffel et al. 2020, L6+6 H512), span corruption, on GPUs or TPUs.

    jaxssl prepare TEXT --into prepared/text --length 568 --vocab-size 32000
    python train.py --config configs/t5_small.py --data.path prepared/text

Rows of 568 tokens are read as 515 and written as 124, with room for four documents. T5 makes 512 and 114 of
568 (section 3.1.4); with `documents=1` they would be 511 and 115 here, where rows hold begin and end tokens.
Here: a gated feed-forward part (T5 1.1; 73 M parameters instead of 60 M), rotary for relative positions,
bfloat16, AdamW with a cosine for Adafactor with 1/sqrt(step).

Published: T5-small after 2^20 steps of 2^11 rows, supervised tasks among them: GLUE 77.4, SQuAD 79.10 exact
match (section 3.7, table 14).
"""

from jaxssl.data import Rows
from jaxssl.models import t5
from jaxssl.objectives import SpanCorruption
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

HALF = {"max_length": 568, "compute_dtype": "bfloat16"}

config = Pretraining(
    data=Rows("prepared/text", batch=2048),
    objective=SpanCorruption(encoder=t5(**HALF), decoder=t5(**HALF, causal=True)),
    optimizer=AdamW(peak=1e-3, warmup=10_000, schedule="cosine", final=0.1),
    steps=1_048_576,
    save_every=5_000,
    evaluate_every=5_000,
)
