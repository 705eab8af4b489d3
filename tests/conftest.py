import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "relgrad", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("relgrad"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "relgrad")
