"""The laws, each as a function that takes the implementation it judges.

A right implementation passes on every generic problem; `test_checkers` plants mistakes in it.
"""

import numpy as np

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.numerics import norm_bound
from relgrad_np.oracle import brute

from .problems import assert_close, convert, eps_of, suited, tolerances

VARIANTS = [
    ("output", "augmented"),
    ("output", "separate"),
    ("output", "published"),
    ("input", "augmented"),
    ("input", "separate"),
]


def passes(problem, forward=rg.forward, backprop=rg.backprop):
    tape = forward(problem.layers, problem.X, problem.activation)
    return tape, backprop(problem.layers, tape, *problem.model)


def numpy_layers(layers):
    return [rg.Layer(to_numpy(W), to_numpy(b)) for W, b in layers]


def forward_is_the_definition(problem, library="numpy", forward=rg.forward):
    problem = suited(problem, library)
    eps = eps_of(problem)
    tape = forward(
        convert(problem, library).layers, convert(problem, library).X, problem.activation
    )
    Zs, Ys = brute.forward(longdouble(problem.layers), problem.X, problem.activation)
    for k, tolerance in enumerate(tolerances(problem)["Y"]):
        assert_close(tape.Ys[k], Ys[k], tolerance, f"Y of layer {k}")
        assert_close(tape.Zs[k], Zs[k], 3 * tolerance + 64 * eps, f"Z of layer {k}")
    assert_close(tape.Zs[-1], Ys[-1], tolerances(problem)["Y"][-1], "latent")


def longdouble(layers):
    return [(W.astype(np.longdouble), b.astype(np.longdouble)) for W, b in layers]


def terms_are_the_log_jacobian(problem, library="numpy", log_likelihood=rg.log_likelihood):
    """L_J1 + L_J2 = slogdet of the dense Jacobian; L_p the base density of the latent."""
    problem = suited(problem, library)
    eps = eps_of(problem)
    p = convert(problem, library)
    terms = log_likelihood(p.layers, p.X, *p.model)
    J = [brute.jacobian(problem.layers, x, problem.activation) for x in problem.X]
    D, L = problem.X.shape[1], len(problem.layers)
    logdet = np.array([np.linalg.slogdet(j)[1] for j in J])
    tolerance = sum(tolerances(problem)["log_dsigma"]) * D
    tolerance += 64 * eps * L * D * max(np.linalg.cond(j) for j in J)
    assert_close(terms.L_J1 + terms.L_J2, logdet, tolerance, "L_J1 + L_J2")
    truth = brute.log_likelihood(longdouble(problem.layers), problem.X, *problem.model)
    scale = np.abs(to_numpy(terms.L_p)).max() + 1
    slack = D * tolerances(problem)["Y"][-1] * (1 + np.abs(problem.X).max()) * scale
    assert_close(terms.per_sample, truth, tolerance + slack, "log p")
    assert_close(terms.mean, truth.mean(), tolerance + slack, "mean log p")
    L_J2 = sum(np.linalg.slogdet(W)[1] for W, _ in problem.layers)
    assert_close(terms.L_J2, L_J2, 64 * eps * L * D * 9, "L_J2")


DERIVATIVES = {}


def derivative(problem):
    """The complex-step gradient of mean log p, and the largest cond(J); computed once a problem.

    It takes a pass for each element of W. Libraries and planted mistakes are judged by the same one.
    """
    arrays = (problem.X, *(x for layer in problem.layers for x in layer))
    names = [(part.name, *sorted(part.params.items())) for part in problem.model]
    key = (*(x.tobytes() for x in arrays), problem.X.shape, problem.X.dtype.name, *names)
    if key not in DERIVATIVES:

        def mean_log_p(layers):
            return np.mean(brute.log_likelihood(layers, problem.X, *problem.model))

        J = [brute.jacobian(problem.layers, x, problem.activation) for x in problem.X]
        truth = brute.gradient(mean_log_p, longdouble(problem.layers))
        DERIVATIVES[key] = truth, max(np.linalg.cond(j) for j in J)
    return DERIVATIVES[key]


