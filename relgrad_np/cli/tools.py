"""Commands that need no model: `demo`, `verify`, `info`."""

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ..core.version import __version__
from .arguments import Command, seed_number
from .console import show_pairs, wants_bar

COMPLETION = """examples:
  relgrad-np completion bash > ~/.local/share/bash-completion/completions/relgrad-np
  relgrad-np completion zsh > ~/.zfunc/_relgrad-np"""


def register(command: Command) -> None:
    """Add the commands; `command(name, run, text)` makes a parser."""
    demo = command("demo", run_demo, "the main job on real data, in under a minute, with pictures")
    demo.add_argument(
        "--out", type=Path, default=Path("relgrad-demo"), help="folder of the pictures"
    )
    demo.add_argument("--seed", metavar="N", type=seed_number, default=0)
    verify = command("verify", run_verify, "check this installation against the definitions")
    verify.add_argument("--json", action="store_true", help="one JSON object a line")
    info = command("info", run_info, "versions, BLAS, threads, devices")
    info.add_argument("--json", action="store_true")
    words = "print what lets a shell complete commands and options"
    completion = command("completion", run_completion, words, COMPLETION)
    completion.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"))


def run_demo(options: argparse.Namespace) -> int:
    """Run the demonstration; 1 if a part of it does not hold."""
    from .demo import demo

    return 0 if demo(options.out, options.seed, progress=wants_bar()) else 1


def run_verify(options: argparse.Namespace) -> int:
    """Print every check; 1 if one fails."""
    from .verify import table, verify

    checks = verify()
    if options.json:
        for check in checks:
            print(json.dumps({**check._asdict(), "passed": check.passed}))
    else:
        print(table(checks))
    return 0 if all(check.passed for check in checks) else 1


def run_completion(options: argparse.Namespace) -> int:
    """Print a shell's completion, made by shtab from the parser."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise ModuleNotFoundError("completion needs shtab: pip install shtab") from None
    print(shtab.complete(options.root, shell=options.shell))
    return 0


def run_info(options: argparse.Namespace) -> int:
    """Print what is installed here."""
    facts = information()
    if options.json:
        print(json.dumps(facts))
    else:
        show_pairs([(key, str(value)) for key, value in facts.items()])
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
    extras: tuple[str, ...] = (
        "numpy",
        "scipy",
        "array-api-compat",
        "numba",
        "scikit-learn",
        "matplotlib",
        "tqdm",
    )
    extras += ("pandas", "pyarrow", "h5py", "rich")
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
