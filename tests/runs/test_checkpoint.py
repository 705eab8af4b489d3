"""A saved model comes back bitwise; anything else is refused by name."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.datasets import load
from relgrad_np.runs import store

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
