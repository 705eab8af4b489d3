"""Damage valid files of every kind and load them: a Dataset or a one-line error, nothing else.

    python tests/programs/fuzz_loaders.py --count 10000 --seed 0

Allowed: a sound Dataset, ValueError or OSError with a message of one line. Reported, with exit
status 1: any other exception, a warning, a crash of the process, 5 s in one file, 2 GiB of
memory, or a sign that a file had code run. Case i of a seed is the same whatever the count.
"""

import argparse
import contextlib
import faulthandler
import gzip
import io
import os
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

SECONDS = 5
BYTES = 2 * 2**30
WORDS = [b"nan", b"inf", b"1e999", b'"', b"\n", b"\r\n", b",", b";", b"\x00", b"-", b"?", b"_", b"1L", b"('O')"]  # fmt: skip
WORDS += [b"|O", b"\\", b"(((((", b"9" * 12, b"True", b"'descr'", b"\xff\xfe", "é".encode(), b"[1]*9**9", b"#"]  # fmt: skip


class Pickled:
    """What, unpickled, leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def npy(X, **options):
    stream = io.BytesIO()
    np.save(stream, X, **options)
    return stream.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


def idx(X):
    return bytes([0, 0, 8, X.ndim]) + struct.pack(f">{X.ndim}I", *X.shape) + X.tobytes()


def jpeg(X):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(X).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def hdf5(arrays, chunks=(10, 63)):
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, X in arrays.items():
            file.create_dataset(name, data=X, compression="gzip", chunks=chunks)
    return stream.getvalue()


def mat(X):
    import scipy.io

    stream = io.BytesIO()
    scipy.io.savemat(stream, {"X": X}, do_compression=True)
    return stream.getvalue()


def arrow(X):
    """A .parquet and a .feather file, where pyarrow is installed."""
    try:
        import pyarrow as pa
        import pyarrow.feather
        import pyarrow.parquet
    except ModuleNotFoundError:
        return {}
    table, files = pa.table({f"x{j}": x for j, x in enumerate(np.ascontiguousarray(X.T))}), {}
    for kind, write in (("parquet", pa.parquet.write_table), ("feather", pa.feather.write_feather)):
        stream = io.BytesIO()
        write(table, stream)
        files[kind] = stream.getvalue()
    return files


def seeds(proof):
    """Return {kind: (name of the data, {file: bytes}, the file to damage, how to pack it)}."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 3))
    images = rng.integers(0, 256, (24, 28, 28), dtype=np.uint8)
    lines = [",".join(f"{x:.4f}" for x in row) for row in X]
    found = {
        "npy": {"my.npy": npy(X)},
        "npy float32, Fortran": {"my.npy": npy(np.asfortranarray(X.astype(np.float32)))},
        "npy integers": {"my.npy": npy(rng.integers(0, 9, (24, 3)).astype(">i2"))},
        "npy pickled": {"my.npy": npy(np.array([[Pickled(proof)]] * 12), allow_pickle=True)},
        "npy mapped": {"my.npy": npy(X)},
        "npz": {"my.npz": zipped({"X.npy": npy(X)})},
        "npz stored": {"my.npz": zipped({"x_train.npy": npy(X), "x_test.npy": npy(X)}, 0)},
        "csv": {"my.csv": "\n".join(["age,height,weight", *lines, ""]).encode()},
        "csv bare": {"my.csv": "\r\n".join(lines).replace(",", ";").encode()},
        "csv.gz": {"my.csv.gz": gzip.compress("\n".join(lines).encode(), mtime=0)},
        "mat": {"my.mat": mat(X)},
        **{kind: {f"my.{kind}": made} for kind, made in arrow(X).items()},
        "mnist.npz": {"mnist.npz": zipped({"x_train.npy": npy(images), "x_test.npy": npy(images)})},
        "idx": {"train-images-idx3-ubyte": idx(images), "t10k-images-idx3-ubyte": idx(images)},
        "idx.gz": {
            "train-images-idx3-ubyte.gz": gzip.compress(idx(images), mtime=0),
            "t10k-images-idx3-ubyte.gz": gzip.compress(idx(images), mtime=0),
        },
        "power.txt": {
            "household_power_consumption.txt": "\n".join(
                [
                    "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;"
                    "Sub_metering_1;Sub_metering_2;Sub_metering_3",
                    *(
                        f"16/12/2006;17:{i}:00;{4 + i / 7:.3f};0.4;23{i % 9}.8;1.4;{i}.0;1.0;{i % 5}.0"
                        for i in range(24)
                    ),
                    "16/12/2006;18:00:00;?;?;?;?;?;?;",
                ]
            ).encode()
        },
        "power.npz": {
            "power_maf6.npz": zipped(
                {
                    "gap_w.npy": npy(np.arange(24, dtype=np.uint16)),
                    "volt_c.npy": npy(np.arange(24, dtype=np.uint16) % 7),
                    "sm.npy": npy(rng.integers(0, 9, (24, 3), dtype=np.uint8)),
                    "minute.npy": npy(np.arange(24, dtype=np.uint16)),
                }
            )
        },
        "miniboone": {"miniboone.npy": npy(rng.normal(size=(60, 43)))},
    }
    with contextlib.suppress(ModuleNotFoundError):
        photograph = rng.integers(0, 256, (24, 16), dtype=np.uint8)
        found["jpg"] = {
            f"BSDS300/images/{part}/{i}.jpg": jpeg(photograph)
            for part in ("train", "test")
            for i in range(2)
        }
    with contextlib.suppress(ModuleNotFoundError):
        patches = {key: rng.normal(size=(20, 63)) for key in ("train", "validation", "test")}
        found["hdf5"] = {"BSDS300.hdf5": hdf5(patches)}
        found["h5"] = {"my.h5": hdf5({"X": X}, chunks=(10, 3))}
    return found


