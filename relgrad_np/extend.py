"""Parts of your own: an activation, a density, a rule, a backend; each checked at the door.

What is not right is refused with one line that names the function and the point, before a fit is
built on it. Derivatives are compared with central differences, the mass of a density with 1, a
rule with ascent and the tracked determinant, a backend with the reference. A page with an example
of each: docs/extend.md.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .core import activations, densities
from .core.activations import Activation
from .core.arguments import STEP_KINDS
from .core.arrays import Array, Formula, Namespace, lift
from .core.backprop import backprop
from .core.densities import Density
from .core.network import Layer, Layers, forward
from .core.objective import log_abs_det, log_likelihood
from .oracle.cases import GenericCase, generic
from .rules import base as rules
from .rules.adam import Adam
from .rules.base import Move, Rule, State, StepInfo, init_state
from .rules.by_name import require_rule
from .rules.plain import Exponential, Plain
from .rules.recipe import Recipe

EPS = 2.0**-52
ONE_SIDE = np.geomspace(0.01, 30.0, 40)
POINTS = np.concatenate([-ONE_SIDE[::-1], ONE_SIDE])  # no point at 0, where a kink may be
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
CLOSE = 1e-6  # relative error of a derivative that passes
FAR = (1e3, 1e6, 1e9)
OWN = (
    "smooth_leaky_relu", "leaky_tanh", "identity", "softplus", "elu", "student_t", "multivariate_t",
)  # fmt: skip


def activation(
    name: str,
    *,
    sigma: Formula,
    dsigma: Formula,
    dlog_dsigma: Formula,
    log_dsigma: Formula | None = None,
    inverse: Formula | None = None,
    params: dict[str, float] | None = None,
    onto: bool = True,
) -> Activation:
    """Return an activation made of your formulas, if they agree with each other.

    sigma, dsigma = sigma', log_dsigma = log sigma', dlog_dsigma = (log sigma')', elementwise.

    Parameters
    ----------
    sigma, dsigma, dlog_dsigma, log_dsigma, inverse : functions of (xp, y)
        `xp` is the array library (`numpy` for NumPy arrays), `y` an array of any shape; dtype and
        shape are kept. Without `log_dsigma` it is log(dsigma), which loses digits where dsigma is
        a sum that cancels; without `inverse` sigma is inverted numerically.
    params : numbers by name
        For the record.
    onto : bool
        sigma reaches all of R. Without that the model's mass is below 1, and `fit` refuses it.

    Raises
    ------
    ValueError
        Names the function and the point, out of 80 from -30 to 30, where a derivative is wrong by
        more than one part in a million (and rounding), sigma does not increase, the inverse is
        none, or sigma is bounded though `onto`; a name of the package's own.

    Cost: a few hundred values of each function, once.

    >>> right = {"sigma": lambda xp, y: xp.asinh(y) + y,
    ...          "dsigma": lambda xp, y: 1 / xp.sqrt(1 + y * y) + 1}
    >>> slope = lambda xp, y: -y / (1 + y * y) / (1 + xp.sqrt(1 + y * y))
    >>> f = activation("asinh", **right, dlog_dsigma=slope)
    >>> bool(abs(f.inverse(f.sigma(np.array(3.0))) - 3) < 1e-14)
    True
    >>> activation("asinh", **right, dlog_dsigma=lambda xp, y: -slope(xp, y))
    Traceback (most recent call last):
    ValueError: `dlog_dsigma` of 'asinh' is not the derivative of `log_dsigma`: at y = -0.915 it is
        -0.211, central differences say 0.211
    """
    _new(name, OWN)
    given = {"sigma": sigma, "dsigma": dsigma, "dlog_dsigma": dlog_dsigma}
    given["log_dsigma"] = log_dsigma or (lambda xp, y: xp.log(dsigma(xp, y)))
    if inverse is None:
        given["bracket"] = lambda xp, z: _bracket(sigma, xp, z)
    else:
        given["inverse"] = inverse
    made = activations.make(name, dict(params or {}), onto, **given)
    with np.errstate(all="ignore"):
        values = _values(name, {"sigma": made.sigma, "dsigma": made.dsigma})
        _derivative(name, "dsigma", made.dsigma, "sigma", made.sigma)
        _everywhere(
            values["dsigma"] > 0,
            lambda i: (
                f"`sigma` of {name!r} must increase strictly: at {_at(i)} "
                f"`dsigma` is {values['dsigma'][i]:.3g}"
            ),
        )
        values |= _values(name, {"log_dsigma": made.log_dsigma, "dlog_dsigma": made.dlog_dsigma})
        _everywhere(
            np.abs(values["log_dsigma"] - np.log(values["dsigma"])) <= CLOSE,
            lambda i: (
                f"`log_dsigma` of {name!r} is not the log of `dsigma`: at {_at(i)} it is "
                f"{values['log_dsigma'][i]:.3g}, the log is {np.log(values['dsigma'][i]):.3g}"
            ),
        )
        _derivative(name, "dlog_dsigma", made.dlog_dsigma, "log_dsigma", made.log_dsigma)
        there = made.sigma(made.inverse(values["sigma"]))
        _everywhere(
            np.abs(there - values["sigma"]) <= CLOSE * (1 + np.abs(values["sigma"])),
            lambda i: (
                f"`inverse` of {name!r} does not undo `sigma`: at {_at(i)} sigma is "
                f"{values['sigma'][i]:.3g}, sigma of its inverse {there[i]:.3g}"
            ),
        )
        if onto:
            for side, word in ((1, "above"), (-1, "below")):
                near, mid, far = made.sigma(side * np.array(FAR))
                if np.isfinite(far) and abs(far - mid) < 0.1 * abs(mid - near):
                    raise ValueError(
                        f"`sigma` of {name!r} seems to be bounded {word}, by {far:.4g}: say "
                        "onto=False (then it serves for verification only), or add a slope"
                    )
    return made


def density(
    name: str,
    *,
    log_prob: Formula,
    score: Formula,
    sample: densities.Draw,
    dscore: Formula | None = None,
    params: dict[str, float] | None = None,
) -> Density:
    """Return a base density made of your formulas, if they agree with each other.

    score = + d log p / dz, elementwise; the integral of exp(log_prob) over R is 1.

    Parameters
    ----------
    log_prob, score : functions of (xp, z)
        As in `activation`; in nats.
    sample : function of (rng, shape)
        Draws in NumPy float64, from this numpy.random.Generator alone.
    dscore : function of (xp, z)
        The derivative of the score, which `newton` asks for; without it central differences of
        the score serve there (`curvatures.dscore_of`).
    params : numbers by name
        For the record.

    Raises
    ------
    ValueError
        Names the function, and the point where score or dscore is wrong by more than one part in a
        million; a mass that is not 1 to 1e-5; draws that a Kolmogorov-Smirnov test refuses. The
        test is made once, on 40,000 draws, and refuses right draws once in thirty million.

    Cost: 100,000 values of log_prob, 40,000 draws, once.

    >>> parts = {"log_prob": lambda xp, z: -z - xp.exp(-z), "score": lambda xp, z: xp.exp(-z) - 1}
    >>> gumbel = density("gumbel", **parts, sample=lambda rng, shape: rng.gumbel(size=shape))
    >>> gumbel.score(np.array([0.0]))
    array([0.])
    >>> density("gumbel", **parts, sample=lambda rng, shape: rng.standard_normal(shape))
    Traceback (most recent call last):
    ValueError: `sample` of 'gumbel' draws from another distribution: the shares of draws
        below a point differ by 0.149 from what `log_prob` says
    """
    from scipy.integrate import cumulative_trapezoid  # SciPy's two are slow to import
    from scipy.stats import ks_1samp

    _new(name, (*densities.FIXED, *OWN))
    second = None if dscore is None else lift(dscore, "z")
    made = Density(name, lift(log_prob, "z"), lift(score, "z"), sample, dict(params or {}), second)
    with np.errstate(all="ignore"):
        _values(name, {"log_prob": made.log_prob, "score": made.score})
        _derivative(name, "score", made.score, "log_prob", made.log_prob, "z")
        if second is not None:
            _values(name, {"dscore": second})
            _derivative(name, "dscore", second, "score", made.score, "z")
        # 1e-4 apart at 0, then ever farther, up to 1e50: narrow peaks count, and so do heavy tails
        z = np.sinh(np.sinh(np.linspace(-5.45, 5.45, 100_001)))
        below = cumulative_trapezoid(np.nan_to_num(np.exp(made.log_prob(z))), z, initial=0)
        if not abs(below[-1] - 1) <= 1e-5:
            raise ValueError(f"`log_prob` of {name!r} has mass {below[-1]:.6g}, it must be 1")
        draws = sample(np.random.default_rng(0), (10_000, 4))
        again = sample(np.random.default_rng(0), (10_000, 4))
        if np.shape(draws) != (10_000, 4) or not np.array_equal(draws, again):
            raise ValueError(
                f"`sample` of {name!r} must return draws of the shape asked for, from the "
                "generator alone"
            )
        test = ks_1samp(np.ravel(draws), lambda x: np.interp(x, z, below), method="asymp")
        if test.pvalue < 1 / 30e6:
            raise ValueError(
                f"`sample` of {name!r} draws from another distribution: the shares of draws below "
                f"a point differ by {test.statistic:.3f} from what `log_prob` says"
            )
    return made


def rule(candidate: Rule) -> Rule:
    """Return a rule of your own (see `Rule`), if it ascends and keeps its promises.

    On two generic problems, one with N < D, one with N > D, and at a thousandth of its learning
    rate.

    Raises
    ------
    TypeError
        It is no frozen dataclass with `learning_rate`, `kind`, `tracks` and `propose`.
    ValueError
        `kind` is not "plain", "exponential" or "additive", or not that of what it proposes; a Move
        whose parts are not one for each layer, or remember what `start` does not have;
        Twenty steps on the same samples lower the log-likelihood; a step is rejected, though all
        samples are finite; `tracks`, and the tracked log|det W| is not slogdet's to 1e-6; the
        layers passed in are changed.

    >>> rule(Plain(0.02)).learning_rate
    0.02
    >>> class Descent(Plain):
    ...     def propose(self, state, tape, deltas):
    ...         return super().propose(state, tape, tuple(-d for d in deltas))
    >>> rule(Descent(0.02))
    Traceback (most recent call last):
    ValueError: `rule` Descent does not ascend: twenty small steps changed the
        log-likelihood by -0.0217 nats
    """
    require_rule(candidate)
    name = type(candidate).__name__
    given: Any = candidate
    if given.kind not in STEP_KINDS:
        listed = ", ".join(f"{kind!r} ({step})" for kind, step in STEP_KINDS.items())
        raise ValueError(f"`kind` of `rule` {name} must be one of {listed}, got {given.kind!r}")
    if given.tracks and given.kind == "additive":
        raise ValueError(
            f"`tracks` of `rule` {name} must be False where its `kind` is 'additive': no step "
            "outside the group keeps log|det W| known"
        )
    if not given.__dataclass_params__.frozen:
        raise TypeError(f"`rule` must be a frozen dataclass, got {name}")
    small: Any = dataclasses.replace(given, learning_rate=given.learning_rate / 1000)
    for problem in _problems():
        layers = _read_only(problem.layers)
        state = init_state(layers, small)
        _look_at_move(name, small, state, problem)
        states = _run(rules.train_step, state, problem, small, 21)  # the recipe's first is a look
        if any(bool(info.rejected) for _, info in states):
            raise ValueError(f"`rule` {name} takes no step on a batch that is finite")
        likely = [
            float(log_likelihood(s.layers, problem.X, problem.activation, problem.density).mean)
            for s in (state, states[-1][0])
        ]
        if not likely[1] > likely[0]:
            raise ValueError(
                f"`rule` {name} does not ascend: twenty small steps changed the log-likelihood by "
                f"{likely[1] - likely[0]:.3g} nats"
            )
        end = states[-1][0]
        if end.tracked is not None:
            drift = float(end.tracked.logdet.sum() - log_abs_det(end.layers))
            if not abs(drift) <= 1e-6:
                raise ValueError(
                    f"`rule` {name} says `tracks`, but the tracked log|det W| is off by {drift:.3g}"
                )
    return candidate


def _look_at_move(name: str, candidate: Rule, state: State, problem: GenericCase) -> None:
    """Refuse a Move whose parts are not one for each layer, or whose memory is not its start's."""
    tape = forward(state.layers, problem.X, problem.activation)
    deltas = backprop(state.layers, tape, problem.activation, problem.density)
    move, L = candidate.propose(state, tape, deltas), len(state.layers)
    if not isinstance(move, Move):
        return  # `train_step` says so
    for part in ("directions", "eta", "norms"):
        value = getattr(move, part)
        if not isinstance(value, tuple) or len(value) != L:
            got = f"{len(value)}" if isinstance(value, tuple) else type(value).__name__
            raise ValueError(
                f"`{part}` of the Move of `rule` {name} must be a tuple of {L}, one for each "
                f"layer, got {got}"
            )
    before, after = (_tree(x) for x in (state.rule_state, move.rule_state))
    if before != after or "no array" in after:
        has = "" if hasattr(candidate, "start") else "; without `start(layers)` it remembers None"
        raise ValueError(
            f"`rule_state` of the Move of `rule` {name} must be a tree of tuples of arrays like "
            f"that of `start`, {before}, got {after}{has}"
        )


def _tree(value: Any) -> str:
    """Return the form of a tree of tuples of arrays; what is none is said.

    >>> _tree((np.ones(2), (np.ones((2, 3)), None)))
    '((2,), ((2, 3), None))'
    """
    if isinstance(value, tuple):
        return f"({', '.join(map(_tree, value))})"
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}, no array" if shape is None else str(tuple(shape))


