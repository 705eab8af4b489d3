"""The cases of tests/distributed/test_ranks.py that run on every rank; rank 0 prints one JSON object.

    mpiexec -n 4 python -m tests.programs.on_ranks same:1 same:4 errors

A case runs on all ranks, or on as many of them as its name says after the colon.
"""

import functools
import json
import os
import sys
import time
from dataclasses import replace

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import array_api_strict
import numpy as np

import relgrad_np as rg
from relgrad_np.distributed import ranks
from relgrad_np.distributed import train_step as distributed
from relgrad_np.distributed.exchange import cost, possible
from relgrad_np.distributed.ranks import Ranks
from relgrad_np.rules.by_name import make_rule
from tests.laws.problems import Stumble
from tests.rules.test_own_rule import clipped

COMM = None  # the ranks of a case, set below: importing mpi4py.MPI starts MPI
RATES = {"plain": 0.03, "exponential": 0.03, "scalar": 0.03, "adam": 1e-2, "recipe": 0.4}
ACT, DENS = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")
D, L = 6, 3


def start(rows=1000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.laplace(size=(rows, D)) @ rng.uniform(-1, 1, (D, D)).T + 0.5
    return rng, X, rg.init_layers(rng, D, L)


def given():
    """Layers that take the last two of D columns as context."""
    return rg.init_layers(np.random.default_rng(1), D - 2, L, context=2)


def fitted(comm=None, rule="plain", epochs=12, batch_size=25, rows=1000, layers=None, **options):
    """25 rows in a batch: no number of ranks but 1 divides them."""
    rng, X, own = start(rows)
    return rg.fit(
        layers or own, X, ACT, DENS, rng=rng, rule=rule, learning_rate=RATES.get(str(rule)), epochs=epochs,
        batch_size=batch_size, X_val=X[:103], implementation="reference", comm=comm, **options,
    )  # fmt: skip


@functools.cache
def alone(rule, epochs, depth):
    """Return the fit of one process, which several cases compare with."""
    return fitted(rule=rule, epochs=epochs, layers=start()[2][:depth])


def apart(one, two):
    """Return the largest difference of two lists of layers."""
    return max(
        float(np.max(np.abs(x - y)))
        for a, b in zip(one, two, strict=True)
        for x, y in zip(a, b, strict=True)
    )


def same():
    """Return, for each rule and exchange, the distance from one process, and bytes sent and modelled."""
    found = {}
    for name in RATES:
        rule = make_rule(name)
        truth = alone(name, 5, 2) if COMM.rank == 0 else None
        for exchange in possible(rule) if name != "exponential" else ("factors", "sums"):
            team = Ranks(COMM, exchange=exchange, check_every=10)
            result = fitted(team, name, epochs=5, layers=start()[2][:2])
            off = apart(result.layers, truth.layers) if truth else None
            best = apart(result.best_layers, truth.best_layers) if truth else None
            steps = result.history[-1].t
            measured = result.history[0].t if name == "recipe" else 0  # an epoch, before the first
            model = cost(exchange, rule, 25, D, 2, COMM.size).sent * (steps + measured)
            sent = COMM.gather(team.messages.sent)
            found[f"{name} {exchange}"] = [off, best, steps, sent, model]
    return found


def weighted():
    """Weights, a transform that draws, a rule of one's own with an undone step, Adam on Z."""
    weight = np.arange(1000) % 3

    def noisy(X, rng):
        return X + 0.1 * rng.standard_normal(X.shape)

    found = {"undone steps": 0}
    for name, options in (
        ("weights", {"sample_weight": weight}),
        ("transform", {"transform": noisy}),
        ("undone", {"rule": Stumble(0.03), "epochs": 3}),
        ("input", {"rule": rg.Adam(1e-2, side="input")}),
        ("own", {"rule": clipped()(0.02)}),  # as docs/extend.md writes it
        ("context", {"layers": given()}),
        ("context recipe", {"layers": given(), "rule": "recipe"}),
        ("context sums", {"layers": given(), "exchange": "sums"}),
    ):
        exchange = options.pop("exchange", "auto")
        options.setdefault("epochs", 1)
        result = fitted(Ranks(COMM, check_every=1, exchange=exchange), **options)
        if COMM.rank == 0:
            found[name] = apart(result.layers, fitted(**options).layers)
            found["undone steps"] += result.n_undone
    return found


def own_shards():
    """Each rank has other rows, of uneven number; against a loop over the very same batches."""
    n, rank = COMM.size, COMM.rank
    _, X, layers = start(1000)
    ends = [0, *np.cumsum([1000 // (i + 3) for i in range(n - 1)]), 1000]
    parts = [X[ends[i] : ends[i + 1]] for i in range(n)]
    result = rg.fit(
        layers, parts[rank], ACT, DENS, rng=np.random.default_rng(5), rule="plain",
        learning_rate=0.03, schedule="constant", epochs=3, batch_size=50, average=None, undo=None,
        comm=Ranks(COMM, shards="own", check_every=1),
    )  # fmt: skip
    rng, rule = np.random.default_rng(5), rg.Plain(0.03)
    state, batches = rg.init_state(layers, rule), -(-sum(map(len, parts)) // 50)
    for _ in range(3):
        orders = [rng.permutation(len(part)) for part in parts]
        cuts = [np.array_split(part[o], batches) for part, o in zip(parts, orders, strict=True)]
        for batch in zip(*cuts, strict=True):
            rows = np.concatenate(batch)
            state, _ = rg.train_step(state, rows, activation=ACT, density=DENS, rule=rule)
    return {"own": apart(result.layers, state.layers), "rows": [len(part) for part in parts]}


def staged():
    """Arrays of a library that MPI knows nothing of go through the host."""
    _, X, layers = start(100)
    to = array_api_strict.asarray
    strange = tuple(rg.Layer(to(W), to(b)) for W, b in layers)
    options = {"rule": "plain", "learning_rate": 0.03, "batch_size": 25, "epochs": 2}
    found = {}
    for exchange in ("factors", "sums"):
        one = rg.fit(
            strange, to(X), ACT, DENS, rng=np.random.default_rng(1), **options,
            comm=Ranks(COMM, exchange=exchange),
        )  # fmt: skip
        two = rg.fit(
            layers, X, ACT, DENS, rng=np.random.default_rng(1), **options, comm=Ranks(COMM)
        )
        kept = type(one.layers[0].W) is type(strange[0].W)
        plain = [rg.Layer(np.asarray(W), np.asarray(b)) for W, b in one.layers]
        found[exchange] = [kept, apart(plain, two.layers)]
    return found


def failing(function):
    """Return the type and text of the error that a function raises, from each rank."""
    try:
        function()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    else:
        text = "no error"
    return COMM.gather(text)


class Keeps:
    """A keeper in memory; only that of rank 0 is asked to write."""

    stop = kept = None

    def due(self, t, end):
        return t == 7

    def write(self, snapshot):
        self.kept = snapshot


def errors():
    """Return the error of each rank in each of these cases."""
    rank, last = COMM.rank, COMM.size - 1
    _, X, layers = start()
    given = {"rule": "plain", "epochs": 1, "batch_size": 50}

    def fit(X=X, layers=layers, rng=0, team=None, **options):
        return rg.fit(
            layers, X, ACT, DENS, rng=np.random.default_rng(rng), comm=team or Ranks(COMM),
            **(given | options),
        )  # fmt: skip

    found, mine = {}, rank == last
    found["data"] = failing(lambda: fit(X + mine * 1.0))
    found["nan"] = failing(lambda: fit(np.where(mine, np.nan, X)))
    found["argument"] = failing(lambda: fit(epochs=-1 if mine else 1))
    found["epochs"] = failing(lambda: fit(epochs=1 + mine))
    found["rng"] = failing(lambda: fit(rng=int(mine)))
    found["rule"] = failing(lambda: fit(rule="exponential" if mine else "plain"))
    found["layers"] = failing(
        lambda: fit(layers=(*layers[:-1], rg.Layer(layers[-1].W, layers[-1].b + mine)))
    )
    found["D"] = failing(
        lambda: fit(
            X[:, : D - mine],
            tuple(rg.Layer(W[: D - mine, : D - mine], b[: D - mine]) for W, b in layers),
        )
    )
    float32 = np.float32 if mine else np.float64
    found["dtype"] = failing(
        lambda: fit(
            X.astype(float32),
            tuple(rg.Layer(W.astype(float32), b.astype(float32)) for W, b in layers),
        )
    )
    found["activation"] = failing(
        lambda: rg.fit(
            layers,
            X,
            rg.activation("smooth_leaky_relu", alpha=0.3 + 0.1 * mine),
            DENS,
            rng=np.random.default_rng(0),
            comm=COMM,
        )
    )
    found["density"] = failing(
        lambda: rg.fit(
            layers,
            X,
            ACT,
            rg.density("normal" if mine else "sech"),
            rng=np.random.default_rng(0),
            comm=COMM,
        )
    )
    found["few"] = failing(lambda: fit(X[:last], batch_size=10))
    found["small"] = failing(lambda: fit(batch_size=last))
    found["empty"] = failing(lambda: fit(X[: 0 if mine else 100], team=Ranks(COMM, shards="own")))
    found["poor"] = failing(lambda: fit(X[: 3 if mine else 500], team=Ranks(COMM, shards="own")))
    found["X_val"] = failing(
        lambda: fit(team=Ranks(COMM, shards="own"), X_val=X[:9] if mine else None)
    )
    found["exchange"] = failing(lambda: fit(rule="recipe", team=Ranks(COMM, exchange="sums")))
    found["implementation"] = failing(lambda: fit(implementation="numba"))
    true = ranks.versions
    ranks.versions = lambda: true() | ({"numpy": "0.1"} if mine else {})
    found["version"] = failing(fit)
    ranks.versions = true

    def drifts(epoch, state):
        if mine and epoch.epoch == 2:
            W = state.layers[1].W
            W[2, 3] = np.nextafter(W[2, 3], 9.0)  # one bit

    found["drift"] = failing(
        lambda: fit(epochs=3, callbacks=(drifts,), team=Ranks(COMM, check_every=5))
    )
    kept = Keeps()
    fit(keeper=kept)
    others = COMM.bcast(kept.kept)
    assert (kept.kept is None) == (rank > 0)
    found["resume"] = failing(lambda: fit(resume=None if mine else others))
    found["other"] = failing(lambda: fit(resume=others, epochs=2))
    stopped = fit(epochs=5, callbacks=(lambda epoch, state: mine and epoch.epoch == 2,))
    found["callback"] = COMM.gather([stopped.stop_reason, len(stopped.history)])

    def breaks(z):
        if mine:
            raise MemoryError
        return DENS.log_prob(z)

    broken = replace(DENS, log_prob=breaks)
    found["validation"] = failing(  # after the ranks have agreed, before the first step
        lambda: rg.fit(layers, X, ACT, broken, rng=np.random.default_rng(0), X_val=X, comm=COMM)
    )
    team = Ranks(COMM)
    found["diverged"] = failing(lambda: fit(rule=rg.Adam(1e300), undo=None, team=team))
    found["again"] = failing(lambda: fit(epochs=-1 if mine else 1, team=team))
    return found


def mistake():
    """A planted mistake: each rank divides by the number of its own rows."""
    true = distributed.downwards

    def wrong(layers, tape, act, dens, share):
        return true(layers, tape, act, dens, 1.0 / len(tape.Ys[0]))

    distributed.downwards = wrong
    result = fitted(Ranks(COMM), epochs=1)
    distributed.downwards = true
    return {"off": apart(result.layers, alone("plain", 1, L).layers)}


def breaks():
    """One rank fails in the middle of an epoch: it can't tell the others, and all have to end."""
    calls = []

    def transform(X, rng):
        calls.append(1)
        if len(calls) == 5 and COMM.rank == 1:
            raise RuntimeError("the disk of this rank is gone")
        return X

    fitted(Ranks(COMM), epochs=1, transform=transform)
    return {}


def run(case, everyone):
    """Run a case on its ranks while the others sleep; return its result on rank 0."""
    global COMM
    name, _, number = case.partition(":")
    takes_part = everyone.rank < int(number or everyone.size)
    COMM = everyone.Split(int(takes_part))
    result = globals()[name]() if takes_part else None
    done = everyone.Ibarrier()
    while not done.Test():
        time.sleep(0.02)
    return result


if __name__ == "__main__":
    from mpi4py import MPI

    results = {case: run(case, MPI.COMM_WORLD) for case in sys.argv[1:]}
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(results))
