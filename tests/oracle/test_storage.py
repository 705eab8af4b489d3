"""What a file of vectors may ask for."""

import numpy as np
import pytest

from relgrad_np.oracle.truths import storage


@pytest.mark.parametrize("sizes", [(200,), (60, 60)], ids=["one array", "two together"])
def test_arrays_beyond_the_limit_are_not_unpacked(tmp_path, monkeypatch, sizes):
    arrays = {f"x_{k}": np.zeros(n) for k, n in enumerate(sizes)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    raw = (tmp_path / "x.npz").read_bytes()
    assert set(storage.parse_npz(raw, "x.npz")) == set(arrays)
    monkeypatch.setattr(storage, "LIMIT", 2**10)
    monkeypatch.setattr(storage, "parse_npy", None)  # not even looked at
    with pytest.raises(ValueError, match=r"^x\.npz: its arrays are larger than 0 MiB$"):
        storage.parse_npz(raw, "x.npz")
