"""Profiles of Hypothesis, tests that need a device, and the whole suite on several processors."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "relgrad", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
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


MOST = 4  # processes; with more, the one that compiles would be waited for
# the files whose tests compile kernels: in one process, or each process compiles them all anew
COMPILING = (
    "relgrad_np/kernels/", "tests/kernels/", "tests/benchmarks/", "tests/fitting/test_devices.py",
    "tests/test_walks.py",
)  # fmt: skip


def processors():
    """How many processors this process may use."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in several processes; what is named on the command line, in one.

    `-n 0` runs the suite in one process, too; without pytest-xdist it always does. The whole suite
    leaves out what compiles the kernels once more, unless -m says what it is to run.
    """
    option, whole = config.option, config.args_source is config.ArgsSource.TESTPATHS
    if whole and not option.markexpr:
        option.markexpr = "not recompiles"
    alone = hasattr(config, "workerinput") or option.usepdb or option.collectonly
    if getattr(option, "numprocesses", 0) is None and option.dist == "no" and whole and not alone:
        option.numprocesses, option.dist = min(processors(), MOST), "loadfile"
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the processes that are begun


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each process whole files, and to one of them all those that compile."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return "kernels" if file.startswith(COMPILING) else file

    return Files(config, log)


KEPT = "relgrad/skipped"  # in pytest's cache


def pytest_addoption(parser):
    """Add --skipped, for an environment that has what another one lacked."""
    parser.addoption(
        "--skipped", action="store_true", help="only what the whole suite skipped last"
    )


class Skipped:
    """Keeps the names of the tests that a run of the whole suite skips."""

    def __init__(self, cache):
        self.cache, self.names = cache, set()

    def pytest_runtest_logreport(self, report):
        """Take its name; the reports of all processes come here."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self.names.add(report.nodeid)

    pytest_collectreport = pytest_runtest_logreport  # a file that is skipped as a whole

    def pytest_sessionfinish(self):
        """Keep them."""
        self.cache.set(KEPT, sorted(self.names))


def pytest_configure(config):
    """Watch a run of the whole suite, in the process that hears of all tests."""
    whole = config.args_source is config.ArgsSource.TESTPATHS
    if whole and not hasattr(config, "workerinput") and not config.option.skipped:
        config.pluginmanager.register(Skipped(config.cache))


def pytest_collection_modifyitems(config, items):
    """Leave the tests that --skipped asks for; skip what is marked gpu where there is none."""
    if config.option.skipped:
        names = set(config.cache.get(KEPT, []))
        asked = [item for item in items if {item.nodeid, item.nodeid.split("::")[0]} & names]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(asked)])
        items[:] = asked
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not at_hand():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device at hand"))
