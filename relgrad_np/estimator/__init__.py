"""How does scikit-learn use it? Estimators, which only translate; they need scikit-learn.

`flow` is a density and a transformer of any number of layers, `ica` unmixes sources with the
interface of scikit-learn's FastICA.
"""

from .flow import RelativeGradientFlow
from .ica import RelativeICA

__all__ = ["RelativeGradientFlow", "RelativeICA"]
