"""How a name, a file or an array becomes training, validation and test rows in model space.

Read `record` (what a loader returns) and `transforms` (the way to model space and back) first, then
`by_name` (`load`, the entry). The loaders are `digits`, `toy`, `files` (data of your own) and
`standard` (the public sets). `rows` checks arrays for all of them. `findings`, which stands on
`columns` and `rank`, looks for data that no model can be fitted to, and `baseline` is the Gaussian
to beat. `bounds` maps intervals onto R. `moments` has mean, covariance and whitening for any units.
"""

from .baseline import gaussian_log_likelihood
from .by_name import NAMES, load
from .digits import digits
from .files.own import LAZY_ABOVE
from .files.reading import Reading
from .findings import Findings, examine, require_full_rank
from .record import SPLITS, Dataset
from .standard.sources import STANDARD
from .toy import TOYS, toy
from .transforms import (
    Chain,
    Dequantise,
    DequantiseColumns,
    Logit,
    Standardise,
    Support,
    Transform,
    bits_per_dim,
    from_dict,
)

__all__ = [
    "LAZY_ABOVE",
    "NAMES",
    "SPLITS",
    "STANDARD",
    "TOYS",
    "Chain",
    "Dataset",
    "Dequantise",
    "DequantiseColumns",
    "Findings",
    "Logit",
    "Reading",
    "Standardise",
    "Support",
    "Transform",
    "bits_per_dim",
    "digits",
    "examine",
    "from_dict",
    "gaussian_log_likelihood",
    "load",
    "require_full_rank",
    "toy",
]
