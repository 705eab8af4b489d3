# %% [markdown]
"""
# A flow of zuko

`check_flow` judges any flow by the laws that it must obey. Here it is a spline flow of
[zuko](https://pypi.org/project/zuko/): twelve laws are judged, without a line of code about what is inside.
"""

# %%
import torch
import zuko

from relgrad_np import oracle

torch.manual_seed(0)
flow = zuko.flows.NSF(features=3, transforms=2, hidden_features=[16])
report = oracle.check_flow(**oracle.from_torch(flow, D=3))
print(report.text())
assert report.passed

# %% [markdown]
# Now a part of it is wrong: it counts half of its log-determinant. It would train all the same.


# %%
class Half(zuko.transforms.MonotonicRQSTransform):
    """A spline whose log-determinant is half of the right one."""

    def call_and_ladj(self, x):
        """Return y and the log of its slope."""
        y, ladj = super().call_and_ladj(x)
        return y, ladj / 2


broken = zuko.flows.MAF(
    features=3,
    transforms=2,
    hidden_features=[16],
    univariate=Half,
    shapes=[(8,), (8,), (7,)],
)
report = oracle.check_flow(**oracle.from_torch(broken, D=3), laws=("jacobian", "parts"))
print(report.verdict)
assert not report.passed
