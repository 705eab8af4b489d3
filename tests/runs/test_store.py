"""What is no file of a run is refused in one line, before it costs memory."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from relgrad_np.fitting.storage import store

ARRAYS = {
    "v": np.arange(3.0),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 3)),
    "fortran": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
    "flags": np.array([True, False]),
}


@pytest.fixture
def path(tmp_path):
    store.write(tmp_path / "x.npz", {"a": 1}, ARRAYS)
    return tmp_path / "x.npz"


def test_arrays_come_back_as_they_were(path):
    header, arrays = store.read(path)
    assert header == {"a": 1}
    assert list(arrays) == list(ARRAYS)
    for name, x in ARRAYS.items():
        assert arrays[name].dtype == x.dtype
        np.testing.assert_array_equal(arrays[name], x, strict=True)


def bomb(path):
    np.savez_compressed(path, header=np.zeros(10**7, np.uint8), digest=np.zeros(32, np.uint8))


def deep(path):
    text = np.frombuffer(b"[" * 100_000, np.uint8)
    np.savez(path, header=text, digest=store._digest(text, {}))


def other_members(path, *names):
    with zipfile.ZipFile(path, "a") as file:
        for name in names:
            file.writestr(name, b"")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (deep, "its header is nested too deeply"),
        (bomb, "it declares 10000288 bytes of arrays, but has "),
        (lambda path: path.write_bytes(b""), "it is not an .npz file: File is not a zip file"),
        (lambda path: other_members(path, "notes.txt"), "a member that is no array"),
        (lambda path: np.savez(path, x=np.ones(2)), "it has no 'header'"),
        (lambda path: np.savez(path, header=np.ones(2)), "it has no 'digest'"),
        (lambda path: np.savez(path, x=np.array([None])), "its x.npy must hold real numbers"),
        (lambda path: np.savez(path, header=np.ones(2), digest=np.ones(2)), "match its checksum"),
    ],
    ids=["deep", "bomb", "empty", "member", "header", "digest", "pickle", "checksum"],
)
def test_what_is_refused(path, spoil, words):
    spoil(path)
    tracemalloc.start()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        store.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 2**20
