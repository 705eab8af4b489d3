"""Data of one's own: every form that people have it in, memory mapping, and what is refused."""

import os
import stat
import time
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from relgrad_np import datasets
from relgrad_np.datasets import Chain, Reading, Standardise, load, record, rows, transforms
from relgrad_np.datasets.file_rows import FileRows
from relgrad_np.datasets.files import limits, npy, opening, split

from ..programs import fuzz_loaders

COLUMNS = ("age", "height", "weight")


def table(N=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, 3)) @ rng.normal(size=(3, 3)) + [3.0, -20.0, 0.5]


def back(data):
    """Return the rows of the three splits, in data space."""
    return [data.transforms.inverse(Z) for Z in (data.train, data.validation, data.test)]


def sorted_rows(X):
    return X[np.lexsort(X.T)]


def write(path, X):
    """Write a table in the form that the ending says."""
    if path.suffix == ".npy":
        np.save(path, X)
    elif path.suffix == ".npz":
        np.savez(path, X=X)
    else:
        header = ",".join(COLUMNS)
        np.savetxt(path, X, delimiter=",", header=header, comments="", fmt="%.17g")
    return path


# Splits


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_every_form_gives_the_same_data(tmp_path, suffix):
    X = table()
    data, expected = load(write(tmp_path / f"my{suffix}", X), seed=4), load(X, seed=4)
    for one, other in zip(back(data), back(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    assert data.name == str(tmp_path / f"my{suffix}")
    assert data.columns == (COLUMNS if suffix == ".csv" else None)
    assert (data.lazy, data.levels, data.image_shape) == (False, None, None)


def test_rows_are_shuffled_and_cut_without_loss_or_overlap():
    X = table(57)
    data = load(X, seed=1)
    parts = back(data)
    assert [len(part) for part in parts] == [47, 5, 5]
    joined = np.concatenate(parts)
    np.testing.assert_allclose(sorted_rows(joined), sorted_rows(X), rtol=0, atol=1e-13)
    assert np.isclose(joined, X).all(axis=1).mean() < 0.2
    np.testing.assert_array_equal(data.train, load(X, seed=1).train)
    assert not (data.train == load(X, seed=2).train).any()


def test_moments_are_those_of_the_training_rows():
    data = load(table(500))
    np.testing.assert_allclose(data.train.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(data.train.std(axis=0), 1, rtol=1e-13)
    assert np.abs(data.test.mean(axis=0)).max() > 1e-3
    (standardise,) = data.transforms.transforms
    for part in datasets.SPLITS:
        np.testing.assert_array_equal(data.log_det[part], standardise.log_det(getattr(data, part)))


def test_n_is_a_cap_on_the_training_rows():
    X = table(100)
    full, capped = load(X, 3), load(X, 3, n=20)
    np.testing.assert_allclose(back(capped)[0], back(full)[0][:20], atol=1e-13)
    np.testing.assert_allclose(back(capped)[2], back(full)[2], atol=1e-13)
    np.testing.assert_allclose(capped.train.std(axis=0), 1)
    assert len(load(X, 3, n=1000).train) == 80


@pytest.mark.parametrize("key", ["x_val", "x_valid", "x_validation", "X_val"])
def test_splits_that_the_file_has_are_kept(tmp_path, key):
    X, V, T = table(50, 1), table(7, 2), table(9, 3)
    np.savez(tmp_path / "my.npz", **{"x_train": X, key: V, "x_test": T, "y_train": np.zeros(50)})
    parts = back(load(tmp_path / "my.npz"))
    np.testing.assert_allclose(sorted_rows(parts[0]), sorted_rows(X), atol=1e-13)
    np.testing.assert_allclose(parts[1], V, atol=1e-13)
    np.testing.assert_allclose(parts[2], T, atol=1e-13)


def test_a_split_that_is_missing_is_cut_from_the_training_rows(tmp_path):
    np.savez(tmp_path / "my.npz", x_train=table(50, 1), x_test=table(9, 3))
    parts = back(load(tmp_path / "my.npz"))
    assert [len(part) for part in parts] == [45, 5, 9]
    np.testing.assert_allclose(
        sorted_rows(np.concatenate(parts[:2])), sorted_rows(table(50, 1)), atol=1e-13
    )


def test_the_only_array_of_an_npz_needs_no_name(tmp_path):
    np.savez_compressed(tmp_path / "my.npz", anything=table())
    np.testing.assert_array_equal(load(tmp_path / "my.npz").train, load(table()).train)


# Dtypes and layouts


@pytest.mark.parametrize(
    "dtype", ["i1", "u2", "i4", "i8", "u8", "f2", "f4", ">f8", ">i2", "g", "?"]
)
def test_real_dtypes_become_float64_and_it_is_said(tmp_path, dtype):
    X = table() > table().mean(axis=0) if dtype == "?" else (table() + 50).astype(dtype)
    np.save(tmp_path / "my.npy", X)
    for data in (load(X), load(tmp_path / "my.npy"), load(tmp_path / "my.npy", lazy_above=1)):
        assert data.test.dtype == np.float64
        said = [note for note in data.notes if "converted to float64" in note]
        assert len(said) == (X.dtype.name not in ("float32", "float64"))
        assert all(note.startswith(X.dtype.name) for note in said)
    expected = load(X.astype(np.float64))
    np.testing.assert_array_equal(load(X).train, expected.train)


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
        lambda X: X[::-1][::-1],
        lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),  # read-only
        lambda X: X.astype(">f8"),
    ],
    ids=["fortran", "strided", "reversed", "read-only", "big-endian"],
)
def test_layouts_change_nothing(layout, tmp_path):
    X = layout(table())
    copy = X.copy()
    same = partial(np.testing.assert_allclose, rtol=0, atol=1e-14)  # sums are in another order
    same(load(X).train, load(table()).train)
    np.testing.assert_array_equal(X, copy)
    np.save(tmp_path / "my.npy", X)
    same(load(tmp_path / "my.npy").train, load(table()).train)
    same(
        load(tmp_path / "my.npy", lazy_above=1).test, load(write(tmp_path / "b.npy", table()), lazy_above=1).test
    )  # fmt: skip