Step = Callable[..., tuple[State, StepInfo]]


def backend(train_step: Step, tolerance: float = 1e-9) -> Step:
    """Return a `train_step` of your own, if it does what the reference's does.

    Three steps of the plain, exponential, recipe and Adam rules on two generic problems, N < D and
    N > D, in float64; what a backend does not know it hands to `relgrad_np.train_step`. Then
    `fit(..., implementation=backend(train_step))`. It may consume the state that it is given.

    Raises
    ------
    ValueError
        Names the rule and what differs by more than `tolerance` (relative): the layers, the
        log-likelihood, or the tracked log|det W|.

    >>> backend(rules.train_step) is rules.train_step
    True
    >>> def hasty(state, X, **options):
    ...     return rules.train_step(state, X.astype(np.float32).astype(np.float64), **options)
    >>> backend(hasty)
    Traceback (most recent call last):
    ValueError: `train_step` differs from the reference by 3.6e-09 (N = 5, D = 7, rule
        Plain, step 1: L_J1)
    """
    for problem in _problems():
        N, D = problem.X.shape
        for r in (Plain(0.02), Exponential(0.02), Recipe(), Adam()):
            theirs = _run(rules.train_step, init_state(problem.layers, r), problem, r, 3)
            own = tuple(Layer(W.copy(), b.copy()) for W, b in problem.layers)
            mine = init_state(own, r)
            for t, (right, info) in enumerate(theirs):
                ((mine, said),) = _run(train_step, mine, problem, r, 1)
                gaps = {"layers": _gap(mine.layers, right.layers)}
                for part in ("L_p", "L_J1"):
                    gaps[part] = _gap((getattr(said, part),), (getattr(info, part),))
                if r.tracks:
                    if mine.tracked is None or right.tracked is None:
                        raise ValueError(f"`train_step` loses the tracker ({type(r).__name__})")
                    gaps["tracked"] = _gap((mine.tracked.logdet,), (right.tracked.logdet,))
                for part, gap in gaps.items():
                    if not gap <= tolerance:
                        raise ValueError(
                            f"`train_step` differs from the reference by {gap:.1e} (N = {N}, "
                            f"D = {D}, rule {type(r).__name__}, step {t + 1}: {part})"
                        )
    return train_step


