"""Skip-gram at the size of its paper (Mikolov et al. 2013, "Distributed Representations", section 3).

    jaxssl prepare TEXT --into prepared/text --length 512 --vocab-size 32000
    python train.py --config configs/skip_gram_base.py --data.path prepared/text

The published vectors: 300 numbers, a billion words of news, 5 negatives, subsampling at 1e-5: 60 % of the
word analogies, in 14 minutes of word2vec's C code (table 1). Their words are whole, ours are tokens.
"""

from jaxssl.data import Rows
from jaxssl.objectives import WordVectors
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=512),
    objective=WordVectors(width=300, window=5, negatives=5, subsample=1e-5),
    optimizer=AdamW(peak=2e-3, warmup=1_000, decay=0.0, epsilon=1e-12),
    steps=20_000,
    evaluate_every=2_000,
    save_every=2_000,
)