def test_whole_numbers_are_noted_by_column():
    X = table()
    X[:, 1] = np.round(X[:, 1] * 5)
    (note,) = load(X).notes
    assert "whole numbers or few values only in columns 1:" in note
    assert "noise" in note


def test_a_column_that_one_row_decides_is_noted_until_it_has_a_bound():
    X = table()
    X[:, 1] = np.exp(X[:, 1])
    assert load(X).notes == ()
    train = load(X).transforms.inverse(load(X).train)[0]
    X[np.isclose(X, train).all(axis=1), 1] = 1e-6  # a row that is fitted
    (note,) = load(X).notes
    assert note.startswith("in column 1 one row has more than half of the variance")
    assert "Reading(support=...)" in note
    assert load(X, reading=Reading(support={1: (0, None)})).notes == ()


# Memory mapping


def test_a_large_file_is_mapped_and_split_by_position(tmp_path, monkeypatch):
    monkeypatch.setattr(split, "HELD_OUT", 4)
    X = table(100).astype(np.float32)
    np.save(tmp_path / "my.npy", X)
    data = load(tmp_path / "my.npy", lazy_above=100)
    assert data.lazy
    assert isinstance(data.train, FileRows)
    assert data.train.dtype == np.float32
    np.testing.assert_array_equal(data.train, X[:80])
    expected = Standardise.fit(X[:80].astype(np.float64))
    assert data.transforms == Chain((expected,))
    np.testing.assert_array_equal(data.validation, expected.forward(X[80:84]))
    np.testing.assert_array_equal(data.test, expected.forward(X[90:94]))
    assert [len(data.log_det[part]) for part in datasets.SPLITS] == [0, 4, 4]
    np.testing.assert_array_equal(data.log_det["test"], expected.log_det(X[90:94]))
    batch = data.transforms.forward(data.train[5:9])
    assert batch.dtype == np.float64
    np.testing.assert_allclose(batch, (X[5:9] - X[:80].mean(axis=0)) / X[:80].std(axis=0), 1e-4)
    assert any("not shuffled" in note for note in data.notes)
    assert len(load(tmp_path / "my.npy", n=30, lazy_above=100).train) == 30
    assert not load(tmp_path / "my.npy").lazy
    mapped = np.load(tmp_path / "my.npy", mmap_mode="r")
    np.testing.assert_array_equal(load(mapped, lazy_above=100).train, data.train)
    assert not load(mapped).lazy


