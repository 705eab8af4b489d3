"""Open archives that are made to fill the memory, or to reach other files: each is refused.

    python -m tests.programs.bombs --count 100 --seed 0

Every .npz is opened as a model, a checkpoint, a data set of one's own and, where it can be one, a
standard set; .parquet, .feather, .h5, .mat and compressed text, which need their libraries, as a
data set. Each in a process of its own. Allowed: ValueError or OSError, in one line, below 300 MB
of memory (`peak RSS`, of which Python and NumPy take what is printed), within 10 s, and no file that
was not there before. Status 1 if anything was otherwise.
"""

import argparse
import bz2
import contextlib
import gzip
import importlib.util
import io
import lzma
import os
import signal
import stat
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import load
from relgrad_np.runs.checkpoint import read_snapshot

MEMORY, SECONDS = 300 * 10**6, 10
MIB = 2**20


def npy(X):
    stream = io.BytesIO()
    np.save(stream, X)
    return stream.getvalue()


SMALL = npy(np.random.default_rng(0).normal(size=(24, 3)))
KEYS = ("X", "x_train", "header", "x_test")  # `header` and `x_train` are asked for by name


def head(shape, descr="<f8", version=1, length=None):
    """The header of a .npy, which may lie about its own length."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", size)
        + text.encode()
    )


def member(file, name, begin, zeros, **facts):
    """Add a member of `begin` and so many zeros, which are never all in memory."""
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    with file.open(info, "w", force_zip64=True) as stream:
        stream.write(begin)
        for _ in range(zeros // MIB):
            stream.write(bytes(MIB))
        stream.write(bytes(zeros % MIB))


def zeros(path, rng):
    """A sound array of zeros, a thousand times as large as the file."""
    rows = int(rng.integers(12, 24)) * MIB
    with zipfile.ZipFile(path, "w", compresslevel=1) as file:
        member(file, rng.choice(KEYS[:3]), head((rows, 1)), 8 * rows)


def shapes(path, rng):
    """A shape that the bytes do not have."""
    shape = tuple(int(10 ** rng.integers(3, 19)) for _ in range(rng.integers(1, 4)))
    method = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(f"{rng.choice(KEYS[:3])}.npy", head(shape) + bytes(int(rng.integers(10**6))))


def sizes(path, rng):
    """A member that declares another size than it has, up to 2^62 bytes."""
    shapes(path, rng)
    data, size = bytearray(path.read_bytes()), int(2 ** rng.integers(0, 62))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = min(size, 2**32 - 1).to_bytes(4, "little")
    if rng.random() < 0.5:
        data[at + 20 : at + 24] = min(size, 2**32 - 1).to_bytes(4, "little")
    path.write_bytes(data)


def nested(path, rng):
    """An archive in an archive, instead of an array."""
    inner = SMALL
    for _ in range(int(rng.integers(2, 6))):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{rng.choice(KEYS[:3])}.npy", inner)
        inner = stream.getvalue()
    path.write_bytes(inner)


def overlapping(path, rng):
    """Many entries of the directory for the same bytes; the sum of them is gigabytes."""
    with zipfile.ZipFile(path, "w", compresslevel=1) as file:
        member(file, "X", head((6 * MIB, 1)), 48 * MIB)
    data = path.read_bytes()
    at, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entry, count = data[at:end], int(rng.integers(50, 1000))
    length = struct.unpack("<H", entry[28:30])[0]
    names = [*KEYS[int(rng.integers(2)) :], *(f"a{i}" for i in range(count))]
    entries = b"".join(
        entry[:28]
        + struct.pack("<H", len(name) + 4)
        + entry[30:46]
        + f"{name}.npy".encode()
        + entry[46 + length :]
        for name in names
    )
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(names), len(names), len(entries), at, 0)
    path.write_bytes(data[:at] + entries + tail)


def duplicates(path, rng):
    """Two or more members of one name, or of names that differ in case only."""
    with zipfile.ZipFile(path, "w") as file:
        for _ in range(int(rng.integers(2, 9))):
            name = str(rng.choice(KEYS[:1]))
            with warnings.catch_warnings():  # zipfile warns of the second one
                warnings.simplefilter("ignore")
                file.writestr(f"{name if rng.random() < 0.5 else name.swapcase()}.npy", SMALL)


def links(path, rng):
    """A member that is a link."""
    info = zipfile.ZipInfo(f"{rng.choice(KEYS[:3])}.npy")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, rng.choice(["/etc/passwd", "../../secret", "X.npy"]).encode())


def paths(path, rng):
    """Members that would be written elsewhere, were they unpacked."""
    with zipfile.ZipFile(path, "w") as file:
        for place in rng.choice(
            ["/tmp/", "../../", "a/../../", "\\\\", "/"], int(rng.integers(1, 4)), False
        ):
            file.writestr(f"{place}proof.npy", SMALL)


def headers(path, rng):
    """A .npy whose header has gigabytes, or says so."""
    length = int(rng.integers(2**20, 2**32))
    with zipfile.ZipFile(path, "w", compresslevel=1) as file:
        zeros = int(rng.integers(100, 400)) * MIB if rng.random() < 0.3 else 10**5
        member(file, rng.choice(KEYS[:3]), head((3,), version=2, length=length), zeros)


def directory(path, rng):
    """A directory of a hundred thousand entries and more."""
    count = int(rng.integers(100_000, 400_000))
    one = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0
    )
    entries = b"".join(one + f"{i:05x}.npy"[-9:].encode() for i in range(count))
    tail = struct.pack("<4s4Q", b"", 0, 0, 0, 0)[:0]
    tail += struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(entries), 0
    )
    tail += struct.pack("<4sLQL", b"PK\x06\x07", 0, len(entries), 1)
    tail += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(entries + tail)


def packed_idx(path, rng):
    """MNIST's own format, gzipped: a billion zeros."""
    count = int(rng.integers(130_000, 1_300_000))
    folder = path.with_suffix("")
    folder.mkdir()
    packer = zlib.compressobj(1, wbits=31)
    with (folder / "train-images-idx3-ubyte.gz").open("wb") as file:
        file.write(packer.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28)))
        for _ in range(min(count * 784, 300 * MIB) // MIB):
            file.write(packer.compress(bytes(MIB)))
        file.write(packer.flush())
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b""))
    path.write_bytes((folder / "train-images-idx3-ubyte.gz").read_bytes()[:1000])