def ordinary_is_the_derivative(
    problem, library="numpy", ordinary_gradient=rg.ordinary_gradient, backprop=rg.backprop
):
    """The ordinary gradient is the complex-step derivative of the definition, in long double."""
    problem = suited(problem, library)
    p = convert(problem, library)
    tape, deltas = passes(p, backprop=backprop)
    G = numpy_layers(ordinary_gradient(p.layers, tape, deltas))
    truth, cond = derivative(problem)
    allowed = tolerances(problem)
    # the truth goes through the determinant of the dense Jacobian: its own digits end with cond(J)
    blur = 64 * float(np.finfo(np.longdouble).eps) * cond
    for k, (G_W, G_b) in enumerate(G):
        for name, g, true in zip("Wb", (G_W, G_b), truth[k], strict=True):
            tolerance = allowed[f"G_{name}"][k] + blur * (1 + np.abs(g).max())
            assert_close(g, true, tolerance, f"G_{name} of layer {k}")


def relative_is_ordinary_times_metric(
    problem, library="numpy", relative_gradient=rg.relative_gradient, variants=VARIANTS
):
    """R~ = G~ W~' W~ and its variants, taken in long double from the same Z and Delta."""
    problem = suited(problem, library)
    p = convert(problem, library)
    tape, deltas = passes(p)
    allowed = tolerances(problem)
    G = []
    for (W, _), Z, Delta in zip(longdouble(problem.layers), tape.Zs[:-1], deltas, strict=True):
        Z, Delta = (to_numpy(x).astype(np.longdouble) for x in (Z, Delta))
        G.append((Delta.T @ Z + brute.inverse_matrix(W).T, Delta.sum(axis=0)))
    for side, bias in variants:
        R = relative_gradient(p.layers, tape, deltas, side=side, bias=bias)
        for k, (layer, g) in enumerate(zip(longdouble(problem.layers), G, strict=True)):
            for name, r, e in zip("Wb", R[k], brute.relative(*layer, *g, side, bias), strict=True):
                tolerance = allowed[f"R_{name} {side} {bias}"][k]
                assert_close(r, e, tolerance, f"R_{name} {side} {bias} of layer {k}")


def ascent(problem, library="numpy", relative_gradient=rg.relative_gradient):
    """<G, R> = |xi|^2 + |G_b|^2 (default), |G_W W'|^2 + |G_b|^2, |W' G_W|^2 + |W' G_b|^2."""
    problem = suited(problem, library)
    p = convert(problem, library)
    tape, deltas = passes(p)
    G = numpy_layers(rg.ordinary_gradient(p.layers, tape, deltas))
    allowed = tolerances(problem)
    for side, bias in (("output", "augmented"), ("output", "separate"), ("input", "augmented")):
        R = numpy_layers(relative_gradient(p.layers, tape, deltas, side=side, bias=bias))
        for k, ((W, _), (G_W, G_b), (R_W, R_b)) in enumerate(
            zip(problem.layers, G, R, strict=True)
        ):
            xi = to_numpy(deltas[k]).T @ to_numpy(tape.Ys[k]) + np.eye(len(W))
            square = {
                ("output", "augmented"): np.sum(xi**2) + np.sum(G_b**2),
                ("output", "separate"): np.sum((G_W @ W.T) ** 2) + np.sum(G_b**2),
                ("input", "augmented"): np.sum((W.T @ G_W) ** 2) + np.sum((W.T @ G_b) ** 2),
            }[side, bias]
            product = np.sum(G_W * R_W) + np.sum(G_b * R_b)
            size = np.abs(G_W).sum() + np.abs(G_b).sum() + np.abs(R_W).sum() + np.abs(R_b).sum()
            worst = max(v[k] for key, v in allowed.items() if key.startswith(("G_", "R_")))
            metric = np.sum(np.abs(brute.augmented(*problem.layers[k]))) ** 2
            assert_close(
                np.asarray(product), square, worst * size * (1 + metric), f"{side} {bias} <G, R>"
            )


