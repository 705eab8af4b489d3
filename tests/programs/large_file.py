"""Train on a float32 file larger than what the run may keep in memory (Linux).

    python tests/programs/large_file.py --gib 3
    python tests/programs/large_file.py --gib 3 --kind parquet

Writes the file (a .npy, which is memory-mapped, or a .parquet by row groups), trains one epoch on
it by the command line, and watches RssAnon, the memory that is the process's own and no mapped
file's, and VmRSS, in which the pages of a mapped file count that the system may take back at any
time. Ends with the peaks; status 1 if RssAnon is 1 GiB or above.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT = 2**30
KINDS = ("RssAnon", "VmRSS")


def parts(rows, D):
    """Runs of rows that are mixed, in order: from their first row on."""
    rng = np.random.default_rng(0)
    M = rng.standard_normal((D, D)).astype("f4")
    for start in range(0, rows, 2**17):
        size = min(2**17, rows - start)
        one, other = (rng.standard_exponential((size, D), "f4") for _ in range(2))
        yield start, (one - other) @ M  # of Laplace's distribution


def write(path, gib, D=64):
    rows = int(gib * 2**30 / (4 * D))
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        schema = pa.schema([(f"x{j}", pa.float32()) for j in range(D)])
        with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False) as file:
            for _, X in parts(rows, D):
                columns = [pa.array(np.ascontiguousarray(x)) for x in X.T]
                file.write_table(pa.Table.from_arrays(columns, schema=schema))
        return rows
    file = np.lib.format.open_memmap(path, mode="w+", dtype="f4", shape=(rows, D))
    for start, X in parts(rows, D):
        file[start : start + len(X)] = X
    file.flush()
    return rows


def memory(pid):
    """What the process holds, in bytes, by kind; nothing once it has gone."""
    try:
        lines = [line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {key: int(rest.split()[0]) * 1024 for key, rest in lines if key in KINDS}


def run(gib, kind="npy", report=print):
    with tempfile.TemporaryDirectory() as base:
        path = Path(base) / f"large.{kind}"
        rows = write(path, gib)
        command = [sys.executable, "-m", "relgrad_np", "train", str(path), "--epochs", "1"]
        command += [
            "--no-pictures",
            "--batch-size",
            "1000",
            "--dtype",
            "float32",
            "--out",
            str(Path(base) / "run"),
        ]
        peak, started = dict.fromkeys(KINDS, 0), time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                for key, held in memory(process.pid).items():
                    peak[key] = max(peak[key], held)
                time.sleep(0.02)
            output = process.stdout.read()
        report(output.strip())
        held = ", ".join(f"{key} {bytes_ / 2**20:.0f} MiB" for key, bytes_ in peak.items())
        report(
            f"{path.stat().st_size / 2**30:.2f} GiB, {rows} rows: peak {held}, status"
            f" {process.returncode}, {time.monotonic() - started:.0f} s"
        )
        return process.returncode != 0 or peak["RssAnon"] >= LIMIT


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=3.0)
    parser.add_argument("--kind", choices=["npy", "parquet"], default="npy")
    options = parser.parse_args()
    sys.exit(run(options.gib, options.kind))