def damage(data, rng):
    """Return the bytes after one to four random injuries."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        size = len(data)
        if size < 4:
            break
        where = int(rng.integers(size if rng.random() < 0.5 else min(size, 130)))  # or its header
        length = int(rng.integers(1, 1 + min(64, size)))
        match rng.integers(9):
            case 0:
                data[where] ^= 1 << int(rng.integers(8))
            case 1:
                data[where] = int(rng.choice([0, 1, 127, 128, 255, 10, 44, 48, 57]))
            case 2:
                del data[where:]
            case 3:
                del data[where : where + length]
            case 4:
                data[where:where] = rng.bytes(length)
            case 5:
                word = WORDS[rng.integers(len(WORDS))]
                data[where : where + int(rng.integers(2)) * len(word)] = word
            case 6:
                other = int(rng.integers(size))
                chunk = data[other : other + length]
                data[other : other + length] = data[where : where + length]
                data[where : where + len(chunk)] = chunk
            case 7:
                data[where:where] = data[where : where + length] * int(rng.integers(1, 30))
            case 8:  # a length, or a digit of one
                digits = [i for i, byte in enumerate(data[:200]) if chr(byte).isdigit()]
                if digits and rng.random() < 0.5:
                    data[int(rng.choice(digits))] = int(rng.integers(48, 58))
                else:
                    value = int(rng.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
                    data[where : where + 4] = struct.pack(rng.choice(["<I", ">I"]), value)
    return bytes(data)


def damaged(files, rng):
    """Return the files, one of them damaged; at times inside its compression, checksums mended."""
    name = list(files)[rng.integers(len(files))]
    data = files[name]
    if name.endswith(".npz") and rng.random() < 0.6:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = {member: file.read(member) for member in file.namelist()}
        chosen = list(members)[rng.integers(len(members))]
        members[chosen] = damage(members[chosen], rng)
        return {**files, name: zipped(members)}
    if name.endswith(".gz") and rng.random() < 0.6:
        return {**files, name: gzip.compress(damage(gzip.decompress(data), rng), mtime=0)}
    return {**files, name: damage(data, rng)}


def target(kind, folder):
    """Return the arguments of `load` for the files of this kind."""
    for prefix, name in (("mnist", "mnist"), ("idx", "mnist"), ("power", "power"), ("jpg", "bsds300"), ("hdf5", "bsds300"), ("miniboone", "miniboone")):  # fmt: skip
        if kind.startswith(prefix):
            return name, {"data_dir": folder}
    file = folder / f"my.{kind.split()[0]}"
    return file, {"lazy_above": 10} if kind == "npy mapped" else {}


class TooLongError(BaseException):
    """Not an Exception, so that no loader takes it for a fault of the file."""


def overdue(number, frame):
    raise TooLongError


def outcome(kind, files, proof):
    """Load the files; return what came of it, and what is wrong with that (None if nothing)."""
    from relgrad_np.datasets import SPLITS, Dataset, load

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for relative, data in files.items():
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        source, options = target(kind, folder)
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, overdue)
            signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)  # if no signal comes through
        try:
            data = load(source, **options)
            parts = [data.transforms.forward(data.train[:5])] if data.lazy else [data.train]
            parts += [data.validation, data.test]
            sound = isinstance(data, Dataset) and all(
                part.dtype == np.float64 and np.isfinite(part).all() for part in parts
            )
            result = "loaded", None if sound else f"no sound Dataset of {len(SPLITS)} splits"
        except (ValueError, OSError) as error:
            line = str(error)
            result = type(error).__name__, None
            if not line or "\n" in line or len(line) > 1000:
                result = result[0], f"not one line: {line!r}"
        except TooLongError:
            result = "hang", f"more than {SECONDS} s"
        except BaseException as error:
            result = type(error).__name__, f"{type(error).__name__}: {error}"
        finally:
            if hasattr(signal, "SIGALRM"):
                signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
    if proof.exists():
        result = "code ran", "a pickle was opened"
    if memory() > BYTES:
        result = "memory", f"{memory() / 2**30:.1f} GiB"
    return result


def memory():
    """Return the most memory that this process has held, in bytes; 0 where it can't be asked."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def case(seed, i, everything):
    """Return the kind and the damaged files of case i."""
    rng = np.random.default_rng([seed, i])
    kind = list(everything)[rng.integers(len(everything))]
    return kind, damaged(everything[kind], rng)


