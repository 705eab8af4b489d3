"""Random right flows in NumPy, by a seed: layers of many kinds, composed, with several bases.

Each layer is (name, forward, inverse), forward x -> (z, log|det dz/dx|), inverse z -> (x, log|det
dx/dz|). They hold what is hard for a judge: kinks, spline knots, both signs of the determinant,
ill-conditioned matrices, steep and flat slopes, offsets and units.
"""

import numpy as np

from relgrad_np.oracle.flows.latent import normal


def dense(rng, D):
    """A free square matrix, of a condition up to 1e4 and either sign, and a shift."""
    Q, _ = np.linalg.qr(rng.standard_normal((D, D)))
    R, _ = np.linalg.qr(rng.standard_normal((D, D)))
    s = np.exp(rng.uniform(-1, 1, D) * rng.choice([0.5, 1.5, 4.6]))
    W, b = (Q * s) @ R, rng.standard_normal(D)
    V, log_det = np.linalg.inv(W), np.linalg.slogdet(W)[1]
    return (
        "dense",
        lambda x: (x @ W.T + b, np.full(len(x), log_det)),
        lambda z: ((z - b) @ V.T, np.full(len(z), -log_det)),
    )


def scale(rng, D):
    """A scale and a shift of each column, as actnorm has; some scales are negative."""
    s = np.exp(rng.standard_normal(D)) * rng.choice([-1, 1], D)
    b = 3 * rng.standard_normal(D)
    total = np.log(np.abs(s)).sum()
    return (
        "scale",
        lambda x: (s * x + b, np.full(len(x), total)),
        lambda z: ((z - b) / s, np.full(len(z), -total)),
    )


def permutation(rng, D):
    """The columns in another order."""
    order = rng.permutation(D)
    back = np.argsort(order)
    return (
        "permutation",
        lambda x: (x[:, order], np.zeros(len(x))),
        lambda z: (z[:, back], np.zeros(len(z))),
    )


def leaky(rng, D):
    """A leaky ReLU: a kink in each column."""
    a = rng.uniform(0.05, 0.8)
    return (
        "leaky",
        lambda x: (np.where(x < 0, a * x, x), np.log(a) * (x < 0).sum(axis=1)),
        lambda z: (np.where(z < 0, z / a, z), -np.log(a) * (z < 0).sum(axis=1)),
    )


def smooth(rng, D):
    """Sinh-arcsinh in each column."""
    d, e = np.exp(rng.uniform(-0.5, 0.5, D)), rng.uniform(-0.5, 0.5, D)

    def forward(x):
        u = d * np.arcsinh(x) + e
        return np.sinh(u), (np.log(np.cosh(u)) + np.log(d) - np.log1p(x**2) / 2).sum(axis=1)

    def inverse(z):
        x = np.sinh((np.arcsinh(z) - e) / d)
        return x, -forward(x)[1]

    return "smooth", forward, inverse


def conditioner(rng, inputs, outputs):
    """A small net with a hidden layer: smooth, or with kinks."""
    A, B = rng.standard_normal((inputs, 8)) / np.sqrt(inputs), rng.standard_normal((8, outputs)) / 3
    b = rng.standard_normal(8)
    act = (np.tanh, lambda h: np.maximum(h, 0))[rng.integers(2)]
    return lambda x: act(x @ A + b) @ B