def equivariance(
    problem,
    library="numpy",
    relative_gradient=rg.relative_gradient,
    variant=("output", "augmented"),
    shift=True,
    seed=0,
    mixing=None,
):
    """(W inv(M), b - W inv(M) c, X M' + c) gives R_W inv(M), R_b - R_W inv(M) c."""
    problem = suited(problem, library)
    rng = np.random.default_rng(seed)
    D = problem.X.shape[1]
    M = generic_mixing(rng, D) if mixing is None else mixing
    c = rng.uniform(0.5, 2.0, D) * (1.0 if shift else 0.0)
    V = np.linalg.inv(M)
    W, b = problem.layers[0]
    first = rg.Layer(W @ V, b - W @ V @ c)
    moved = problem._replace(layers=(first, *problem.layers[1:]), X=problem.X @ M.T + c)
    moved = suited(moved, library)
    side, bias = variant
    results = []
    for q in (problem, moved):
        p = convert(q, library)
        tape, deltas = passes(p)
        results.append(
            numpy_layers(relative_gradient(p.layers, tape, deltas, side=side, bias=bias))
        )
    (R_W, R_b), (moved_W, moved_b) = results[0][0], results[1][0]
    size = (1 + np.abs(R_W).max()) * np.linalg.cond(M) * (1 + np.abs(c).max())
    tolerance = 2**19 * eps_of(problem) * size
    assert_close(moved_W, R_W @ V, tolerance, "R_W of mixed data")
    assert_close(moved_b, R_b - R_W @ V @ c, tolerance, "R_b of mixed and shifted data")


def generic_mixing(rng, D):
    Q1, Q2 = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    return Q1 @ np.diag(2.0 ** rng.uniform(-1, 1, D)) @ Q2


def samples_are_exchangeable(
    problem, library="numpy", backprop=rg.backprop, relative=rg.relative_gradient
):
    """Permuting samples permutes Deltas and keeps R; a batch is the mean of its halves."""
    problem = suited(problem, library)
    order = np.random.default_rng(0).permutation(len(problem.X))
    doubled = problem._replace(X=np.concatenate([problem.X, problem.X[order] + 0.25]))
    half = len(problem.X)

    def run(X):
        p = convert(problem._replace(X=X), library)
        tape, deltas = passes(p, backprop=backprop)
        return [to_numpy(d) for d in deltas], numpy_layers(relative(p.layers, tape, deltas))

    deltas, R = run(doubled.X)
    shuffle = np.random.default_rng(1).permutation(2 * half)
    deltas_s, R_s = run(doubled.X[shuffle])
    (_, R_1), (_, R_2) = run(doubled.X[:half]), run(doubled.X[half:])
    allowed = tolerances(doubled)
    for k in range(len(problem.layers)):
        assert_close(deltas_s[k], deltas[k][shuffle], 2 * allowed["Delta"][k], f"Delta {k}")
        for name, a, s, one, two in zip("Wb", R[k], R_s[k], R_1[k], R_2[k], strict=True):
            tolerance = 4 * allowed[f"R_{name} output augmented"][k]
            assert_close(s, a, tolerance, f"R_{name} {k} of permuted samples")
            assert_close((one + two) / 2, a, tolerance, f"R_{name} {k}, mean of halves")


def capped(fs, eta, tau=0.7):
    """The steps a rule might take: another eta for each layer, at most tau over |K|."""
    return tuple(min(eta * (1 + k / 3), tau / float(norm_bound(f.K))) for k, f in enumerate(fs))


def step_is_the_dense_one(
    problem, library="numpy", kind="plain", eta=0.05, apply_step=rg.apply_step
):
    """W+ = W + eta R, or exp(eta xi~) W~ by a dense exponential, in long double.

    S of the step: (1 + eta) |W| + |Delta|.T (eta |A|), through e^eta and |phi1| for the exponential.
    """
    problem = suited(problem, library)
    eps = eps_of(problem)
    p = convert(problem, library)
    tape, deltas = passes(p)
    fs = rg.factors(p.layers, tape, deltas)
    etas = capped(fs, eta)
    new = numpy_layers(apply_step(p.layers, fs, etas, kind=kind))
    for k, (layer, f, eta) in enumerate(zip(longdouble(problem.layers), fs, etas, strict=True)):
        Delta, A, u = (to_numpy(x).astype(np.longdouble) for x in (f.Delta, f.A, f.u))
        W, b = layer
        R_W, R_b = Delta.T @ A + W, Delta.T @ u + b
        true = brute.step(W, b, R_W, R_b, eta, kind)
        D, A, u = np.abs(Delta), np.abs(A), np.abs(u)
        Y = np.abs(to_numpy(f.Y))
        spread = 1.0
        if kind == "exponential":  # phi1(|K|), and e^eta twice: in the scale, in the rounding
            spread = np.exp(2 * eta) * (np.eye(len(Y)) + brute.expm(eta * Y @ D.T))
            A, u = spread @ A, spread @ u
        S_W = (1 + eta) * np.abs(W) + D.T @ (eta * A)
        S_b = (1 + eta) * np.abs(b) + D.T @ (eta * u)
        # the dense truth starts from W, A as given; R inv(W) loses cond(W) of a long double
        assert_close(new[k].W, true[0], 64 * eps * float(S_W.max()), f"W+ of layer {k}")
        assert_close(new[k].b, true[1], 64 * eps * float(S_b.max()), f"b+ of layer {k}")


