"""A saved model, and the trees of a checkpoint, come back bitwise; all else is refused by name."""

from typing import NamedTuple

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.datasets import load
from relgrad_np.fitting.storage import store
from relgrad_np.runs.checkpoint import pack, read_snapshot, unpack

from ..laws.problems import convert, generic


def model(dtype="float64", library="numpy"):
    case = convert(generic(0, 5, 3, 2, dtype=dtype), library)
    transforms = load("toy:sine", n=50).transforms
    return rg.Model(
        case.layers,
        rg.activation("leaky_tanh", beta=0.3),
        rg.density("student_t", nu=4),
        transforms,
        {"seed": 7},
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", ["numpy", "strict"])
def test_round_trip_is_bitwise(tmp_path, dtype, library):
    one = model(dtype, library)
    rg.save(tmp_path / "m.npz", one)
    two = rg.load(tmp_path / "m.npz")
    plain = model(dtype)
    for a, b in zip(plain.layers, two.layers, strict=True):
        assert np.array_equal(a.W, b.W)
        assert np.array_equal(a.b, b.b)
        assert a.W.dtype == b.W.dtype
    assert (two.activation.name, two.activation.params) == (
        "leaky_tanh",
        {"alpha": 1.0, "beta": 0.3},
    )
    assert (two.density.name, two.density.params) == ("student_t", {"nu": 4.0})
    assert two.transforms == one.transforms
    assert two.config == {"seed": 7}
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def test_no_pickle_is_written_or_read(tmp_path):
    rg.save(tmp_path / "m.npz", model())
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    np.savez(tmp_path / "evil.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"evil.npz` is not a relgrad_np model"):
        rg.load(tmp_path / "evil.npz")


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    for content in (b"", b"hello", b"PK\x03\x04 truncated"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a relgrad_np model"):
            rg.load(path)
    rg.save(path, model())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a relgrad_np model"):
        rg.load(path)
    store.write(path, {"format": 99}, {})
    with pytest.raises(ValueError, match="its format is 99, this version reads 1"):
        rg.load(path)
    with pytest.raises(FileNotFoundError):
        rg.load(tmp_path / "none.npz")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    rg.save(path, model())
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        rg.save(path, model("float32"))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]


def test_a_well_formed_file_with_other_contents_is_refused(tmp_path):
    """The archive's own sums are right, an array was exchanged: the checksum of all tells."""
    path = tmp_path / "m.npz"
    rg.save(path, model())
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["layer_0_b"] = arrays["layer_0_b"] + 1
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="its contents do not match its checksum"):
        rg.load(path)


def test_a_tree_comes_back_bitwise_through_a_file(tmp_path):
    tree = (
        None, True, -np.inf, 2**100, "text", (), (1.5,),
        rg.Tracked(np.float32([1, 2]), np.float32([1, -1]), None),
        {"state": {"key": np.arange(3, dtype="u4"), "pos": 2**70}, "has": 0},
    )  # fmt: skip
    arrays = {}
    described = pack(tree, "tree", arrays)
    store.write(tmp_path / "x.npz", {"tree": described}, arrays)
    header, arrays = store.read(tmp_path / "x.npz")
    again = unpack(header["tree"], arrays)
    assert again[:7] == tree[:7]
    assert type(again[7]) is rg.Tracked
    for a, b in zip(again[7][:2], tree[7][:2], strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
    assert again[8]["state"]["pos"] == 2**70
    np.testing.assert_array_equal(again[8]["state"]["key"], np.arange(3))


class Own(NamedTuple):
    x: float


def test_what_no_checkpoint_may_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a checkpoint may hold Snapshot, State, .*, not Own"):
        pack((1.0, Own(2.0)), "tree", {})
    path = tmp_path / "step-1.npz"
    for header, message in (
        ({"kind": "checkpoint", "format": 1}, "its format is 1, this version reads 3"),
        ({"kind": "model", "format": 1}, "it is a model, not a checkpoint"),
        ({"kind": "checkpoint", "format": 3, "run": "b"}, "it belongs to another run"),
        (
            {"kind": "checkpoint", "format": 3, "run": "a", "snapshot": {"Own": [1]}},
            "KeyError: 'Own'",
        ),
        ({"kind": "checkpoint", "format": 3, "run": "a", "snapshot": {"Layer": [1]}}, "TypeError"),
        ({"kind": "checkpoint", "format": 3, "run": "a", "snapshot": 3}, "AttributeError"),
    ):
        store.write(path, header, {})
        with pytest.raises(ValueError, match=message):
            read_snapshot(path, "a")