def _problems() -> list[GenericCase]:
    """Return generic problems, N < D and N > D: W of any sign, b not 0."""
    return [
        generic(1, 5, 7, 2, "smooth_leaky_relu", "logistic"),
        generic(2, 24, 4, 3, "leaky_tanh", "sech"),
    ]


def _run(
    step: Step, state: State, problem: GenericCase, r: Rule, n: int
) -> list[tuple[State, StepInfo]]:
    """Take n steps on the problem's samples; return the state and what was said after each."""
    done = []
    for _ in range(n):
        state, info = step(
            state, problem.X, activation=problem.activation, density=problem.density, rule=r
        )
        done.append((state, info))
    return done


def _read_only(layers: Layers) -> Layers:
    copies = tuple(Layer(W.copy(), b.copy()) for W, b in layers)
    for array in (x for layer in copies for x in layer):
        array.setflags(write=False)
    return copies


def _gap(mine: Any, right: Any) -> float:
    """Return the largest difference of arrays in nested tuples, relative to the largest element."""
    if isinstance(right, tuple):
        return max(_gap(x, y) for x, y in zip(mine, right, strict=True))
    x, y = np.asarray(mine, np.float64), np.asarray(right, np.float64)
    return (
        float(np.abs(x - y).max() / max(np.abs(y).max(), 1.0)) if x.shape == y.shape else math.inf
    )


