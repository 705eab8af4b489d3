"""relgrad_np: relative gradient optimization of the Jacobian term, in NumPy arrays.

Exact maximum likelihood of invertible fully connected nets at quadratic cost: a reference for
Gresele, Fissore, Javaloy, Schoelkopf & Hyvarinen (NeurIPS 2020).
"""

from .activations import Activation, activation
from .adam import Adam
from .backprop import backprop
from .checkpoint import Model, load, save
from .datasets.transforms import Chain
from .densities import Density, density
from .fit import fit
from .generative import inverse, sample
from .group_adam import GroupAdam
from .history import Epoch, FitDivergedError, FitResult
from .initial import init_layers
from .multiplicative import Chart, Factors, apply_step, factors, in_charts
from .natural import Natural
from .network import Layer, Tape, forward
from .objective import LogLikelihood, log_likelihood
from .ordinary import ordinary_gradient
from .presets import PRESETS
from .recipe import Recipe, Scalar
from .relative import relative_gradient
from .rules import Exponential, Plain, Rule, State, StepInfo, init_state, train_step
from .staging import Staged
from .tracking import Tracked, track, track_step
from .upkeep import audit, undo_step

__version__ = "0.1.0.dev0"
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
    "GroupAdam",
    "Layer",
    "LogLikelihood",
    "Model",
    "Natural",
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
    "ordinary_gradient",
    "relative_gradient",
    "sample",
    "save",
    "track",
    "track_step",
    "train_step",
    "undo_step",
]
