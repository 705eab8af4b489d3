"""Bijections and flows of flowjax."""

from __future__ import annotations

from typing import Any

from .entries import Entry

ITERATED = {"inverse_accuracy": 2e-5}  # its inverses bisect to 1e-5, in x or in the mean of |z|


def entries() -> list[Entry]:
    """Return the entries."""
    import equinox as eqx
    import flowjax.bijections as fb
    import flowjax.distributions as fd
    import flowjax.flows as ff
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flowjax.root_finding import (
        elementwise_autoregressive_bisection,
        root_finder_to_inverter,
    )

    key = jax.random.key(0)

    def shaken(made: Any, scale: float = 0.1) -> Any:
        values, static = eqx.partition(made, eqx.is_inexact_array)
        leaves, tree = jax.tree_util.tree_flatten(values)
        keys = jax.random.split(key, max(len(leaves), 1))
        pairs = zip(keys, leaves, strict=False)
        new = [x + scale * jax.random.normal(k, x.shape) for k, x in pairs]
        return eqx.combine(jax.tree_util.tree_unflatten(tree, new), static)

    def flow(kind: str, D: int, **more: Any) -> Any:
        def make() -> Any:
            base = fd.StandardNormal((D,))
            return shaken(getattr(ff, kind)(key, base_dist=base, **more), 0.05)

        return make

    def bisected(f: Any) -> Any:
        return elementwise_autoregressive_bisection(f, -5 * jnp.ones(2), 5 * jnp.ones(2))

    elementwise = root_finder_to_inverter(bisected)
    tri = jnp.array([[1.0, 0, 0], [0.5, 2, 0], [-0.3, 0.7, 0.4]])
    positive = {"X": np.random.default_rng(0).gamma(2.0, 1.0, (32, 3)) + 0.05}
    return [
        Entry("Affine", 3, lambda: fb.Affine(jnp.array([1.0, 0, -1]), jnp.array([2.0, 0.5, 3]))),
        Entry("Loc", 3, lambda: fb.Loc(jnp.array([1.0, 0, -1]))),
        Entry("Scale", 3, lambda: fb.Scale(jnp.array([2.0, 0.5, 3]))),
        Entry("TriangularAffine", 3, lambda: fb.TriangularAffine(jnp.zeros(3), tri)),
        Entry("Exp", 3, lambda: fb.Exp((3,))),
        Entry("SoftPlus", 3, lambda: fb.SoftPlus((3,))),
        Entry("Sigmoid", 3, lambda: fb.Sigmoid((3,))),
        Entry("Tanh", 3, lambda: fb.Tanh((3,))),
        Entry("LeakyTanh", 3, lambda: fb.LeakyTanh(2.0, (3,))),
        Entry("Power", 3, lambda: fb.Power(1.5, (3,)), given=positive),
        Entry("Permute", 4, lambda: fb.Permute(jnp.array([2, 0, 3, 1]))),
        Entry("Flip", 4, lambda: fb.Flip((4,))),
        Entry("Householder", 4, lambda: fb.Householder(jnp.array([1.0, 2, -1, 0.5]))),
        Entry("DiscreteCosine", 4, lambda: fb.DiscreteCosine((4,))),
        Entry("Planar", 3, lambda: shaken(fb.Planar(key, dim=3, negative_slope=0.2), 0.5)),
        Entry("Vmap(RationalQuadraticSpline)", 3, lambda: shaken(
            fb.Vmap(fb.RationalQuadraticSpline(knots=5, interval=3), axis_size=3), 0.3)),
        Entry("Chain(Affine, Tanh)", 3,
              lambda: fb.Chain([fb.Affine(jnp.ones(3), 2 * jnp.ones(3)), fb.Tanh((3,))])),
        Entry("Invert(Exp)", 3, lambda: fb.Invert(fb.Exp((3,))), given=positive),
        Entry("coupling_flow", 4, flow("coupling_flow", 4, flow_layers=2, nn_width=16)),
        Entry("masked_autoregressive_flow", 3,
              flow("masked_autoregressive_flow", 3, flow_layers=2, nn_width=16)),
        Entry("triangular_spline_flow", 3, flow("triangular_spline_flow", 3, flow_layers=2)),
        Entry("planar_flow", 2, flow("planar_flow", 2, flow_layers=2, negative_slope=0.2)),
        Entry("block_neural_autoregressive_flow", 2,
              flow("block_neural_autoregressive_flow", 2, nn_block_dim=4),
              declared=ITERATED, expected="inverse(forward(x)) is not x",
              why="root_finding.py, bisect_check_expand_search: `atol` is met by the last midpoint "
              "that was tested; `return result.state.midpoint` returns the next, whose residual is "
              "up to 1.6e-3 where 1e-5 is asked for, and above that in 38 % of rows"),
        Entry("block_neural_autoregressive_flow, elementwise bisection", 2,
              flow("block_neural_autoregressive_flow", 2, nn_block_dim=4, inverter=elementwise),
              declared=ITERATED),
        Entry("MultivariateNormal", 3,
              lambda: fd.MultivariateNormal(jnp.array([1.0, 0, -1]), tri @ tri.T)),
    ]  # fmt: skip
