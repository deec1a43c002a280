"""data2vec on novels (Baevski et al. 2022), at the size of `novels_encoder.py`.

    python train.py --config configs/masked_embedding_novels.py --data.path prepared/novels
    python train.py --config configs/masked_embedding_novels.py --objective.targets frozen --run runs/frozen

The spread of the targets tells whether the teacher has collapsed: it must not go to 0.
"""

from jaxssl.data import Rows
from jaxssl.models import modern
from jaxssl.objectives import MaskedEmbedding
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/novels", batch=96),
    objective=MaskedEmbedding(
        encoder=modern(depth=4, width=192, heads=3, max_length=64),
        last=3,
        momentum=0.99,
        momentum_end=0.999,
        momentum_steps=2_000,
        rate=0.2,
    ),
    optimizer=AdamW(peak=1e-3, warmup=200),
    steps=3_300,
    evaluate_batches=100,
)
