# %% [markdown]
"""
# Scaling, on your machine

The ordinary gradient inverts every W, at a cost cubic in the dimension; the relative gradient takes a few products with the
batch. This program times both, in the reference implementation in NumPy. `python -m benchmarks --quick` times compiled
steps beside those of JAX and torch, in a checkout.
"""

# %%
import time

import numpy as np
from matplotlib import pyplot as plt

import relgrad_np as rg

activation, density = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")
rng = np.random.default_rng(0)
N, sizes = 20, (32, 64, 128, 256, 512, 1024)


def seconds(gradient, *arguments):
    """Return the best of some times of a call."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        gradient(*arguments)
        times.append(time.perf_counter() - began)
    return min(times)


relative, ordinary = [], []
for D in sizes:
    layers, X = rg.init_layers(rng, D, 2), rng.standard_normal((N, D))
    tape = rg.forward(layers, X, activation)
    deltas = rg.backprop(layers, tape, activation, density)
    relative.append(seconds(rg.relative_gradient, layers, tape, deltas))
    ordinary.append(seconds(rg.ordinary_gradient, layers, tape, deltas))
    print(
        f"D = {D:4}: relative {1e3 * relative[-1]:7.2f} ms, ordinary {1e3 * ordinary[-1]:7.2f} ms"
    )
assert ordinary[-1] > relative[-1]

# %%
figure, axes = plt.subplots(figsize=(6.5, 4))
for times, name in ((ordinary, "ordinary, with its inverse"), (relative, "relative")):
    axes.plot(sizes, 1e3 * np.array(times), "o-")
    axes.text(sizes[-1] * 1.1, 1e3 * times[-1], name, color=axes.lines[-1].get_color(), va="center")
axes.set(xscale="log", yscale="log", xlabel="D", ylabel="milliseconds", xlim=(28, 9000))
axes.set_xticks(sizes, [str(D) for D in sizes])
axes.minorticks_off()
plt.show()
