"""The three errata: run the scripts, keep their numbers, tell what they show."""

import inspect

from .errata import bias, inverse, layers
from .report import Claim, Section, table
from .store import Store

SCRIPTS = {"bias": bias, "inverse": inverse, "layers": layers}


def run(store: Store, quick: bool) -> None:
    """Run them: seconds."""
    for name, script in SCRIPTS.items():
        store.run("erratum", {"script": name}, script.numbers)


def section(store: Store, quick: bool) -> Section:
    """Return the numbers, and what they mean."""
    lines = {name: store.find("erratum", {"script": name}) for name in SCRIPTS}
    lacking = tuple(f"{name}: not run yet" for name, line in lines.items() if line is None)
    if lacking:
        return Section("", (), lacking)
    rule = {k: lines["bias"][k] for k in bias_names(lines["bias"])}
    right, best, published, closed = rule.values()
    orders = {k: v for k, v in lines["inverse"].items() if k.endswith("order")}
    mean = {k: lines["layers"][k] for k in lines["layers"] if k.startswith(("sum, ", "mean, "))}
    size = {name: len(inspect.getsource(script).splitlines()) for name, script in SCRIPTS.items()}
    text = [
        "**The bias rule.** With the bias in the group, `R_b = Delta' (Y b + 1) + b`; the authors' "
        "code leaves out `+ b`, the term of log|det|. It is invisible while b = 0. One layer with"
        " a normal base is a Gaussian, whose maximum likelihood is known: with Sigma = I and "
        "mu = (3, -2, 1, 5) the published rule ends lower by "
        f"`log(1 + mu' inv(Sigma) mu / 4) / 2` = {best - closed:.4f} nats "
        f"([bias.py](errata/bias.py), {size['bias']} lines, NumPy only):",
        "",
        table(["", "nats"], [[name, f"{value:.4f}"] for name, value in rule.items()]),
        "",
        "**The inverse.** Run backwards, the published code takes the biases in the order of the "
        f"forward pass. Nothing is lost with b = 0 ([inverse.py](errata/inverse.py), "
        f"{size['inverse']} lines):",
        "",
        table(["biases", "largest error of X"], [[k, f"{v:.1e}"] for k, v in orders.items()]),
        "",
        "**L_J1.** The authors' PyTorch notebook takes the mean of the layers' terms of L_J1 where "
        "it should sum them. There is nothing to see with two layers, its default, because one of "
        f"them is hidden ([layers.py](errata/layers.py), {size['layers']} lines):",
        "",
        table(["", "largest error of log p, nats"], [[k, f"{v:.1e}"] for k, v in mean.items()]),
        "",
        "Whether the paper's appendix has the first one is open: these are facts about the code.",
    ]
    claims = (
        Claim(
            "the published bias rule ends where its closed form says, short of the Gaussian",
            f"{published:.4f} for {best:.4f}",
            abs(published - closed) < 1e-6 and best - published > 1,
        ),
        Claim("the right one ends at the Gaussian", f"{right:.4f}", abs(right - best) < 1e-6),
        Claim(
            "the published order of biases does not invert",
            f"{orders['published order']:.2g} against {orders['right order']:.1e}",
            orders["published order"] > 0.1 and orders["right order"] < 1e-12,
        ),
        Claim(
            "the notebook's mean over layers is right for two layers only",
            f"off by {mean['mean, L = 2']:.1e} for L = 2, {mean['mean, L = 3']:.2g} for L = 3",
            mean["mean, L = 2"] < 1e-12 < 0.1 < mean["mean, L = 3"]
            and all(v < 1e-12 for k, v in mean.items() if k.startswith("sum")),
        ),
    )
    return Section("\n".join(text), claims)


def bias_names(line: dict[str, object]) -> list[str]:
    """Return the names of the numbers of the first script, in its order."""
    return [name for name in line if name.endswith((", run", "closed form"))]
