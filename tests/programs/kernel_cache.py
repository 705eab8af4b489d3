"""Stored machine code is that of these sources, this Numba and this processor, whoever compiles.

    python -m tests.programs.kernel_cache

In a copy of the package: a kernel that another one calls is changed, and the next run shows it; two
processes compile at once; the folder can't be written to; the code is another processor's, or
damaged. Status 1 if a result is not that of the sources, or a process fails. About two minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import relgrad_np
from tests.programs.faults import mounted

PACKAGE = Path(relgrad_np.__file__).parent
LINE = "relgrad-np: compiling kernels"
SWEEP = """
import numpy as np
from relgrad_np.kernels.cpu.elementwise import density_constants, density_sweep
z, out = np.linspace(-3, 3, 7), [np.empty(7), np.empty(7)]
density_sweep(z, *density_constants("logistic", {}, "float64"), *out)
print(out[0].tolist())
"""


def begin(folder, kept, **variables):
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(kept)} | variables
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(process):
    """Return what it printed, whether it compiled, and its exit status."""
    out, err = process.communicate(timeout=300)
    return out, LINE in err, process.returncode


def run(report=print):
    """Return how many cases went wrong."""
    wrong = []

    def expect(case, found, *expected):
        if tuple(found) != expected:
            wrong.append(case)
        report(f"{case}: {'as it should be' if case not in wrong else f'{found}, not {expected}'}")

    with tempfile.TemporaryDirectory() as base:
        base = Path(base)
        shutil.copytree(
            PACKAGE, base / "relgrad_np", ignore=shutil.ignore_patterns("__pycache__", "suite")
        )
        kept = base / "kept"
        at_once = [begin(base, kept) for _ in range(2)]
        found = [end(process) for process in at_once]
        truth = found[0][0]
        expect("two processes compile at once", found, (truth, True, 0), (truth, True, 0))
        expect("the next one loads", end(begin(base, kept)), truth, False, 0)
        expect("for another processor", end(begin(base, kept, NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse2"))[1:], True, 0)  # fmt: skip
        expect("this one's code is still there", end(begin(base, kept)), truth, False, 0)
        helper = base / "relgrad_np" / "kernels" / "cpu" / "exp_log.py"
        text = helper.read_text()
        helper.write_text(text.replace("6.666666666666735130e-01", "9e-01"))
        changed, compiled, status = end(begin(base, kept))
        expect("a kernel that another one calls has changed", (changed != truth, compiled, status), True, True, 0)  # fmt: skip
        helper.write_text(text)
        expect("and is as it was again", end(begin(base, kept))[::2], truth, 0)
        for path in kept.rglob("*.nb[ic]"):
            path.write_bytes(path.read_bytes()[:50])
        expect("damaged code", end(begin(base, kept)), truth, True, 0)
        if os.geteuid() == 0 and shutil.which("mount"):
            try:
                with mounted(base / "fixed", "size=1m") as disk:
                    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
                    expect(
                        "a folder that can't be written to", end(begin(base, disk)), truth, True, 0
                    )
            except subprocess.CalledProcessError:
                report("a folder that can't be written to: skipped, mounting is not allowed here")
    report(f"{len(wrong)} cases wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(1 if run() else 0)