def _new(name: str, taken: Any) -> None:
    if not isinstance(name, str) or not name or name in taken:
        raise ValueError(f"`name` must be a new one, got {name!r}")


def _at(i: int, variable: str = "y") -> str:
    return f"{variable} = {POINTS[i]:.3g}"


def _everywhere(right: Any, message: Callable[[int], str]) -> None:
    """Refuse where not right, at the point nearest to 0."""
    if not right.all():
        wrong = np.flatnonzero(~right)
        raise ValueError(message(int(wrong[np.argmin(np.abs(POINTS[wrong]))])))


def _values(name: str, functions: dict[str, Callable[[Array], Array]]) -> dict[str, Any]:
    """Return each function at the points; refuse other shapes, other dtypes, no numbers."""
    values = {}
    for key, f in functions.items():
        for dtype in (np.float32, np.float64):
            y = f(POINTS.astype(dtype).reshape(2, -1))
            if getattr(y, "shape", None) != (2, ONE_SIDE.size) or y.dtype != dtype:
                got = f"{getattr(y, 'dtype', type(y).__name__)} of shape {np.shape(y)}"
                raise ValueError(
                    f"`{key}` of {name!r} must keep shape and dtype: for {np.dtype(dtype)} "
                    f"of shape {(2, ONE_SIDE.size)} it gave {got}"
                )
        values[key] = y.reshape(-1)
        _everywhere(
            np.isfinite(values[key]),
            partial(_not_finite, f"`{key}` of {name!r}"),
        )
    return values


