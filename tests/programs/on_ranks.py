"""What runs on each rank of the tests of `test_distributed`; rank 0 prints one JSON object.

mpiexec -n 4 python -m tests.programs.on_ranks same
"""

import json
import os
import sys

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

COMM = None  # set where this is run, see below: importing mpi4py.MPI starts MPI
RATES = {"plain": 0.03, "exponential": 0.03, "scalar": 0.03, "adam": 1e-2, "recipe": 0.4}
ACT, DENS = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")
D, L = 6, 3


def start(rows=1000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.laplace(size=(rows, D)) @ rng.uniform(-1, 1, (D, D)).T + 0.5
    return rng, X, rg.init_layers(rng, D, L)


def fitted(comm=None, rule="plain", epochs=12, batch_size=25, rows=1000, layers=None, **options):
    """25 rows in a batch: no number of ranks but 1 divides them."""
    rng, X, own = start(rows)
    return rg.fit(
        layers or own, X, ACT, DENS, rng=rng, rule=rule, learning_rate=RATES.get(str(rule)), epochs=epochs,
        batch_size=batch_size, X_val=X[:103], implementation="reference", comm=comm, **options,
    )  # fmt: skip


def apart(one, two):
    """Return the largest difference of two lists of layers."""
    return max(
        float(np.max(np.abs(x - y)))
        for a, b in zip(one, two, strict=True)
        for x, y in zip(a, b, strict=True)
    )


def same():
    """Return, for each rule and exchange: how far off one process, bytes sent, bytes of the model."""
    found = {}
    for name in RATES:
        rule = make_rule(name)
        two = start()[2][:2]
        truth = fitted(rule=name, epochs=13, layers=two) if COMM.rank == 0 else None
        for exchange in possible(rule) if name != "exponential" else ("factors", "sums"):
            team = Ranks(COMM, exchange=exchange, check_every=10)
            result = fitted(team, name, epochs=13, layers=two)
            off = apart(result.layers, truth.layers) if truth else None
            best = apart(result.best_layers, truth.best_layers) if truth else None
            steps = result.history[-1].t
            model = cost(exchange, rule, 25, D, 2, COMM.size).sent * steps
            sent = COMM.gather(team.wire.sent)
            found[f"{name} {exchange}"] = [off, best, steps, sent, model]
    return found


def weighted():
    """Weights, transforms that draw, a rule of one's own with an undone step, Adam on Z."""
    weight = np.arange(1000) % 3

    def noisy(X, rng):
        return X + 0.1 * rng.standard_normal(X.shape)

    found = {"undone steps": 0}
    for name, options in (
        ("weights", {"sample_weight": weight}),
        ("transform", {"transform": noisy}),
        ("undone", {"rule": Stumble(0.03)}),
        ("input", {"rule": rg.Adam(1e-2, side="input")}),
    ):
        result = fitted(Ranks(COMM, check_every=1), epochs=3, **options)
        if COMM.rank == 0:
            found[name] = apart(result.layers, fitted(epochs=3, **options).layers)
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


def said(function):
    """Return the type and text of the error of a function on all ranks."""
    try:
        function()
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    else:
        told = "no error"
    return COMM.gather(told)


class Keeps:
    """A keeper in memory; rank 0 alone is asked to write."""

    stop = kept = None

    def due(self, t, end):
        return t == 7

    def write(self, snapshot):
        self.kept = snapshot


def errors():
    """Return what each rank says in each of these cases."""
    rank, last = COMM.rank, COMM.size - 1
    _, X, layers = start()
    given = {"rule": "plain", "epochs": 1, "batch_size": 50}

    def fit(X=X, layers=layers, rng=0, team=None, **options):
        return rg.fit(
            layers, X, ACT, DENS, rng=np.random.default_rng(rng), comm=team or Ranks(COMM),
            **(given | options),
        )  # fmt: skip

    found, mine = {}, rank == last
    found["data"] = said(lambda: fit(X + mine * 1.0))
    found["nan"] = said(lambda: fit(np.where(mine, np.nan, X)))
    found["argument"] = said(lambda: fit(epochs=-1 if mine else 1))
    found["epochs"] = said(lambda: fit(epochs=1 + mine))
    found["rng"] = said(lambda: fit(rng=int(mine)))
    found["rule"] = said(lambda: fit(rule="exponential" if mine else "plain"))
    found["layers"] = said(
        lambda: fit(layers=(*layers[:-1], rg.Layer(layers[-1].W, layers[-1].b + mine)))
    )
    found["D"] = said(
        lambda: fit(
            X[:, : D - mine],
            tuple(rg.Layer(W[: D - mine, : D - mine], b[: D - mine]) for W, b in layers),
        )
    )
    float32 = np.float32 if mine else np.float64
    found["dtype"] = said(
        lambda: fit(
            X.astype(float32),
            tuple(rg.Layer(W.astype(float32), b.astype(float32)) for W, b in layers),
        )
    )
    found["activation"] = said(
        lambda: rg.fit(
            layers,
            X,
            rg.activation("smooth_leaky_relu", alpha=0.3 + 0.1 * mine),
            DENS,
            rng=np.random.default_rng(0),
            comm=COMM,
        )
    )
    found["density"] = said(
        lambda: rg.fit(
            layers,
            X,
            ACT,
            rg.density("normal" if mine else "sech"),
            rng=np.random.default_rng(0),
            comm=COMM,
        )
    )
    found["few"] = said(lambda: fit(X[:last], batch_size=10))
    found["small"] = said(lambda: fit(batch_size=last))
    found["empty"] = said(lambda: fit(X[: 0 if mine else 100], team=Ranks(COMM, shards="own")))
    found["poor"] = said(lambda: fit(X[: 3 if mine else 500], team=Ranks(COMM, shards="own")))
    found["X_val"] = said(
        lambda: fit(team=Ranks(COMM, shards="own"), X_val=X[:9] if mine else None)
    )
    found["exchange"] = said(lambda: fit(rule="recipe", team=Ranks(COMM, exchange="sums")))
    found["implementation"] = said(lambda: fit(implementation="numba"))
    true = ranks.versions
    ranks.versions = lambda: true() | ({"numpy": "0.1"} if mine else {})
    found["version"] = said(fit)
    ranks.versions = true

    def drifts(epoch, state):
        if mine and epoch.epoch == 2:
            W = state.layers[1].W
            W[2, 3] = np.nextafter(W[2, 3], 9.0)  # one bit

    found["drift"] = said(
        lambda: fit(epochs=3, callbacks=(drifts,), team=Ranks(COMM, check_every=5))
    )
    kept = Keeps()
    fit(keeper=kept)
    others = COMM.bcast(kept.kept)
    assert (kept.kept is None) == (rank > 0)
    found["resume"] = said(lambda: fit(resume=None if mine else others))
    found["other"] = said(lambda: fit(resume=others, epochs=2))
    stopped = fit(epochs=5, callbacks=(lambda epoch, state: mine and epoch.epoch == 2,))
    found["callback"] = COMM.gather([stopped.stop_reason, len(stopped.history)])
    diverged = said(lambda: fit(rule=rg.Adam(1e300), undo=None))
    found["diverged"] = diverged
    return found


def mistake():
    """A planted mistake: each rank divides by the number of its own rows."""
    true = distributed.downwards

    def wrong(layers, tape, act, dens, share):
        return true(layers, tape, act, dens, 1.0 / len(tape.Ys[0]))

    distributed.downwards = wrong
    result = fitted(Ranks(COMM), epochs=1)
    distributed.downwards = true
    return {"off": apart(result.layers, fitted(epochs=1).layers)}


def breaks():
    """One rank fails in the middle of an epoch: nobody can be asked, all have to end."""
    calls = []

    def transform(X, rng):
        calls.append(1)
        if len(calls) == 5 and COMM.rank == 1:
            raise RuntimeError("the disk of this rank is gone")
        return X

    fitted(Ranks(COMM), epochs=1, transform=transform)
    return {}


if __name__ == "__main__":
    from mpi4py import MPI

    COMM = MPI.COMM_WORLD
    result = {name: globals()[name]() for name in sys.argv[1:]}
    if COMM.rank == 0:
        print(json.dumps(result))
