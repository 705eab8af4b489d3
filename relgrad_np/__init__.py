"""relgrad_np: relative gradient optimization of the Jacobian term, in NumPy arrays.

Exact maximum likelihood of invertible fully connected nets at quadratic cost: a reference for
Gresele, Fissore, Javaloy, Schoelkopf & Hyvarinen (NeurIPS 2020).
"""

from .activations import Activation, activation
from .adam import Adam
from .backprop import backprop
from .densities import Density, density
from .generative import inverse, sample
from .initial import init_layers
from .multiplicative import Factors, Tracked, apply_step, factors, track, track_step
from .network import Layer, Tape, forward
from .objective import LogLikelihood, log_likelihood
from .ordinary import ordinary_gradient
from .relative import relative_gradient
from .rules import Exponential, Plain, Rule, State, StepInfo, init_state, train_step

__version__ = "0.1.0.dev0"
__all__ = [
    "Activation",
    "Adam",
    "Density",
    "Exponential",
    "Factors",
    "Layer",
    "LogLikelihood",
    "Plain",
    "Rule",
    "State",
    "StepInfo",
    "Tape",
    "Tracked",
    "activation",
    "apply_step",
    "backprop",
    "density",
    "factors",
    "forward",
    "init_layers",
    "init_state",
    "inverse",
    "log_likelihood",
    "ordinary_gradient",
    "relative_gradient",
    "sample",
    "track",
    "track_step",
    "train_step",
]
