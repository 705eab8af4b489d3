"""Contenders on a CUDA device, for arrays that are there already; `in_jax` serves there as it is.

The device of torch's contenders is a name, so that a rehearsal can take the CPU.
"""

from typing import Any

import relgrad_np as rg

from .contenders import Contender


def cupy_layers(layers: Any) -> Any:
    """Copy NumPy layers to the device."""
    import cupy

    return tuple(rg.Layer(cupy.array(W), cupy.array(b)) for W, b in layers)


def _host(layers: Any) -> Any:
    return tuple(rg.Layer(W.get(), b.get()) for W, b in layers)


def step_of(layers: Any, alpha: float, rule: Any, tracked: bool = True) -> Contender:
    """Our step by the kernels, from CuPy copies of these layers."""
    import cupy

    from relgrad_np.kernels.cuda.step import suits, train_step

    own, L = cupy_layers(layers), len(layers)
    kept = None
    if tracked and rule.tracks:  # changes are timed: the start of log|det W| need not be known
        kept = rg.Tracked(cupy.zeros(L), cupy.ones(L), None)
    state = rg.init_state(own, rule, tracked=kept)
    state = state if kept else state._replace(tracked=None)
    model = {
        "activation": rg.activation("smooth_leaky_relu", alpha=alpha),
        "density": rg.density("normal"),
    }

    def step(X: Any) -> None:
        nonlocal state
        if state.t == 0 and not suits(state, X, *model.values(), rule, None):
            raise AssertionError("the kernels would not take this step")
        state, _ = train_step(state, X, rule=rule, **model)

    return Contender(step, lambda: _host(state.layers), to_device=cupy.asarray)


def plain(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Take the plain step with log|det W| tracked: what `fit(rule="plain")` takes."""
    return step_of(layers, alpha, rg.Plain(learning_rate))


def untracked(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Take the plain step without the tracker: what the published algorithm does, capped."""
    return step_of(layers, alpha, rg.Plain(learning_rate), tracked=False)


def recipe(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Take the recipe's step, the default of `fit`."""
    return step_of(layers, alpha, rg.Recipe(learning_rate))


def adam(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Adam on the relative gradient."""
    return step_of(layers, alpha, rg.Adam(learning_rate))


def floor(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """Make the 4 L - 1 products of a step in their shapes, in place, and nothing else."""
    import cupy

    from relgrad_np.kernels.cuda.step import gemm

    Ws = [W for W, _ in cupy_layers(layers)]
    shapes: dict[int, Any] = {}

    def step(X: Any) -> None:
        N, dtype = X.shape[0], X.dtype
        if N not in shapes:
            both = cupy.concatenate([X, X])
            shapes[N] = cupy.empty(X.shape, dtype), both, cupy.empty(both.shape, dtype)
        Y, both, P = shapes[N]
        for W in Ws:
            gemm("N", "T", X, W, Y)
        for W in Ws[1:]:
            gemm("N", "N", both, W, P)
        gemm("N", "N", X, Ws[0], Y)
        for W in Ws:
            gemm("T", "N", X, X, W, 1e-12, 1 + 1e-7)

    return Contender(step, lambda: tuple(layers), to_device=cupy.asarray)


def cusolver_inverse(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
    """W+ = W + learning_rate (Delta.T @ Z + inv(W).T), the inverse by cuSOLVER: cubic."""
    import cupy

    own = cupy_layers(layers)
    act, dens = rg.activation("smooth_leaky_relu", alpha=alpha), rg.density("normal")

    def step(X: Any) -> None:
        nonlocal own
        tape = rg.forward(own, X, act)
        deltas = rg.backprop(own, tape, act, dens)
        moved = []
        for (W, b), Z, Delta in zip(own, tape.Zs[:-1], deltas, strict=True):
            G_W = Delta.T @ Z + cupy.linalg.inv(W).T
            moved.append(rg.Layer(W + learning_rate * G_W, b + learning_rate * Delta.sum(axis=0)))
        own = tuple(moved)

    return Contender(step, lambda: _host(own), to_device=cupy.asarray)


def torch_contender(kind: str, device: str) -> Any:
    """Return the factory of torch's autograd ("autograd", "backprop") or of the relative step."""

    def make(layers: Any, *, alpha: float, learning_rate: float) -> Contender:
        import torch

        from .in_torch import log_likelihood

        torch.set_float32_matmul_precision("highest")  # no TF32
        own = [tuple(torch.tensor(x, device=device) for x in layer) for layer in layers]
        flat = [x.requires_grad_(kind != "relative") for layer in own for x in layer]

        def by_autograd(X: Any) -> None:
            value = log_likelihood(own, X, alpha, kind == "autograd")
            slopes = torch.autograd.grad(value, flat)
            with torch.no_grad():
                torch._foreach_add_(flat, slopes, alpha=learning_rate)

        def by_hand(X: Any) -> None:
            relative_step(own, X, alpha, learning_rate)

        step = by_hand if kind == "relative" else by_autograd

        def current() -> Any:
            return tuple(rg.Layer(*(x.detach().cpu().numpy().copy() for x in y)) for y in own)

        return Contender(step, current, to_device=lambda X: torch.as_tensor(X, device=device))

    return make


def relative_step(layers: Any, X: Any, alpha: float, eta: float) -> None:
    """One step of the published algorithm in torch, W updated in place by addmm_ with beta."""
    import torch

    with torch.no_grad():
        N, L, Z = X.shape[0], len(layers), X
        Ys, slopes, bends = [], [], []
        for k, (W, b) in enumerate(layers):
            Ys.append(torch.addmm(b, Z, W.T))
            if k < L - 1:
                s = torch.sigmoid(Ys[k])
                slope = alpha + (1 - alpha) * s
                slopes.append(slope)
                bends.append((1 - alpha) * s * (1 - s) / slope)
                Z = alpha * Ys[k] + (1 - alpha) * torch.nn.functional.softplus(Ys[k])
        Delta = -Ys[-1] / N
        for k in reversed(range(L)):
            W, b = layers[k]
            both = torch.cat([Ys[k], Delta]) @ W if k > 0 else Ys[0] @ W
            u, old = Ys[k] @ b + 1, Delta
            if k > 0:
                Delta = both[N:] * slopes[k - 1] + bends[k - 1] / N
            W.addmm_(old.T, both[:N], beta=1 + eta, alpha=eta)
            b.addmv_(old.T, u, beta=1 + eta, alpha=eta)