def columns(path, rng):
    """A .parquet or .feather of gigabytes of zeros, packed or named once in a dictionary."""
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    rows, zero = int(rng.integers(20, 40)) * MIB, np.zeros(MIB)
    one = pa.table({"x": zero, "y": zero})
    table = pa.concat_tables([one] * (rows // MIB))  # the same memory again and again
    if path.suffix == ".feather":
        pa.feather.write_feather(table, path, str(rng.choice(["zstd", "lz4"])), chunksize=MIB)
        return
    dictionary, packed = bool(rng.random() < 0.5), str(rng.choice(["zstd", "gzip"]))
    pa.parquet.write_table(table, path, compression=packed, use_dictionary=dictionary)


def one_page(path, rng):
    """A .parquet whose only page unpacks to hundreds of megabytes, and whose footer says little."""
    import pyarrow as pa
    import pyarrow.parquet

    rows = int(rng.integers(40, 50)) * MIB
    table = pa.table({"x": np.zeros(rows)})
    sizes = {"data_page_size": 2**30, "write_batch_size": rows, "row_group_size": rows}
    pa.parquet.write_table(table, path, compression="zstd", use_dictionary=False, **sizes)
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for declared in (rows, *(8 * rows + extra for extra in range(64))):
        old, new = varint(2 * declared), varint(2 * int(rng.integers(20, 100)))
        new = new[:-1] + bytes([new[-1] | 128]) + b"\x80" * (len(old) - len(new) - 1) + b"\0"
        data = data[:footer] + data[footer:].replace(old, new)
    path.write_bytes(data)


def varint(value):
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def tables(path, rng):
    """A .h5 of gigabytes of zeros: packed, or never written, or of a chunk that unpacks to more."""
    import h5py

    rows = int(rng.integers(20, 40)) * MIB
    how = int(rng.integers(3))
    with h5py.File(path, "w") as file:
        if how == 2:  # HDF5 inflates a chunk until it ends, whatever its shape
            packer = zlib.compressobj(1)
            packed = b"".join(packer.compress(bytes(MIB)) for _ in range(600)) + packer.flush()
            X = file.create_dataset("X", (24, 2), "f8", chunks=(24, 2), compression="gzip")
            X.id.write_direct_chunk((0, 0), packed)
            return
        X = file.create_dataset("X", (rows, 2), "f8", chunks=(MIB, 2), compression="gzip")
        if how:
            packed = zlib.compress(bytes(16 * MIB), 1)
            for start in range(0, rows, MIB):
                X.id.write_direct_chunk((start, 0), packed)


def elsewhere(path, rng):
    """A .h5 whose table is in another file."""
    import h5py

    (path.parent / "secret").write_bytes(bytes(8 * 48))
    with h5py.File(path, "w") as file:
        if rng.random() < 0.5:
            place = [(str(path.parent / "secret"), 0, 8 * 48)]
            file.create_dataset("X", (24, 2), "f8", external=place)
            return
        layout = h5py.VirtualLayout((24, 2), "f8")
        layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "X", (24, 2))
        file.create_virtual_dataset("X", layout)


def variables(path, rng):
    """A .mat whose variable inflates to gigabytes, of the shape that it says or of another."""
    count = int(rng.integers(100, 250)) * MIB // 8
    shape = (count, 1) if rng.random() < 0.5 else (24, 2)
    element = struct.pack("<2I", 6, 8) + struct.pack("<2I", 6, 0)
    element += struct.pack("<2I2i", 5, 8, *shape) + struct.pack("<2H4s", 1, 1, b"X")
    element += struct.pack("<2I", 9, 8 * count)
    packer = zlib.compressobj(1)
    packed = packer.compress(struct.pack("<2I", 14, len(element) + 8 * count) + element)
    for _ in range(8 * count // MIB):
        packed += packer.compress(bytes(MIB))
    packed += packer.flush()
    start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    path.write_bytes(start + struct.pack("<2I", 15, len(packed)) + packed)


def text(path, rng):
    """Compressed text of gigabytes: rows, a single line, or a single cell."""
    unit = [b"1,2.5\n", b"1,", b"1"][int(rng.integers(3))]
    block, count = unit * (MIB // len(unit)), int(rng.integers(300, 400))
    if path.suffix == ".gz":
        packer = zlib.compressobj(1, wbits=31)
    elif path.suffix == ".bz2":
        packer, count = bz2.BZ2Compressor(1), 100
    elif path.suffix == ".xz":
        packer = lzma.LZMACompressor(preset=0)
    else:
        import zstandard

        packer = zstandard.ZstdCompressor(1).compressobj()
    with path.open("wb") as file:
        file.write(packer.compress(b"a,b\n1,2\n"))
        for _ in range(count):
            file.write(packer.compress(block))
        file.write(packer.flush())


ARCHIVES = (
    zeros, shapes, sizes, nested, overlapping, duplicates, links, paths, headers, directory, packed_idx,
)  # fmt: skip
LIBRARIES = {  # what a maker and the reader of its file need, and the endings of its files
    columns: ("pyarrow", ("parquet", "feather")),
    one_page: ("pyarrow", ("parquet",)),
    tables: ("h5py", ("h5",)),
    elsewhere: ("h5py", ("h5",)),
    variables: ("scipy", ("mat",)),
    text: ("pandas", ("csv.gz", "csv.bz2", "csv.xz", "csv.zst")),
}


def installed(package):
    return importlib.util.find_spec(package) is not None


MAKERS = (*ARCHIVES, *(make for make, (package, _) in LIBRARIES.items() if installed(package)))


def file_for(make, rng):
    """Return the name of the file that a maker is to make."""
    if make in ARCHIVES:
        return "bomb.npz"
    endings = LIBRARIES[make][1]
    endings = [one for one in endings if one != "csv.zst" or installed("zstandard")]
    return f"bomb.{rng.choice(endings)}"


def openers(path):
    """Return what to open a file by."""
    if path.suffix != ".npz":
        return {"data": lambda: load(path)}
    found = {
        "model": lambda: rg.load(path),
        "checkpoint": lambda: read_snapshot(path, "run"),
        "data": lambda: load(path),
    }
    if (folder := path.with_suffix("")).is_dir():
        found["mnist"] = lambda: load("mnist", data_dir=folder)
    return found


def opened(action):
    """Open in a process of its own; return what came of it, and its peak of memory in bytes."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():  # Python warns where there are threads
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        try:
            action()
            said = "opened"
        except (ValueError, OSError) as error:
            line = str(error)
            said = (
                "refused"
                if line and "\n" not in line and len(line) < 1000
                else f"not one line: {line!r}"
            )
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode()[:2000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode(errors="replace")
    _, status, used = os.wait4(pid, 0)
    if status:
        said = f"ended with {os.waitstatus_to_exitcode(status)}"
    return said, used.ru_maxrss * 1024


def made_apart(make, path, rng):
    """Make a file in a process of its own, whose memory is not that of the one that opens it."""
    if make in ARCHIVES:
        make(path, rng)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            make(path, rng)
            status = 0
        os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{make.__name__} could not make {path.name}")


def run(count, seed, report=print):
    """Return how many went wrong."""
    wrong, peak, counts = 0, 0, Counter()
    before = opened(lambda: None)[1]  # what a process has that opens nothing
    limit = max(MEMORY, before + 200 * 10**6)
    for i in range(count):
        rng, make = np.random.default_rng([seed, i]), MAKERS[i % len(MAKERS)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file_for(make, rng)
            made_apart(make, path, rng)
            there = sorted(Path(folder).rglob("*"))
            for name, action in openers(path).items():
                said, memory = opened(action)
                peak, counts[make.__name__] = max(peak, memory), counts[make.__name__] + 1
                if said != "refused" or memory > limit:
                    wrong += 1
                    report(f"bomb {i}, {make.__name__}, as {name}: {said}, {memory / 1e6:.0f} MB")
            if sorted(Path(folder).rglob("*")) != there:
                wrong += 1
                report(f"bomb {i}, {make.__name__}: a file was made")
    report(
        f"{count} archives of {len(MAKERS)} kinds, opened {counts.total()} times: {wrong} not refused in one "
        f"line below {MEMORY / 1e6:.0f} MB; peak RSS {peak / 1e6:.0f} MB ({before / 1e6:.0f} MB before)"
    )
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(1 if run(options.count, options.seed) else 0)