def test_mapping_copies_no_more_than_a_few_chunks(tmp_path, monkeypatch):
    assert rows.CHUNK == 2**24  # so that four of them are the 64 MiB that are promised
    monkeypatch.setattr(rows, "CHUNK", 2**20)
    monkeypatch.setattr(split, "HELD_OUT", 1000)
    path, N, D = tmp_path / "large.npy", 100_000, 16  # 6 MiB; 12 in float64
    X = np.random.default_rng(0).normal(size=(N, D)) + np.arange(N)[:, None] / N
    np.save(path, X.astype(np.float32))
    tracemalloc.start()
    data = load(path, lazy_above=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.lazy
    assert data.train.shape == (80_000, D)
    assert isinstance(data.train, FileRows)
    assert peak < 4 * 2**20, peak
    assert sum(part.nbytes for part in (data.validation, data.test)) == 2 * 1000 * D * 8
    (standardise,) = data.transforms.transforms
    np.testing.assert_allclose(standardise.mean, data.train[:].mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(standardise.std, data.train[:].std(axis=0, dtype=np.float64))


def test_moments_are_pooled_over_chunks(monkeypatch):
    X = np.sort(table(1000), axis=0) + 1e3  # in order: chunks differ
    monkeypatch.setattr(rows, "CHUNK", 8 * 3 * 7)
    t = Standardise.fit(X)
    np.testing.assert_allclose(t.mean, X.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(t.std, X.std(axis=0), rtol=1e-12)
    inside = np.mean([X[i : i + 7].var(axis=0) for i in range(0, 994, 7)], axis=0)
    assert (np.sqrt(inside) < 0.5 * X.std(axis=0)).all()  # what forgetting the shift would give
    X[555, 2] = np.nan
    with pytest.raises(ValueError, match="`X` must be finite, got nan at row 555, column 2"):
        Standardise.fit(X)


def test_chunks_change_no_draw(monkeypatch):
    X = np.arange(40).reshape(20, 2) % 5
    chain = Chain((transforms.Dequantise(5), transforms.Logit()))
    Z, log_det = chain.forward_with_log_det(X, np.random.default_rng(3))
    monkeypatch.setattr(rows, "CHUNK", 48)
    again = record.forward(chain, X, np.random.default_rng(3))
    np.testing.assert_array_equal(again[0], Z)
    np.testing.assert_array_equal(again[1], log_det)


@pytest.mark.parametrize("dtype", ["i2", "f2", ">f4", "f8", "?"])
def test_transforms_take_raw_batches(tmp_path, dtype):
    X = (np.arange(120).reshape(40, 3) % 7 > 2) if dtype == "?" else np.arange(120).reshape(40, 3)
    np.save(tmp_path / "my.npy", X.astype(dtype))
    data = load(tmp_path / "my.npy", lazy_above=1)
    Z = data.transforms.forward(data.train[:5])
    assert Z.dtype == np.float64
    np.testing.assert_allclose(data.transforms.inverse(Z), X[:5], atol=1e-12)


# pandas


def test_data_frames():
    pd = pytest.importorskip("pandas")
    X = table()
    frame = pd.DataFrame(X, columns=COLUMNS)
    data = load(frame, seed=2)
    np.testing.assert_array_equal(data.train, load(X, seed=2).train)
    assert (data.name, data.columns, data.notes) == ("DataFrame", COLUMNS, ())
    mixed = frame.assign(
        age=np.arange(60), height=pd.array([1, 2, 3] * 20, dtype="Int64"), adult=X[:, 0] > 3
    )
    mixed.columns = ["age", "height", "weight", 7]
    data = load(mixed)
    assert data.columns == ("age", "height", "weight", "7")
    for kind in ("int64", "Int64", "bool"):
        assert f"{kind} converted to float64" in data.notes


def test_data_frames_are_refused_by_column():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(table(), columns=COLUMNS)
    for wrong, kind in (
        (["x"] * 60, "str|object"),
        (pd.date_range("2020", periods=60), "datetime64"),
        (pd.Categorical(["a", "b"] * 30), "category"),
        (1j * np.ones(60), "complex128"),
    ):
        with pytest.raises(
            ValueError,
            match=rf"^`DataFrame`, column 'name': must hold real numbers, got ({kind})",
        ):
            load(frame.assign(name=wrong))
    missing = frame.assign(weight=pd.array([None, *range(59)], dtype="Int64"))
    with pytest.raises(
        ValueError, match="`DataFrame` must be finite, got nan at row 0, column 'weight'"
    ):
        load(missing)


# What is refused


def save_npy(path, X, **options):
    np.save(path, X, **options)
    return path


def zip_of(path, members, method=zipfile.ZIP_DEFLATED):
    path.write_bytes(fuzz_loaders.zipped(members, method))
    return path


def patched(path, data):
    path.write_bytes(data)
    return path


def lying_zip(path, size):
    """Write an .npz that declares another size than it has."""
    data = bytearray(fuzz_loaders.zipped({"X.npy": fuzz_loaders.npy(table())}))
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = size.to_bytes(4, "little")
    path.write_bytes(data)
    return path


NAN = table()
NAN[17, 2] = np.nan
HUGE = table()
HUGE[:, 1] *= 1e300
OUTLIER = np.full((100, 1), 1e-200) * np.arange(100)[:, None]
NPY = fuzz_loaders.npy(table())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: NAN, "`array` must be finite, got nan at row 17, column 2"),
        (lambda p: save_npy(p / "a.npy", NAN), "a.npy` must be finite, got nan at row 17, column 2"),
        (lambda p: NAN.astype("g") * np.longdouble("1e2000"), "must be finite, got inf at row 0"),
        (lambda p: HUGE, "`array` has columns whose variance is beyond float64: 1; rescale"),
        (lambda p: OUTLIER, "has columns whose variance is beyond float64: 0"),
        (lambda p: np.ones((20, 2)), "`array` has columns that are constant: 0, 1"),
        (lambda p: np.ones(20), "`array` must have shape (N, D), N >= 1, got (20,); reshape it"),
        (lambda p: np.ones((4, 5, 6)), "`array` must have shape (N, D), N >= 1, got (4, 5, 6)"),
        (lambda p: np.ones((0, 6)), "`array` must have shape (N, D), N >= 1, got (0, 6)"),
        (lambda p: np.ones((9, 6)), "`array` must have at least 10 rows to split, got 9"),
        (lambda p: 1j * table(), "`array` must hold real numbers, got complex128"),
        (lambda p: table().astype(str), "`array` must hold real numbers, got <U"),
        (lambda p: table().astype(object), "`array` must hold real numbers, got object"),
        (lambda p: patched(p / "a.npy", b""), "a.npy` is not a .npy file: "),
        (lambda p: patched(p / "a.npy", b"PK\3\4 nonsense"), "a.npy` is not a .npy file: "),
        (lambda p: patched(p / "a.npy", NPY[:-1]), "1439 bytes of data, but its header says (60, 3)"),
        (lambda p: patched(p / "a.npy", NPY + b"0"), "has 1441 bytes of data, but its header says"),
        (
            lambda p: patched(p / "a.npy", NPY.replace(b"(60, 3)", b"(99999999999, 3)")),
            "a.npy` has 1449 bytes of data, but its header says (99999999999, 3) float64",
        ),
        (lambda p: patched(p / "a.npy", NPY.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x09")), "version"),
        (lambda p: patched(p / "a.npz", b"PK\3\4 nonsense"), "a.npz` is not an .npz file: "),
        (lambda p: patched(p / "a.npz", NPY), "a.npz` is not an .npz file: "),
        (lambda p: zip_of(p / "a.npz", {"a.npy": NPY, "b.npy": NPY}), "an array `X` or `x_train`; its arrays: a, b"),
        (lambda p: zip_of(p / "a.npz", {"X.npy": NPY, "x_train.npy": NPY}), "has both X and x_train"),
        (lambda p: zip_of(p / "a.npz", {"notes.txt": b""}), "its arrays: none"),
        (lambda p: zip_of(p / "a.npz", {"X.npy": NPY[:-1]}), "a.npz: X.npy` has 1439 bytes of data"),
        (lambda p: zip_of(p / "a.npz", {"X.npy": NPY}, zipfile.ZIP_BZIP2), "not by deflate"),
        (lambda p: lying_zip(p / "a.npz", 2**32 - 2), "a.npz` unpacks to 4294967294 bytes, more than 67108864: give more"),
        (
            lambda p: zip_of(p / "a.npz", {"x_train.npy": NPY, "x_test.npy": fuzz_loaders.npy(np.eye(12))}),
            "a.npz` has 3 columns in x_train but 12 in its x_test",
        ),
    ],
)  # fmt: skip
def test_what_is_no_data_is_refused(tmp_path, make, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(make(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_checksum_is_compared(tmp_path):
    data = bytearray(fuzz_loaders.zipped({"X.npy": NPY}, zipfile.ZIP_STORED))
    data[data.index(b"NUMPY") + 900] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a.npz: X.npy` .*Bad CRC-32"):
        load(tmp_path / "a.npz")


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    small = zip_of(tmp_path / "a.npz", {"X.npy": fuzz_loaders.npy(np.round(table()))})
    stored = zip_of(tmp_path / "b.npz", {"X.npy": NPY}, zipfile.ZIP_STORED)
    monkeypatch.setattr(limits, "FREE", 1000)
    monkeypatch.setattr(limits, "RATIO", 2)
    with pytest.raises(
        ValueError, match=r"a.npz` unpacks to 1568 bytes, more than 1[0-9]{3}: give"
    ):
        load(small)
    with pytest.raises(ValueError, match="more than 1567: give more as `limit`"):
        load(small, limit=1567)
    assert load(small, limit=1568).train.shape == (48, 3)
    assert load(stored).train.shape == (48, 3)  # what is not packed has no ratio


def test_a_header_that_declares_gigabytes_is_not_read(tmp_path):
    """The mistake: to read as many bytes as a .npy of version 2 says that its header has."""
    start = b"\x93NUMPY\x02\x00" + (2**30).to_bytes(4, "little")
    path = zip_of(tmp_path / "a.npz", {"X.npy": start + bytes(2**26 - 12)})
    tracemalloc.start()
    with pytest.raises(ValueError, match="its header has 1073741824 bytes, more than 10000"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_archives_with_links_or_twice_the_same_name_are_refused(tmp_path):
    link = zipfile.ZipInfo("X.npy")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    twice = "has two members of one name"
    cases = [(link, None, "has a link among"), ("X.npy", "x.npy", twice)]
    cases += [(name, None, "has a member outside") for name in ("/X.npy", "a/../../X.npy")]
    for first, second, words in cases:
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            for name in filter(None, (first, second)):
                file.writestr(name, NPY)
        with pytest.raises(ValueError, match=f"a.npz` {words}"):
            load(tmp_path / "a.npz")


def test_a_directory_of_millions_of_members_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "DIRECTORY_LIMIT", 200)
    path = zip_of(tmp_path / "a.npz", {f"{i}.npy": b"" for i in range(9)})
    with pytest.raises(ValueError, match=r"its directory has \d+ bytes, more than 200"):
        load(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_in_a_file_are_those_of_the_array(tmp_path, order):
    X = np.asarray(np.arange(35).reshape(7, 5), order=order).astype(">i2", order=order)
    rows = npy.rows_of_npy(save_npy(tmp_path / "a.npy", X))
    part = rows.part(2, 6)
    slices = slice(None), slice(1, 4), slice(None, None, 3)
    for index in (*slices, [3, 0, 3], X[:, 0] > 9, -2, np.array([], int)):
        np.testing.assert_array_equal(rows[index], X[index])
        np.testing.assert_array_equal(rows[index, :], X[index, :])
    for index in (slice(1, 4), slice(None, None, 2), [3, 0, -1]):
        np.testing.assert_array_equal(part[index], X[2:6][index])
    np.testing.assert_array_equal(part, X[2:6])
    assert (part.shape, part.nbytes, len(rows.view("u2"))) == ((4, 5), 40, 7)
    with pytest.raises(IndexError):
        part[[4]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_becomes_shorter_is_one_line(tmp_path, order):
    """A memory-mapped file would end the process by SIGBUS."""
    X = np.asarray(np.random.default_rng(0).normal(size=(4000, 3)), order=order)
    path = save_npy(tmp_path / "a.npy", X)
    data = load(path, lazy_above=1)
    os.truncate(path, 50_000)
    for read in (lambda: data.train[:], lambda: data.train[[3, 3000]]):
        with pytest.raises(ValueError, match=r"a.npy` has become shorter while it was read"):
            read()


def test_no_pickle_is_opened(tmp_path):
    proof = tmp_path / "proof"
    X = np.array([[fuzz_loaders.Pickled(proof)] * 12], dtype=object)
    np.save(tmp_path / "a.npy", X, allow_pickle=True)
    np.savez(tmp_path / "a.npz", X=X)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match="got Python objects, which would run code"):
            load(tmp_path / name)
    assert not proof.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)[0, 0].close()  # it does run, where it is let
    assert proof.exists()


def test_mapped_files_are_checked_too(tmp_path):
    X = NAN.copy()
    X[17, 2], X[58, 0] = 0.0, np.inf
    for bad, message in (
        (NAN, "must be finite, got nan at row 17, column 2"),
        (X, "must be finite, got inf at row 58, column 0"),
        (np.ones((30, 2)), "has columns that are constant: 0, 1"),
        (np.ones(300), r"must have shape \(N, D\), N >= 1, got \(300,\)"),
        (np.ones((9, 300)), "must have at least 10 rows to split, got 9"),
    ):
        path = save_npy(tmp_path / "a.npy", bad)
        with pytest.raises(ValueError, match=rf"a.npy` {message}"):
            load(path, lazy_above=1)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^the data file '.*a.npy' is not there$"):
        load(tmp_path / "a.npy")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(FileNotFoundError, match=r"b.csv' is no regular file$"):
        load(tmp_path / "b.csv")


@pytest.mark.parametrize("wrong", [None, 3, [[1.0, 2.0]], b"digits"])
def test_what_is_no_name(wrong):
    with pytest.raises(TypeError, match="`data` must be the name of a data set, a file, a NumPy"):
        load(wrong)


@pytest.mark.parametrize("wrong", ["my", "mnist2"])
def test_unknown_names_list_what_is_known(wrong):
    with pytest.raises(ValueError, match=r"^unknown data '.*'; .*mnist, .* a file such as my.csv"):
        load(wrong)


@pytest.mark.parametrize("wrong", [0, -1, 2.5])
def test_n_must_be_positive(wrong):
    with pytest.raises(ValueError, match="`n` must be a positive integer"):
        load(table(), n=wrong)


def test_far_outliers_are_refused_by_name():
    X = np.linspace(0, 1e-300, 100)[:, None] * 1e150
    t = Standardise.fit(X)
    with pytest.raises(ValueError, match=r"`X` must be near the rows .*, got 1e\+250 at row 1"):
        t.forward([[0.0], [1e250]])


# Damaged files


def test_damaged_files_are_loaded_or_refused():
    counts, reports = fuzz_loaders.run(120, seed=1)
    assert not reports, "\n".join(reports)
    assert counts.total() == 120
    assert counts["npy pickled", "loaded"] == 0
    assert sum(n for (_, what), n in counts.items() if what == "loaded") > 10


def two_lines(*_, **__):
    raise ValueError("two\nlines")


def wrong_type(*_, **__):
    raise KeyError("x")


@pytest.mark.parametrize(
    ("bad_load", "limits", "report"),
    [
        (wrong_type, {}, "KeyError: 'x'"),
        (two_lines, {}, "not one line"),
        (lambda *_, **__: time.sleep(9), {"SECONDS": 1}, "more than 1 s"),
        (load, {"BYTES": 2**20}, "GiB"),
    ],
    ids=["type", "two lines", "slow", "memory"],
)
def test_the_fuzzer_sees_a_bad_loader(tmp_path, monkeypatch, bad_load, limits, report):
    monkeypatch.setattr(datasets, "load", bad_load)
    for name, value in limits.items():
        monkeypatch.setattr(fuzz_loaders, name, value)
    _, wrong = fuzz_loaders.outcome("npy", {"my.npy": NPY}, tmp_path / "proof")
    assert report in wrong


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("import warnings; warnings.warn('x')", "UserWarning: x"),
        ("os.kill(os.getpid(), 9)", "no case could be run"),
    ],
)
def test_the_fuzzer_reports_what_its_processes_see(tmp_path, monkeypatch, fault, report):
    source = Path(fuzz_loaders.__file__).read_text()
    for old, new in (
        ("return found", "return {'npy': found['npy']}"),
        ("data = load(source, **options)", f"{fault}; data = load(source, **options)"),
    ):
        assert source.count(old) == 1
        source = source.replace(old, new)
    (tmp_path / "bad.py").write_text(source)
    monkeypatch.setattr(fuzz_loaders, "__file__", str(tmp_path / "bad.py"))
    monkeypatch.setenv("PYTHONPATH", str(Path(datasets.__file__).parents[2]))
    try:
        _, reports = fuzz_loaders.run(1, seed=0)
    except RuntimeError as error:
        reports = [str(error)]
    assert report in "\n".join(reports)
