"""How does scikit-learn use it? Estimators, which only translate; they need scikit-learn.

`flow` is a density and a transformer of any number of layers, fitted as `chosen` says and used as
in `fitted`; `space` is the way to columns without bounds, `saved` and `saved_ica` know files. `ica`
unmixes sources with the interface of scikit-learn's FastICA. `conditional` is a density of rows
given a context, of which `features` makes what the layers see. `inputs` looks at the tables that
they are given.
"""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "relgrad_np.estimator needs scikit-learn: pip install scikit-learn", name="sklearn"
    ) from None

from .conditional import ConditionalFlow
from .ensemble import FlowEnsemble
from .flow import RelativeGradientFlow
from .ica import RelativeICA

__all__ = ["ConditionalFlow", "FlowEnsemble", "RelativeGradientFlow", "RelativeICA"]