def work(seed, start, stop):
    """Run cases in this process; a line before each and a line after it."""
    from relgrad_np.datasets.standard import bsds300

    warnings.simplefilter("error")
    bsds300.COUNTS = (50, 20, 20)  # patches
    with tempfile.TemporaryDirectory() as name:
        proof = Path(name) / "proof"
        everything = seeds(proof)
        for kind, files in everything.items():  # undamaged, all load, but the pickle
            what, wrong = outcome(kind, files, proof)
            if wrong or (what == "loaded") != (kind != "npy pickled"):
                print(f"undamaged\t{kind}\t{what}\t{wrong or 'unexpected'}", flush=True)
        for i in range(start, stop):
            kind, files = case(seed, i, everything)
            print(f"case\t{i}\t{kind}", flush=True)
            what, wrong = outcome(kind, files, proof)
            proof.unlink(missing_ok=True)
            print(f"done\t{kind}\t{what}\t{wrong or ''}", flush=True)


def run(count, seed):
    """Return (counts of outcomes, reports) of `count` cases, in processes that may die."""
    counts, reports, start = Counter(), [], 0
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    while start < count:
        arguments = [__file__, "--seed", str(seed), "--work", str(start), str(count)]
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=environment
        )
        last = start - 1
        for line in done.stdout.splitlines():
            word, *rest = line.split("\t", 3)
            if word == "case":
                last, current = int(rest[0]), rest[1]
            elif word == "done":
                counts[rest[0], rest[1]] += 1
                if rest[2]:
                    reports.append(f"case {last}, {rest[0]}: {rest[2]}")
            else:
                reports.append(line)
        if done.returncode == 0:
            break
        lines = done.stderr.strip().splitlines() or [""]
        if last < start:
            raise RuntimeError(f"no case could be run: {lines[-1]}")
        reports.append(f"case {last}, {current}: exit status {done.returncode}: {lines[0]}")
        start = last + 1
    return counts, reports


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.seed, *options.work)
        return 0
    counts, reports = run(options.count, options.seed)
    kinds = sorted({kind for kind, _ in counts})
    for kind in kinds:
        mine = ", ".join(f"{what} {n}" for (k, what), n in sorted(counts.items()) if k == kind)
        print(f"{kind:22s}{mine}")
    print(f"{counts.total()} files loaded or refused, {len(reports)} reports")
    for report in reports:
        print(report)
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
