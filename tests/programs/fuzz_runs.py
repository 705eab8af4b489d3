"""Damage what a run leaves on disk and open it: as it was, or refused in one line, nothing else.

    python -m tests.programs.fuzz_runs --count 10000 --seed 0

A model, a checkpoint or a config.json is damaged: its bytes; or its header or arrays, and then its
checksum is made anew, as somebody would who means harm. Damaged bytes must be refused by ValueError
or OSError in one line, or have harmed nothing: then every array and setting is what it was. With a
new checksum, any sound model, checkpoint or config may come out. Reported, with exit status 1: any
other exception, a crash, 5 s in one file, 1 GiB of memory, a value that differs.
"""

import argparse
import copy
import json
import os
import signal
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import relgrad_np as rg
from relgrad_np.fitting.loop import fit
from relgrad_np.fitting.storage import store
from relgrad_np.runs.checkpoint import CheckpointWriter, pack, read_snapshot
from relgrad_np.runs.folder import create, read_config
from relgrad_np.runs.settings import Settings
from tests.programs.fuzz_loaders import TooLongError, damage, memory, overdue

SECONDS, BYTES = 5, 2**30
ODD = (
    None,
    True,
    0,
    -1,
    2**70,
    1e400,
    "",
    "x",
    [],
    {},
    [[]],
    {"array": "x"},
    {"tuple": []},
    "normal",
)
ODD += (
    {"State": [1]},
    {"Snapshot": []},
    {"nonsense": []},
    {"a": 1, "b": 2},
    float("nan"),
    "\ud800",
)


def prepare(folder):
    """Make a small run; return {kind: (path, how it is opened)}."""
    rng = np.random.default_rng(0)
    X, layers = rng.laplace(size=(60, 3)), rg.init_layers(rng, 3, 2)
    model = rg.activation("leaky_tanh"), rg.density("sech")
    keeper = CheckpointWriter(folder / "checkpoints", "run", steps=5)
    result = fit(layers, X, *model, rng=rng, epochs=2, batch_size=10, keeper=keeper, average=0.5,
                 implementation="reference", compare=False)  # fmt: skip
    chain = rg.Chain((rg.datasets.Standardise.fit(X),))
    rg.save(folder / "model.npz", rg.Model(result.layers, *model, chain, {"data": "x"}))
    create(
        folder / "run",
        {"data": "x", "rows": None, "fingerprint": "f", "settings": asdict(Settings())},
    )
    newest = sorted((folder / "checkpoints").glob("step-*.npz"))[-1]
    return {
        "model": (folder / "model.npz", rg.load),
        "checkpoint": (newest, lambda path: read_snapshot(path, "run")),
        "config": (folder / "run" / "config.json", lambda path: read_config(path.parent)),
    }


def plain(value):
    """Return what was read as JSON and bytes, to compare."""
    if isinstance(value, rg.Model):
        chain, act, density = value.transforms.to_list(), value.activation, value.density
        value = (
            value.layers,
            act.name,
            dict(act.params),
            density.name,
            dict(density.params),
            chain,
            value.config,
        )
        return json.dumps([_plain(x) for x in value])
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    arrays = {}
    described = json.dumps(pack(value, "x", arrays))
    return described + "".join(
        f"{k}{x.dtype}{x.shape}{x.tobytes().hex()}" for k, x in arrays.items()
    )


def _plain(x):
    if isinstance(x, np.ndarray):
        return f"{x.dtype}{x.shape}{x.tobytes().hex()}"
    return [_plain(part) for part in x] if isinstance(x, tuple) else x


def places(tree, path=()):
    """Return the way to every value in a tree of JSON."""
    found = [path]
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, part in items:
        found += places(part, (*path, key))
    return found


def changed(tree, rng):
    """Return a tree of JSON with one to three values that are another, missing, or too many."""
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        where = places(tree)
        way = where[int(rng.integers(len(where)))]
        if not way:
            continue
        parent = tree
        for key in way[:-1]:
            parent = parent[key]
        key, how = way[-1], rng.integers(6)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, list):
            parent.append(parent[key])
        elif how == 2 and len(where) > 2:
            other = tree
            for step in where[int(rng.integers(1, len(where)))]:
                other = other[step]
            parent[key] = copy.deepcopy(other)
        elif how == 3:
            for _ in range(int(rng.choice([3, 100, 250]))):
                parent[key] = {"tuple": [parent[key]]}
        else:
            parent[key] = ODD[int(rng.integers(len(ODD)))]
    return tree


def resigned(path, original, rng):
    """Write the file with a changed header or arrays, and a checksum that fits them."""
    header, arrays = copy.deepcopy(original)
    if rng.random() < 0.6:
        header = changed(header, rng)
    for name in rng.choice(sorted(arrays), int(rng.integers(0, 3))):
        x = arrays[name]
        arrays[name] = [
            x.astype("f4"), x.reshape(-1), x.reshape(-1)[:0], np.zeros((2, 2)), x * np.nan, np.array(3), x[..., None], x > 0,
        ][int(rng.integers(8))]  # fmt: skip
    if arrays and rng.random() < 0.2:
        del arrays[sorted(arrays)[int(rng.integers(len(arrays)))]]
    store.write(path, header, arrays)


def outcome(path, read, truth):
    """Open the file; return what came of it, and what is wrong with that, None for nothing."""
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(SECONDS)
    try:
        value = read(path)
        signal.alarm(0)
        same = truth is None or plain(value) == truth
        return "as it was" if truth else "opened", None if same else "another value"
    except (ValueError, OSError) as error:
        line = str(error)
        fine = line and "\n" not in line and len(line) < 1500
        return "refused", None if fine else f"not one line: {line[:200]!r}"
    except TooLongError:
        return "hang", f"more than {SECONDS} s"
    except BaseException as error:
        return "other", f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)


def run(count, seed, report=print):
    """Return how many went wrong."""
    warnings.simplefilter("error")
    counts, wrong, limit = Counter(), 0, max(BYTES, memory() + BYTES // 2)
    with tempfile.TemporaryDirectory() as folder:
        everything = prepare(Path(folder))
        kinds = list(everything)
        good = {kind: path.read_bytes() for kind, (path, _) in everything.items()}
        truth = {kind: plain(read(path)) for kind, (path, read) in everything.items()}
        signed = {kind: store.read(everything[kind][0]) for kind in kinds if kind != "config"}
        for i in range(count):
            rng = np.random.default_rng([seed, i])
            kind, anew = kinds[int(rng.integers(3))], bool(rng.random() < 0.5)
            path, read = everything[kind]
            try:
                if not anew:
                    path.write_bytes(damage(good[kind], rng))
                elif kind == "config":
                    path.write_text(json.dumps(changed(json.loads(good[kind]), rng)))
                else:
                    resigned(path, signed[kind], rng)
            except (RecursionError, ValueError):  # it can't even be written
                path.write_bytes(good[kind])
                counts[kind, "not written"] += 1
                continue
            loose = anew or kind == "config"  # config.json has no checksum
            what, bad = outcome(path, read, None if loose else truth[kind])
            counts[kind, what] += 1
            if bad or memory() > limit:
                wrong += 1
                report(
                    f"case {i}, {kind}, {'new checksum' if anew else 'damaged'}: {bad or 'memory'}"
                )
            path.write_bytes(good[kind])
    listed = ", ".join(f"{kind} {what} {n}" for (kind, what), n in sorted(counts.items()))
    report(f"{counts.total()} damaged files of a run: {wrong} reports; {listed}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(1 if run(options.count, options.seed) else 0)
