"""What a compressed file may unpack to: judged by what it declares, or counted as it comes."""

import bz2
import gzip
import io
import lzma
import math
import zlib

import numpy as np
import pytest

from relgrad_np.datasets import load, memory
from relgrad_np.datasets.files import copied, limits, packed, sizes

ROWS = 20_000


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(limits, "FREE", 1000)
    monkeypatch.setattr(limits, "RATIO", 2)


def varied():
    return np.arange(2.0 * ROWS).reshape(ROWS, 2) % [101, 103]


def text_file(path):
    text = ("a,b\n" + "".join(f"{i % 101},{i % 103}\n" for i in range(ROWS))).encode()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[path.suffix]
    path.write_bytes(pack(text))
    return len(text)


def parquet(path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(dict(zip("ab", varied().T.copy(), strict=True))), path)
    return 16 * ROWS


def feather(path):
    pa, write = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    table = pa.table(dict(zip("ab", varied().T.copy(), strict=True)))
    write.write_feather(table, path, "zstd", chunksize=5000)
    return 16 * ROWS


def hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=varied(), compression="gzip", shuffle=True, fletcher32=True)
    return 16 * ROWS


def mat(path):
    io_ = pytest.importorskip("scipy.io")
    io_.savemat(path, {"X": varied()}, do_compression=True)
    with path.open("rb") as file:
        return sizes.mat_unpacked(file, 10**9)


MAKERS = {
    "a.csv.gz": text_file,
    "a.csv.bz2": text_file,
    "a.csv.xz": text_file,
    "a.parquet": parquet,
    "a.feather": feather,
    "a.h5": hdf5,
    "a.mat": mat,
}


@pytest.mark.parametrize("name", MAKERS)
def test_no_more_is_unpacked_than_the_limit(tmp_path, strict, name):
    path = tmp_path / name
    size = MAKERS[name](path)
    words = rf"{name}` unpacks to (more than )?\d+ bytes"
    for options in ({}, {"limit": size - 1}):
        with pytest.raises(ValueError, match=words):
            load(path, **options)
    if name.endswith(".h5"):  # of the chunks at the end more is there than of the table
        size = math.ceil(1.1 * size)
    assert load(path, limit=size).train.shape == (16_000, 2)


def test_text_beyond_the_limit_is_not_unpacked():
    """The mistake: to unpack all, and to look at the size then."""
    stream = io.BytesIO(bytes(1000))
    with pytest.raises(ValueError, match="it unpacks to more than 10 bytes"):
        packed.Counted(stream, "it", 10).read()
    assert stream.tell() == 11


def test_a_page_is_judged_by_its_own_header(tmp_path):
    """The mistake: to believe the footer, from which pyarrow does not take a page's size."""
    parquet(path := tmp_path / "a.parquet")
    import pyarrow.parquet

    about, total = pyarrow.parquet.read_metadata(path), 0
    for i in range(about.num_row_groups):
        total += sum(about.row_group(i).column(j).total_uncompressed_size for j in range(2))
    with path.open("rb") as file:
        found = sizes.parquet_unpacked(file, about, {"a", "b"})
        assert sizes.parquet_unpacked(file, about, {"a"}) < found
    assert found < total < found + 1000  # which has the headers, too
    data = bytearray(path.read_bytes())
    column = about.row_group(0).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    path.write_bytes(bytes(data[: begin + 1]) + b"\xff" + bytes(data[begin + 2 :]))
    with pytest.raises(ValueError, match=r"a.parquet` is not a sound .parquet file"):
        load(path)


@pytest.mark.parametrize("kind", [b"\x82", b"\x7f", b"\xff\xff"])
def test_a_chunk_of_hdf5_that_inflates_beyond_its_shape_is_refused(tmp_path, kind):
    """The mistake: to let HDF5 inflate it, which it does to its end."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        X = file.create_dataset("X", (24, 2), "f8", chunks=(24, 2), compression="gzip")
        X.id.write_direct_chunk((0, 0), zlib.compress(kind * 10**4))
    with pytest.raises(ValueError, match="table 'X' has a chunk of more than 388 bytes"):
        load(tmp_path / "a.h5")


def test_a_table_of_hdf5_in_another_file_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(384))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        place = [(str(tmp_path / "secret"), 0, 384)]
        file.create_dataset("X", (24, 2), "f8", external=place)
    with pytest.raises(ValueError, match="table 'X' is in other files"):
        load(tmp_path / "a.h5")


def test_the_room_for_a_temporary_file_is_judged_in_memory_too(tmp_path, monkeypatch):
    monkeypatch.setattr(copied, "lies_in_memory", lambda folder: True)
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    parquet(tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet", lazy_above=1).lazy
    monkeypatch.setattr(memory, "available", lambda: 2**18)
    with pytest.raises(ValueError, match=r"which is memory, needs about 0 MiB"):
        load(tmp_path / "a.parquet", lazy_above=1)
