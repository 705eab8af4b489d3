"""How does scikit-learn use it? Estimators, which only translate; they need scikit-learn.

`flow` is a density and a transformer of any number of layers.
"""

from .flow import RelativeGradientFlow

__all__ = ["RelativeGradientFlow"]