def tracking_is_slogdet(
    problem, library="numpy", kind="plain", eta=0.05, track_step=rg.track_step, steps=3, cap=0.7
):
    """log|det W|, its sign and inv(W) after some steps, against a dense slogdet and inverse.

    Without a cap (cap = inf) a plain step of good size flips signs.
    """
    problem = suited(problem, library)
    p = convert(problem, library)
    eps = eps_of(problem)
    layers, tracked = p.layers, rg.track(p.layers, inverse=True)
    worst = [1.0] * len(layers)
    for _ in range(steps):
        tape, deltas = passes(p._replace(layers=layers))
        fs = rg.factors(layers, tape, deltas)
        etas = capped(fs, eta, cap)
        tracked = track_step(tracked, fs, etas, kind=kind)
        layers = rg.apply_step(layers, fs, etas, kind=kind)
        for k, f in enumerate(fs):  # what the determinant of the step itself may lose
            step = np.eye(f.K.shape[0]) + etas[k] / (1 + etas[k]) * to_numpy(f.K)
            worst[k] = max(worst[k], np.linalg.cond(step))
    for k, (W, _) in enumerate(numpy_layers(layers)):
        W = W.astype(np.float64)
        sign, logdet = np.linalg.slogdet(W)
        cond = np.linalg.cond(W) * worst[k] * steps
        assert_close(tracked.logdet[k], logdet, 64 * eps * cond, f"log|det W| of layer {k}")
        assert_close(tracked.sign[k], sign, 0.0, f"sign of layer {k}")
        V = np.linalg.inv(W)
        assert_close(tracked.inverse[k], V, 64 * eps * cond * np.abs(V).max(), f"inv(W) of {k}")
    return tracked


def inverse_undoes_forward(problem, library="numpy", inverse=rg.inverse):
    """X back; the tolerance propagates each line's own error through the lines below it."""
    problem = suited(problem, library)
    eps = eps_of(problem)
    p = convert(problem, library)
    Z = rg.forward(p.layers, p.X, p.activation).Zs[-1]
    Zs, Ys = brute.forward(problem.layers, problem.X, problem.activation)
    error = tolerances(problem)["Y"][-1] * np.ones_like(problem.X)  # of Z itself
    for k in reversed(range(len(problem.layers))):
        W, b = problem.layers[k]
        V, cond = np.abs(np.linalg.inv(W)), np.linalg.cond(W)
        own = 64 * eps * cond * ((np.abs(Ys[k]) + np.abs(b)) @ V.T)
        error = error @ V.T + own  # of Zs[k]
        if k > 0:
            y = Ys[k - 1]
            scale = np.abs(Zs[k]) + np.abs(y) + 1
            error = (error + 64 * eps * scale) / brute.dsigma(problem.activation, y)  # of Ys[k-1]
    X = inverse(p.layers, Z, p.activation)
    assert (type(X), X.dtype) == (type(p.X), p.X.dtype)
    assert_close(X, problem.X, float(error.max()), "X back")


def every_law(problem, library, seed):
    """All of the above but the derivative, which takes a pass for each element of W."""
    forward_is_the_definition(problem, library)
    terms_are_the_log_jacobian(problem, library)
    relative_is_ordinary_times_metric(problem, library)
    ascent(problem, library)
    equivariance(problem, library, seed=seed)
    samples_are_exchangeable(problem, library)
    inverse_undoes_forward(problem, library)
    for kind in ("plain", "exponential"):
        step_is_the_dense_one(problem, library, kind)
        tracking_is_slogdet(problem, library, kind)
