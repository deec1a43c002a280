import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.rules import (
    SAME,
    TRANSPOSED,
    Rule,
    names_of,
    read_parameters,
    split,
    write_parameters,
)
from jaxssl.interop.huggingface.tensor_files import open_tensors
from tests.interop.huggingface.random_folder import write_safetensors

RULES = (
    Rule("words", ("table",)),
    Rule("layers.{layer}.qk", ("q", "k"), split(2, 3, transposed=True)),
    Rule("layers.{layer}.norm", ("scale",), absent_layers=(0,)),
)
TEMPLATE = {
    "k": jax.ShapeDtypeStruct((2, 4, 3), jnp.float32),
    "q": jax.ShapeDtypeStruct((2, 4, 2), jnp.float32),
    "scale": jax.ShapeDtypeStruct((2, 4), jnp.float32),
    "table": jax.ShapeDtypeStruct((5, 4), jnp.float32),
}
RANDOM = np.random.default_rng(0)
TENSORS = {
    "words": RANDOM.normal(size=(5, 4)).astype(np.float32),
    "layers.0.qk": RANDOM.normal(size=(5, 4)).astype(np.float32),
    "layers.1.qk": RANDOM.normal(size=(5, 4)).astype(np.float32),
    "layers.1.norm": RANDOM.normal(size=4).astype(np.float32),
}


def files_of(folder, tensors):
    write_safetensors(folder / "model.safetensors", tensors)
    return open_tensors(folder)


def test_fused_tensors_are_split_and_layers_are_stacked(tmp_path):
    found, missing = read_parameters(RULES, files_of(tmp_path, TENSORS), TEMPLATE)
    assert not missing
    np.testing.assert_array_equal(found["table"], TENSORS["words"])
    np.testing.assert_array_equal(found["q"][1], TENSORS["layers.1.qk"][:2].T)
    np.testing.assert_array_equal(found["k"][0], TENSORS["layers.0.qk"][2:].T)
    np.testing.assert_array_equal(found["scale"], [[1] * 4, TENSORS["layers.1.norm"]])
    goes = dict(write_parameters(RULES, found))
    assert list(goes) == ["words", "layers.0.qk", "layers.1.qk", "layers.1.norm"]
    for name, tensor in TENSORS.items():
        assert goes[name].tobytes() == tensor.tobytes()
    assert set(names_of(RULES, TEMPLATE)) == set(TENSORS)


def test_every_device_reads_its_own_part(tmp_path):
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = {"k": (None, "x"), "q": (None, None, "x"), "scale": ("x",), "table": (None, "x")}
    shardings = {
        name: jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for name, axes in spec.items()
    }
    files = files_of(tmp_path, TENSORS)
    plain, _ = read_parameters(RULES, files, TEMPLATE)
    found, _ = read_parameters(RULES, files, TEMPLATE, sharding=shardings)
    for name, array in found.items():
        assert array.sharding == shardings[name]
        np.testing.assert_array_equal(np.asarray(array), np.asarray(plain[name]))


def test_missing_tensors_are_named_and_half_missing_ones_refused(tmp_path):
    some = {name: tensor for name, tensor in TENSORS.items() if name != "words"}
    found, missing = read_parameters(RULES[:2], files_of(tmp_path, some), TEMPLATE)
    assert missing == ["scale", "words"]
    assert set(found) == {"q", "k"}
    del some["layers.0.qk"]
    with pytest.raises(InputError, match=r"1 of 2 layers .*layers\.0\.qk is missing"):
        read_parameters(RULES, files_of(tmp_path, some), TEMPLATE)


def test_other_shapes_and_types_are_refused(tmp_path):
    for changed, message in (
        ({"words": np.zeros((6, 4), np.float32)}, r"words of shape \[6, 4\] does not fit"),
        ({"layers.0.qk": np.zeros((6, 4), np.float32)}, "axis 0 must have the size 5"),
        ({"words": np.zeros((5, 4), np.float64)}, "float64"),
        ({"words": np.zeros((5, 4), np.int8)}, "needs scales"),
    ):
        with pytest.raises(InputError, match=message):
            read_parameters(RULES, files_of(tmp_path, TENSORS | changed), TEMPLATE)


def test_a_table_that_is_wrong_is_a_bug(tmp_path):
    files = files_of(tmp_path, TENSORS)
    with pytest.raises(ValueError, match="two rules"):
        read_parameters((*RULES, Rule("again", ("q",))), files, TEMPLATE)
    with pytest.raises(ValueError, match="no parameter"):
        read_parameters((Rule("words", ("tables",)),), files, TEMPLATE)


def test_arrangements_undo_themselves():
    tensor = RANDOM.normal(size=(6, 4)).astype(np.float32)
    for arrangement in (
        SAME,
        TRANSPOSED,
        split(1, 5),
        split(3, 1, axis=1),
        split(2, 4, transposed=True),
    ):
        np.testing.assert_array_equal(arrangement.outward(arrangement.inward(tensor)), tensor)
