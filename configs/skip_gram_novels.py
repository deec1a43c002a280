"""Skip-gram word vectors from novels (Mikolov et al. 2013): minutes on one core.

    python train.py --config configs/skip_gram_novels.py --data.path prepared/novels
    jaxssl words runs/skip_gram_novels king house sea --into vectors.txt
    python -m benchmarks.word_similarity runs/skip_gram_novels

Rows as for `novels_encoder.py`; the words are its tokens. CBOW: --objective.model cbow.

On novels_en 6 CPU minutes (90,000 tokens/s of one core, 2.4 epochs): 60 pairs of words are ordered with
a Spearman correlation of 73 (random vectors 1 ± 12); mother is next to sister, red to black, two to three.
"""

from jaxssl.data import Rows
from jaxssl.objectives import WordVectors
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/novels", batch=256),
    objective=WordVectors(width=100, window=5, negatives=5),
    # A mean over a hundred thousand pairs: a rare word's gradient is smaller than Adam's usual epsilon.
    optimizer=AdamW(peak=2e-2, warmup=100, decay=0.0, epsilon=1e-12),
    steps=2_000,
    report_every=100,
    evaluate_every=500,
    save_every=500,
)
