"""How log-likelihood grows with epochs and depth: the validation curves of one set's nets."""

from relgrad_np.runs import plots
from relgrad_np.runs.style import in_style

from .store import Line, Store

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # told apart by the colour-blind, too


@in_style
def draw(store: Store, name: str, nets: dict[str, Line], floor: float | None = None) -> str:
    """Draw validation log-likelihood against epochs, a curve a net; return the figure's file.

    `nets`: by what the report calls them, results with a "curve"; `floor`: where the axis begins.
    """
    figure = plots.canvas((7.0, 4.4))
    ax = figure.subplots()
    plots.labelled(ax, "", "epoch", "validation log-likelihood, nats a row")
    for colour, (net, line) in zip(COLOURS, nets.items(), strict=False):
        curve = line["curve"]
        ax.plot(range(1, len(curve) + 1), curve, "-", color=colour, lw=1.8)
        ax.annotate(
            f"{net}: {curve[-1]:.1f}", (len(curve), curve[-1]), (4, 0),
            textcoords="offset points", color=colour, va="center", fontsize=9,
        )  # fmt: skip
    longest = max(len(line["curve"]) for line in nets.values())
    ax.set_xlim(0, longest * 1.35)
    if floor is not None:
        ax.set_ylim(bottom=floor)
    ax.grid(color="0.93")
    path = store.figure(f"growth-{name}")
    figure.savefig(path)
    return path.name