def _not_finite(what: str, i: int) -> str:
    return f"{what} must be finite: it is not at {_at(i)}"


def _derivative(
    name: str,
    claimed: str,
    df: Callable[[Array], Array],
    of: str,
    f: Callable[[Array], Array],
    variable: str = "y",
) -> None:
    """Refuse `df` unless central differences of `f`, at one of four steps, say the same.

    Allowed: one part in a million and rounding of f at that step. One step that agrees is enough: a
    large one is blind where f bends, a small one where f is large.
    """
    values, best, nearest = df(POINTS), np.full(POINTS.shape, np.inf), np.zeros(POINTS.shape)
    for h in STEPS:
        ahead, behind = f(POINTS + h), f(POINTS - h)
        slope = (ahead - behind) / ((POINTS + h) - (POINTS - h))
        noise = 8 * EPS * (1 + np.abs(ahead) + np.abs(behind)) / h
        excess = np.abs(values - slope) / (CLOSE * (np.abs(values) + np.abs(slope)) + noise)
        nearest, best = np.where(excess < best, slope, nearest), np.fmin(excess, best)
    worst = int(np.argmax(best))
    if not best[worst] <= 1:
        raise ValueError(
            f"`{claimed}` of {name!r} is not the derivative of `{of}`: at {_at(worst, variable)} "
            f"it is {values[worst]:.3g}, central differences say {nearest[worst]:.3g}"
        )


def _bracket(sigma: Formula, xp: Namespace, z: Array) -> tuple[Array, Array]:
    """Double an interval about 0 until sigma passes z at both ends; z itself if not finite."""
    high = xp.ones_like(z)
    low = -high
    for _ in range(1100):
        short_low, short_high = sigma(xp, low) > z, sigma(xp, high) < z
        if not bool(xp.any(short_low | short_high)):
            break
        low, high = xp.where(short_low, 2 * low, low), xp.where(short_high, 2 * high, high)
    fine = xp.isfinite(z)
    return xp.where(fine, low, z), xp.where(fine, high, z)
