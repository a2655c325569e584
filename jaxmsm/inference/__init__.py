"""Models confronted with data: fits by gradient, which step back from where a model fails.

Units: those of the misfit; weights are one over the variance of the data where standard errors are wanted in absolute terms.
"""

from ._first_order import FirstOrder as FirstOrder
from ._fit import AbstractMethod as AbstractMethod, Fit as Fit, fit as fit
from ._levenberg import LevenbergMarquardt as LevenbergMarquardt
