"""Runs the zoo: every entry is checked, and its verdict is compared with what it must be."""

from __future__ import annotations

import importlib
import importlib.util
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from relgrad_np import oracle

from .entries import RIGHT, Entry

LIBRARIES = {
    "torch.distributions": ("of_torch", "torch"), "nflows": ("of_nflows", "nflows"),
    "zuko": ("of_zuko", "zuko"), "normflows": ("of_normflows", "normflows"),
    "FrEIA": ("of_freia", "FrEIA"), "flowjax": ("of_flowjax", "flowjax"),
}  # fmt: skip


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """Yield a record of each entry whose library or name has `only` in it."""
    for library, (module, package) in LIBRARIES.items():
        try:
            found = _in_float64(importlib.import_module(f".{module}", __package__).entries)
        except ImportError as error:
            yield {"library": library, "skipped": f"{error}"}
            continue
        version = metadata.version(package)
        for entry in found:
            if only.lower() in f"{library} {entry.name}".lower():
                yield {"library": library, "version": version, **judged(entry, library)}


def judged(entry: Entry, library: str) -> dict[str, Any]:
    """Return the record of an entry: verdict, laws, and whether that is what must come out."""
    start = time.perf_counter()
    adapt = oracle.from_jax if library == "flowjax" else oracle.from_torch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = adapt(_in_float64(entry.make), D=entry.D, born="float64", **entry.given)
            report = oracle.check_flow(**{**given, **entry.declared})
    except Exception as error:
        traceback.print_exc(limit=-4)
        said = f"RAISED {type(error).__name__}: {error}"
        return _record(entry, "error", said, {}, time.perf_counter() - start)
    laws = {law.law: law.verdict for law in report.laws}
    right = "right" if report.passed else "wrong"
    return _record(entry, right, report.verdict, laws, time.perf_counter() - start)


def _in_float64(make: Callable[[], Any]) -> Any:
    """Return what is made in float64; torch's default is float32 again when it is judged."""
    if importlib.util.find_spec("jax"):
        import jax

        with jax.enable_x64(True):
            return _with_torch(make)
    return _with_torch(make)


def _with_torch(make: Callable[[], Any]) -> Any:
    import torch

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        return make()
    finally:
        torch.set_default_dtype(torch.float32)


def _record(
    entry: Entry, found: str, verdict: str, laws: dict[str, str], seconds: float
) -> dict[str, Any]:
    ok = found == RIGHT if entry.expected == RIGHT else entry.expected in verdict
    return {
        "name": entry.name, "D": entry.D, "found": found, "verdict": verdict, "laws": laws,
        "expected": entry.expected, "why": entry.why, "as_expected": ok,
        "seconds": round(seconds, 2),
    }  # fmt: skip
