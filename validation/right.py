"""Right candidates: the core, other array libraries, autodiff of the log-likelihood alone."""

from typing import Any

from relgrad_np.oracle import Candidate, Conventions, check, from_core, from_jax, from_torch
from relgrad_np.oracle.mistakes.formulas import Execution
from relgrad_np.oracle.truths.records import Suite


def terms(xp: Any, layers: Any, X: Any, problem: Any, U: Any = None) -> dict[str, Any]:
    """Forward pass and log-likelihood as one would write them: autodiff does the rest."""
    W, b, *rest = zip(*layers, strict=True)
    m = Execution(xp, problem._replace(X=X, W=W, b=b))
    found: dict[str, Any] = {}
    for k in range(m.L):
        found[f"Y_{k}"] = m.Z[k] @ W[k].T + b[k]
        if rest:
            found[f"Y_{k}"] = found[f"Y_{k}"] + U @ rest[0][k].T
        m.Y.append(found[f"Y_{k}"])
        m.Z.append(m("Z", k))
        found[f"Z_{k + 1}"] = m.Z[-1]
    for k in range(m.hidden):
        m.log_dsigma[k] = found[f"log_dsigma_{k}"] = m("log_dsigma", k)
    for name in ("L_p", "L_J1", "L_J2"):
        found[name] = m(name)
    found["log_prob"] = found["L_p"] + found["L_J1"] + found["L_J2"]
    return found


def torch_autograd() -> Candidate:
    """Gradients, and Deltas, by torch.autograd."""
    import torch

    def torch_terms(layers: Any, X: Any, *more: Any) -> Any:
        return terms(torch, layers, X, more[-1], *more[:-1])

    return from_torch(torch_terms, name="torch autograd")


def jax_autodiff() -> Candidate:
    """Gradients by jax.grad."""
    import jax

    def jax_terms(layers: Any, X: Any, *more: Any) -> Any:
        return terms(jax.numpy, layers, X, more[-1], *more[:-1])

    return from_jax(jax_terms, name="JAX autodiff")


def kernels() -> Candidate:
    """The compiled `train_step`: Y, Delta, both steps. What it leaves to the core is left out."""
    import relgrad_np as rg
    from relgrad_np.kernels.cpu import step as cpu
    from relgrad_np.kernels.supported import CPU, supports

    def run(problem: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        act = rg.activation(problem.activation.name, **problem.activation.params)
        dens = rg.density(problem.density.name, **problem.density.params)
        for rule, stage in ((rg.Plain, "plus"), (rg.Exponential, "exp")):
            layers = tuple(
                rg.Layer(W.copy(), b.copy()) for W, b in zip(problem.W, problem.b, strict=True)
            )
            made, state = rule(problem.eta, tau=1 - 2**-24), rg.init_state(layers, rule())
            known = supports(CPU, state, problem.X, act, dens, made, None)
            if problem.last_layer != "affine" or problem.c or not known:
                raise NotImplementedError("the core takes this step")
            state, info = cpu.train_step(state, problem.X, activation=act, density=dens, rule=made)
            capped = any(float(e) != float(problem.X.dtype.type(problem.eta)) for e in info.eta)
            for k, (W, b) in enumerate(state.layers):
                found[f"Y_{k}"], found[f"Delta_{k}"] = (
                    info.directions[k].Y,
                    info.directions[k].Delta,
                )
                if not capped:
                    found |= {f"W_{stage}_{k}": W, f"b_{stage}_{k}": b}
                if not capped and stage == "plus":
                    found[f"logdet_plus_{k}"] = state.tracked.logdet[k]
        return found

    return Candidate("the kernels", run=run)


def candidates() -> dict[str, Any]:
    """Makers of right candidates by name."""

    def strict() -> Candidate:
        import array_api_strict

        return from_core(array_api_strict.asarray, "relgrad_np, array-api-strict")

    def torch_arrays() -> Candidate:
        import torch

        return from_core(torch.tensor, "relgrad_np, torch arrays")

    def table() -> Candidate:
        from .planted import numpy_candidate

        return numpy_candidate()

    return {
        "relgrad_np": from_core,
        "relgrad_np, array-api-strict": strict,
        "relgrad_np, torch arrays": torch_arrays,
        "the kernels": kernels,
        "the table of lines, NumPy": table,
        "torch autograd": torch_autograd,
        "JAX autodiff": jax_autodiff,
    }


def alarms(
    name: str,
    suite: Suite,
    dtype: str,
    twice: bool = True,
    how: Conventions = Conventions(),  # noqa: B008 (immutable)
) -> tuple[int, int, int, float, list[str]]:
    """Cases judged, arrays checked, false alarms, worst error of what is allowed, and which.

    A verdict other than a pass is an alarm, whatever the arrays; so is anything that is said of a
    right candidate: an error, a relation, a convention, a note.
    """
    report = check(candidates()[name](), suite, dtype=dtype, conventions=how, twice=twice)
    checked = [entry for entry in report.entries if entry.checked]
    wrong = [f"{entry.case} {entry.name}" for entry in checked if entry.wrong]
    wrong += [] if report.passed else [report.verdict]
    wrong += [*map(str, report.claims), *report.notes]
    worst = max((entry.units for entry in checked), default=0.0)
    return len({entry.case for entry in checked}), len(checked), len(wrong), worst, wrong
