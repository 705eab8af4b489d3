"""relgrad_np: relative gradient optimization of the Jacobian term, in NumPy arrays.

Exact maximum likelihood of invertible fully connected nets at quadratic cost: a reference for
Gresele, Fissore, Javaloy, Schoelkopf & Hyvarinen (NeurIPS 2020).
"""

from .core.activations import Activation, activation
from .core.backprop import backprop
from .core.densities import Density, density
from .core.full_rank import Chart, FullRank
from .core.network import Layer, Tape, forward
from .core.objective import LogLikelihood, log_likelihood
from .core.ordinary import ordinary_gradient
from .core.relative import relative_gradient
from .core.sampling import inverse, sample
from .core.steps import Factors, apply_step, factors, in_charts
from .core.tracking import Tracked, audit, track, track_step
from .core.undo import undo_step
from .core.version import __version__ as __version__
from .datasets.transforms import Chain
from .distributed.together import fit
from .fitting.batches import Staged
from .fitting.newton.run import newton
from .fitting.records import (
    Epoch,
    FitDivergedError,
    FitResult,
    FitWarning,
    NotConvergedWarning,
)
from .fitting.starts import init_layers
from .fitting.storage.model import Model, load, save
from .rules.adam import Adam
from .rules.base import Move, Rule, State, StepInfo, init_state, train_step
from .rules.group_adam import GroupAdam
from .rules.natural import Natural
from .rules.plain import Exponential, Plain
from .rules.presets import PRESETS
from .rules.recipe import Recipe
from .rules.scalar import Scalar

__all__ = [
    "PRESETS",
    "Activation",
    "Adam",
    "Chain",
    "Chart",
    "Density",
    "Epoch",
    "Exponential",
    "Factors",
    "FitDivergedError",
    "FitResult",
    "FitWarning",
    "FullRank",
    "GroupAdam",
    "Layer",
    "LogLikelihood",
    "Model",
    "Move",
    "Natural",
    "NotConvergedWarning",
    "Plain",
    "Recipe",
    "Rule",
    "Scalar",
    "Staged",
    "State",
    "StepInfo",
    "Tape",
    "Tracked",
    "activation",
    "apply_step",
    "audit",
    "backprop",
    "density",
    "factors",
    "fit",
    "forward",
    "in_charts",
    "init_layers",
    "init_state",
    "inverse",
    "load",
    "log_likelihood",
    "newton",
    "ordinary_gradient",
    "relative_gradient",
    "sample",
    "save",
    "track",
    "track_step",
    "train_step",
    "undo_step",
]