def coupling(rng, D):
    """An affine coupling with a bounded log-scale."""
    mask = rng.permutation(D) < max(1, D // 2)
    if D == 1:
        return scale(rng, D)
    n = int((~mask).sum())
    net, bound = conditioner(rng, int(mask.sum()), 2 * n), rng.uniform(0.5, 2)

    def parts(x):
        h = net(x[:, mask])
        return bound * np.tanh(h[:, :n]), h[:, n:]

    def forward(x):
        s, t = parts(x)
        z = x.copy()
        z[:, ~mask] = x[:, ~mask] * np.exp(s) + t
        return z, s.sum(axis=1)

    def inverse(z):
        s, t = parts(z)
        x = z.copy()
        x[:, ~mask] = (z[:, ~mask] - t) * np.exp(-s)
        return x, -s.sum(axis=1)

    return "coupling", forward, inverse


def autoregressive(rng, D):
    """An affine autoregressive layer, with masks; its inverse goes through the columns."""
    A, B = (np.tril(rng.standard_normal((D, D)), -1) / np.sqrt(D) for _ in range(2))

    def parts(x):
        h = np.tanh(x) @ A.T
        return np.tanh(h), x @ B.T

    def forward(x):
        s, t = parts(x)
        return x * np.exp(s) + t, s.sum(axis=1)

    def inverse(z):
        x = np.zeros_like(z)
        for i in range(D):
            s, t = parts(x)
            x[:, i] = (z[:, i] - t[:, i]) * np.exp(-s[:, i])
        return x, -parts(x)[0].sum(axis=1)

    return "autoregressive", forward, inverse


def spline(rng, D):
    """A rational quadratic spline in each column, with linear tails."""
    K, B = int(rng.integers(4, 10)), 3.0

    def knots():
        w = np.exp(0.7 * rng.standard_normal((D, K)))
        w = 2 * B * (0.02 + (1 - 0.02 * K) * w / w.sum(axis=1, keepdims=True))
        return np.concatenate([np.zeros((D, 1)), np.cumsum(w, axis=1)], axis=1) - B

    xs, zs = knots(), knots()
    slopes = np.exp(0.5 * rng.standard_normal((D, K + 1)))
    slopes[:, [0, -1]] = 1.0

    def bins(v, at, d):
        k = np.clip(np.searchsorted(at[d], v, side="right") - 1, 0, K - 1)
        w, h = xs[d, k + 1] - xs[d, k], zs[d, k + 1] - zs[d, k]
        return k, w, h, h / w, slopes[d, k], slopes[d, k + 1]

    def log_slope(t, s, d0, d1):
        top = d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2
        return 2 * np.log(s) + np.log(top) - 2 * np.log(s + (d0 + d1 - 2 * s) * t * (1 - t))

    def forward(x):
        z, log_det = x.copy(), np.zeros(len(x))
        for d in range(D):
            inside = np.abs(x[:, d]) < B
            v = x[inside, d]
            k, w, h, s, d0, d1 = bins(v, xs, d)
            t = (v - xs[d, k]) / w
            bottom = s + (d0 + d1 - 2 * s) * t * (1 - t)
            z[inside, d] = zs[d, k] + h * (s * t**2 + d0 * t * (1 - t)) / bottom
            log_det[inside] += log_slope(t, s, d0, d1)
        return z, log_det

    def inverse(z):
        x, log_det = z.copy(), np.zeros(len(z))
        for d in range(D):
            inside = np.abs(z[:, d]) < B
            v = z[inside, d]
            k, w, h, s, d0, d1 = bins(v, zs, d)
            y, c = v - zs[d, k], d0 + d1 - 2 * s
            a, b = h * (s - d0) + y * c, h * d0 - y * c
            t = 2 * s * y / (b + np.sqrt(np.maximum(b**2 + 4 * a * s * y, 0)))
            x[inside, d] = xs[d, k] + t * w
            log_det[inside] -= log_slope(t, s, d0, d1)
        return x, log_det

    return "spline", forward, inverse


LAYERS = (dense, scale, permutation, leaky, smooth, coupling, autoregressive, spline)


def t_base(z):
    """Student's t with five degrees of freedom in each column."""
    from scipy import stats

    return stats.t.logpdf(z, 5).sum(axis=1)


def logistic_base(z):
    """The logistic density in each column."""
    return (-z - 2 * np.logaddexp(0, -z)).sum(axis=1)


BASES = (
    (None, normal, lambda rng, n, D: rng.standard_normal((n, D))),
    (t_base, t_base, lambda rng, n, D: rng.standard_t(5, (n, D))),
    (logistic_base, logistic_base, lambda rng, n, D: rng.logistic(size=(n, D))),
)


def composed(layers, D=3, missed=(), base=BASES[0], seed=0):
    """Return the arguments of check_flow for layers, from data to latent, and a base.

    `missed`: the names of layers whose log|det J| is left out of forward's.
    """
    given, log_base, draw = base
    draws = np.random.default_rng([8, seed])

    def forward(x):
        total = np.zeros(len(x))
        for name, f, _ in layers:
            x, log_det = f(x)
            total = total + (0 if name in missed else log_det)
        return x, total

    def inverse(z):
        total = np.zeros(len(z))
        for _, _, f in reversed(layers):
            z, log_det = f(z)
            total = total + log_det
        return z, total

    def log_prob(x):
        z, log_det = forward(x)
        return log_base(z) + log_det

    return {
        "D": D, "forward": forward, "inverse": inverse, "log_prob": log_prob, "base": given,
        "parts": layers, "sample": lambda n: inverse(draw(draws, n, D))[0],
    }  # fmt: skip


def right_flow(seed, most=8):
    """Return the arguments of check_flow for a random right flow, and a word on what it is.

    >>> made, word = right_flow(0)
    >>> sorted(made)[:3]
    ['D', 'base', 'forward']
    """
    rng = np.random.default_rng([7, seed])
    D = int(rng.integers(1, most + 1))
    kinds = [LAYERS[i] for i in rng.integers(len(LAYERS), size=rng.integers(1, 6))]
    layers = [kind(rng, D) for kind in kinds]
    _, log_base, draw = base = BASES[rng.integers(len(BASES))]
    made = composed(layers, D, base=base, seed=seed)
    alone, log_prob, inverse = made["sample"], made["log_prob"], made["inverse"]
    if seed % 2:
        made["sample"] = lambda n: ((x := alone(n)), log_prob(x))
    word = f"{log_base.__name__} D={D}: {', '.join(name for name, _, _ in layers)}"
    if seed % 3 == 1:
        made |= {"forward": None, "inverse": None, "parts": None, "base": None}  # a density alone
    if seed % 7 == 3:
        made["X"] = inverse(draw(rng, 200, D))[0]
    return made, word
