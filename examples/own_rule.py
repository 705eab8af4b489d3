# %% [markdown]
"""
# A rule of your own

A rule proposes a direction and a step size for each layer. The package applies them, tracks log|det W|, and rejects a step
that is not finite. By this rule a layer takes smaller steps after large ones.
"""

# %%
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt

import relgrad_np as rg
from relgrad_np import extend
from relgrad_np.core.arrays import check

# %% [markdown]
# The memory of a rule is a tuple of arrays: `start` makes it, and `propose` returns the new one. Here it is the running size
# of each layer's move.


# %%
@dataclass(frozen=True)
class Steady:
    """Plain steps, divided by the running norm of the rank-N part of each layer's step."""

    learning_rate: float = 0.3
    memory: float = 0.9
    kind = "plain"
    tracks = True

    def start(self, layers):
        """Remember nothing yet: a size of 0 for each layer."""
        return tuple(0 * b[0] for _, b in layers)

    def propose(self, state, tape, deltas):
        """Propose the relative gradient of each layer, and its size."""
        xp = check(state.layers)
        directions = rg.factors(state.layers, tape, deltas)
        norms = tuple(xp.sqrt(xp.sum(f.K * f.K)) for f in directions)
        seen = tuple(
            xp.maximum(K, self.memory * old) for K, old in zip(norms, state.rule_state, strict=True)
        )
        eta = tuple(self.learning_rate / xp.maximum(K, xp.ones_like(K)) for K in seen)
        return rg.Move(directions, eta, norms, seen)


# %% [markdown]
# `extend.rule` tests the rule by twenty small steps on two generic problems: they must ascend, and the tracked log|det W|
# must be that of slogdet.

# %%
rule = extend.rule(Steady())
rng = np.random.default_rng(0)
X = rng.laplace(size=(4000, 8)) @ rng.standard_normal((8, 8)).T
activation, density = rg.activation("smooth_leaky_relu"), rg.density("sech")
start = rg.init_layers(rng, 8, 2, kind="gaussianize", X=X, activation=activation)
paths = {}
for name, chosen in (("the rule above", rule), ("the default", "recipe")):
    result = rg.fit(
        start, X, activation, density, rule=chosen, rng=np.random.default_rng(1), epochs=15
    )
    paths[name] = [epoch.train for epoch in result.history]
    print(f"{name}: {paths[name][-1]:.3f} nats, log|det W| off by {result.history[-1].drift:.0e}")
assert paths["the rule above"][-1] > paths["the rule above"][0]

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.6))
for name, path in paths.items():
    axes.plot(path, "o-")
    axes.text(len(path) - 0.8, path[-1], name, color=axes.lines[-1].get_color(), va="center")
axes.set(xlabel="epoch", ylabel="log-likelihood (nats)", xlim=(0, 19))
plt.show()
