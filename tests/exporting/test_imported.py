"""What came in goes out again: the same class, and every tensor with the same bytes."""

import ml_dtypes
import numpy as np
import pytest

from jaxssl.exporting.export import export_run
from jaxssl.interop.huggingface.tensor_files import open_tensors
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import random_tensors, write_folder
from tests.interop.huggingface.small_folders import small_bert


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_tensor_has_the_same_bytes(tmp_path, dtype):
    entry = golden("bert")["BertForMaskedLM"]
    folder = small_bert(tmp_path / "bert")  # for its vocabulary
    tensors = random_tensors(entry["shapes"]) | {
        "bert.pooler.dense.weight": np.ones((3, 3), np.float32),  # of no use to masked LM
        "counts": np.arange(3),
    }
    kinds = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
    tensors = {
        name: tensor.astype(kinds[dtype]) if tensor.dtype == np.float32 else tensor
        for name, tensor in tensors.items()
    }
    write_folder(folder, entry["config"] | {"dtype": dtype}, tensors)
    done = export_run(f"hf:{folder}", tmp_path / "out")
    assert done.what == "a `BertForMaskedLM` of transformers"
    assert done.difference == 0
    before, after = open_tensors(folder), open_tensors(tmp_path / "out")
    assert sorted(before.names) == sorted(after.names)
    for name in before.names:
        assert before.view(name).dtype == after.view(name).dtype
        assert before.view(name).tobytes() == after.view(name).tobytes()
