"""Commands that need no model: demo, verify, info."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..core.version import __version__


def _demo(options: argparse.Namespace) -> int:
    from .demo import demo

    return 0 if demo(options.out, options.seed, progress=_progress()) else 1


def _verify(options: argparse.Namespace) -> int:
    from .verify import table, verify

    checks = verify()
    if options.json:
        for check in checks:
            print(json.dumps({**check._asdict(), "passed": check.passed}))
    else:
        print(table(checks))
    return 0 if all(check.passed for check in checks) else 1


def _progress() -> bool:
    """Show a bar to a person at a terminal who has tqdm."""
    import importlib.util

    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _bench(options: argparse.Namespace) -> int:
    """Run the benchmarks of a checkout: they are no part of the wheel."""
    import importlib

    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "run.py").exists():
        raise ModuleNotFoundError(
            "the benchmarks come with the repository, not with the package: clone it, then "
            "pip install -e '.[fast,peers]'"
        )
    sys.path.insert(0, str(root))
    if options.device == "cuda":
        asked = ["--out", str(options.out)] if options.out else []
        asked += ["--quick"] if options.quick else []
        return int(importlib.import_module("benchmarks.cuda").main(asked))
    asked = ["--cells", options.cells, "--threads", str(options.threads)]
    asked += ["--quick"] if options.quick else []
    asked += ["--out", str(options.out)] if options.out else []
    return int(importlib.import_module("benchmarks.run").main(asked))


def _info(options: argparse.Namespace) -> int:
    facts = information()
    if options.json:
        print(json.dumps(facts))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{key:<{width}}  {value}" for key, value in facts.items()))
    return 0


def information() -> dict[str, Any]:
    """Return versions, BLAS, threads and devices of this installation.

    >>> information()["relgrad_np"] == __version__
    True
    """
    facts: dict[str, Any] = {
        "relgrad_np": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} processors",
    }
    extras = ("numpy", "scipy", "array-api-compat", "numba", "scikit-learn", "matplotlib", "tqdm")
    for package in (*extras, "mpi4py", "cupy-cuda13x", "torch", "jax"):
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = None
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts["BLAS"] = f"{blas.get('name')} {blas.get('version')}"
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        facts[variable] = os.environ.get(variable)
    facts["devices"] = ["cpu", *_cuda_devices()]
    return facts


def _cuda_devices() -> list[str]:
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
        return [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    except Exception:  # no CuPy, no driver, no device: each its own error, all mean none
        return []
