"""Independent witnesses on random nets: torch autograd, JAX autodiff, the whole Jacobian, mpmath.

Each computes the mean log-likelihood by its own few lines, from the definition: forward, base
density, log sigma', slogdet; gradients by automatic differentiation, the relative ones by the
product with W~'W~. torch.func.jacrev takes the whole D x D Jacobian of the net instead; mpmath has
50 digits, and a directional derivative by a difference quotient of 2e-20.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.oracle.bounds import tolerances
from relgrad_np.oracle.cases import GenericCase, generic

from .report import Claim, Section, table
from .store import Line, Store

EPS = 2.0**-52
ALPHA = 0.3  # of `cases.generic`'s smooth leaky ReLU
NETS = ((2, 3, 1), (3, 5, 2), (5, 4, 3), (7, 16, 2), (4, 32, 5), (9, 64, 3))  # N, D, L


def wanted(quick: bool) -> Iterator[Line]:
    """Yield the nets, each with both densities; the quick ones are every second, with sech."""
    for seed, (N, D, L) in list(enumerate(NETS))[:: 2 if quick else 1]:
        for density in ("sech", "normal") if not quick else ("sech",):
            yield {"seed": seed, "N": N, "D": D, "L": L, "density": density}


def mean_log_p(xp: Any, slogdet: Any, layers: Any, X: Any, density: str) -> Any:
    """Return the mean log-likelihood, in any library that has logaddexp and a slogdet."""
    zero, total = X[:1, :1] * 0, 0.0
    for k, (W, b) in enumerate(layers):
        X = X @ W.T + b
        total = total + slogdet(W)
        if k < len(layers) - 1:
            slope = ALPHA + (1 - ALPHA) / (1 + xp.exp(-X))
            total = total + xp.log(slope).sum() / len(X)
            X = ALPHA * X + (1 - ALPHA) * xp.logaddexp(X, zero)
    if density == "normal":
        return total - (X**2 + np.log(2 * np.pi)).sum() / 2 / len(X)
    return total - (xp.logaddexp(X, -X) - np.log(2) + np.log(np.pi)).sum() / len(X)


def by_torch(case: GenericCase, density: str) -> tuple[float, list[Any]]:
    """Return the value, and (G_W, G_b) of each layer."""
    import torch

    layers = [tuple(torch.tensor(x, requires_grad=True) for x in layer) for layer in case.layers]
    value = mean_log_p(
        torch, lambda W: torch.linalg.slogdet(W)[1], layers, torch.tensor(case.X), density
    )
    value.backward()
    return float(value.detach()), [tuple(x.grad.numpy() for x in layer) for layer in layers]


def by_jax(case: GenericCase, density: str) -> tuple[float, list[Any]]:
    """Return the value, and (G_W, G_b) of each layer."""
    import jax

    jax.config.update("jax_enable_x64", True)
    layers = [tuple(map(jax.numpy.asarray, layer)) for layer in case.layers]
    value, G = jax.value_and_grad(
        lambda layers: mean_log_p(
            jax.numpy, lambda W: jax.numpy.linalg.slogdet(W)[1], layers, case.X, density
        )
    )(layers)
    return float(value), [tuple(np.asarray(x) for x in layer) for layer in G]


def by_jacobian(case: GenericCase) -> Any:
    """Return log|det d z / d x| (N,), by the whole Jacobian of each sample."""
    import torch

    layers = [tuple(map(torch.tensor, layer)) for layer in case.layers]

    def net(x: Any) -> Any:
        for k, (W, b) in enumerate(layers):
            x = W @ x + b
            if k < len(layers) - 1:
                x = ALPHA * x + (1 - ALPHA) * torch.nn.functional.softplus(x, threshold=1e9)
        return x

    J = torch.vmap(torch.func.jacrev(net))(torch.tensor(case.X))  # (N, D, D)
    return torch.linalg.slogdet(J)[1].numpy()


def in_mpmath(case: GenericCase, density: str, direction: Any) -> tuple[float, float]:
    """Return the mean log-likelihood, and its derivative along `direction`, at 50 digits."""
    from mpmath import mp, mpf

    with mp.workdps(50):

        def value(h: Any) -> Any:
            rows = [[mpf(float(x)) for x in row] for row in case.X]
            total = mpf(0)
            for k, ((W, b), (U, u)) in enumerate(zip(case.layers, direction, strict=True)):
                W = [
                    [mpf(float(x)) + h * float(y) for x, y in zip(*p, strict=True)]
                    for p in zip(W, U, strict=True)
                ]
                b = [mpf(float(x)) + h * float(y) for x, y in zip(b, u, strict=True)]
                rows = [[mp.fdot(w, x) + c for w, c in zip(W, b, strict=True)] for x in rows]
                total += len(rows) * log_abs_det(mp, W)
                if k < len(case.layers) - 1:
                    a = mpf(case.activation.params["alpha"])
                    total += sum(mp.log(a + (1 - a) / (1 + mp.exp(-y))) for x in rows for y in x)
                    rows = [[a * y + (1 - a) * mp.log1p(mp.exp(y)) for y in x] for x in rows]
            if density == "normal":
                total -= sum(y**2 + mp.log(2 * mp.pi) for x in rows for y in x) / 2
            else:
                total -= sum(mp.log(mp.cosh(y)) + mp.log(mp.pi) for x in rows for y in x)
            return total / len(rows)

        h = mpf(10) ** -20
        return float(value(mpf(0))), float((value(h) - value(-h)) / (2 * h))


def log_abs_det(mp: Any, W: list[list[Any]]) -> Any:
    """Return log|det W| by elimination with pivots."""
    W, total = [list(row) for row in W], mp.mpf(0)
    while W:
        pivot = max(W, key=lambda row: abs(row[0]))
        total += mp.log(abs(pivot[0]))
        W = [row for row in W if row is not pivot]
        factors = [row[0] / pivot[0] for row in W]
        W = [
            [x - f * y for x, y in zip(row[1:], pivot[1:], strict=True)]
            for f, row in zip(factors, W, strict=True)
        ]
    return total


def compare(seed: int, N: int, D: int, L: int, density: str) -> Line:
    """Return the largest error of each comparison, and as a share of what rounding allows."""
    case = generic(seed, N, D, L, "smooth_leaky_relu", density)
    layers, X, (act, dens) = case.layers, case.X, case.model
    allowed = tolerances(layers, X, act, dens, EPS)
    tape = rg.forward(layers, X, act)
    deltas = rg.backprop(layers, tape, act, dens)
    G, R = (
        gradient(layers, tape, deltas) for gradient in (rg.ordinary_gradient, rg.relative_gradient)
    )
    likelihood = rg.log_likelihood(layers, X, act, dens)
    room = 64 * EPS * max(1.0, *np.abs(np.concatenate([likelihood.L_p, likelihood.L_J1]))) * D
    errors: dict[str, list[tuple[float, float]]] = {}

    def note(what: str, one: Any, two: Any, tolerance: float) -> None:
        off = float(np.max(np.abs(np.asarray(one) - np.asarray(two))))
        errors.setdefault(what, []).append((off, off / tolerance))

    witnesses: dict[str, Callable[..., Any]] = {"torch": by_torch, "JAX": by_jax}
    for name, witness in witnesses.items():
        value, theirs = witness(case, density)
        note(f"{name}, log-likelihood", likelihood.mean, value, room)
        for k, ((W, b), (G_W, G_b)) in enumerate(zip(layers, theirs, strict=True)):
            note(f"{name}, ordinary gradient", G[k].W, G_W, 2 * allowed["G_W"][k])
            note(f"{name}, ordinary gradient", G[k].b, G_b, 2 * allowed["G_b"][k])
            xi = G_W @ W.T + np.outer(G_b, b)  # G~ W~', from which R~ = G~ W~' W~
            through = allowed["G_W"][k] * np.abs(W).sum(axis=1).max() + allowed["G_b"][k] * max(
                abs(b)
            )
            more = D * through * np.abs(W).max()  # what their G may be off by, through the product
            note(
                f"{name}, relative by product", R[k].W, xi @ W,
                allowed["R_W output augmented"][k] + more,
            )  # fmt: skip
            note(
                f"{name}, relative by product", R[k].b, xi @ b + G_b,
                allowed["R_b output augmented"][k] + D * through * np.abs(b).max()
                + allowed["G_b"][k],
            )  # fmt: skip
    J = by_jacobian(case)
    note("whole Jacobian, log|det|", likelihood.L_J1 + likelihood.L_J2, J, room * L)
    rng = np.random.default_rng(seed)
    direction = [(rng.standard_normal((D, D)), rng.standard_normal(D)) for _ in range(L)]
    value, slope = in_mpmath(case, density, direction)
    note("50 digits, log-likelihood", likelihood.mean, value, room)
    ours = sum((G[k].W * U).sum() + (G[k].b * u).sum() for k, (U, u) in enumerate(direction))
    spread = sum(
        allowed["G_W"][k] * np.abs(U).sum() + allowed["G_b"][k] * np.abs(u).sum()
        for k, (U, u) in enumerate(direction)
    )
    note("50 digits, directional derivative", ours, slope, spread)
    return {what: [max(x) for x in zip(*pairs, strict=True)] for what, pairs in errors.items()}


def run(store: Store, quick: bool) -> None:
    """Compare what has not been compared; FileNotFoundError never, a missing library is told."""
    for key in wanted(quick):
        store.run("witnesses", key, lambda key=key: compare(**key))


def section(store: Store, quick: bool) -> Section:
    """Return the errors, the worst over the nets."""
    keys = list(wanted(quick))
    lines = [line for key in keys if (line := store.find("witnesses", key)) is not None]
    if not lines:
        return Section("", (), ("not run yet",))
    names = [name for name in lines[0] if isinstance(lines[0][name], list)]
    worst = {name: max(line[name][0] for line in lines) for name in names}
    share = {name: max(line[name][1] for line in lines) for name in names}
    nets = ", ".join(dict.fromkeys(f"({key['N']}, {key['D']}, {key['L']})" for key in keys))
    text = [
        f"Random nets with (N, D, L) = {nets}: W of condition up to 9 and either sign of the "
        "determinant, b != 0, smooth leaky ReLU, float64. Each witness has its own lines for the "
        "likelihood and shares none with the package. *Share*: of what rounding allows, 64 eps "
        "times the formula with absolute values.",
        "",
        table(
            ["witness", "largest error", "share"],
            [[name, f"{worst[name]:.1e}", f"{share[name]:.1g}"] for name in names],
        ),
    ]
    top = max(share.values())
    claims = (
        Claim("no witness differs by more than rounding", f"{top:.3f} of it at most", top <= 1),
    )
    lacking = ("some nets have not run yet",) if len(lines) < len(keys) else ()
    return Section("\n".join(text), claims, lacking)
