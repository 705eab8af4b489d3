import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "relgrad", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("relgrad"), derandomize=True)
settings.register_profile("device", settings.get_profile("ci"), max_examples=12)  # it takes a lease
default = "ci" if os.environ.get("CI") else "relgrad"
settings.load_profile(os.environ.get("RELGRAD_PROFILE", default))


def at_hand():
    """Whether a CUDA device answers; asked only where a test needs it."""
    try:
        import cupy

        return cupy.cuda.runtime.getDeviceCount() > 0
    except Exception:  # no CuPy, no driver, no device: each its own error
        return False


def pytest_collection_modifyitems(items):
    """Skip what is marked gpu where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not at_hand():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device at hand"))
