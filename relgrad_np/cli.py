"""The command line: demo, verify, info, train.

Exit status: 0 success; 1 an honest negative (a check failed, the fit diverged); 2 unusable input,
one line on stderr; 130 and 143 for signals.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import sys
import warnings
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import __version__
from .checkpoint import save
from .fit import RULES, SCHEDULES, Epoch, FitDivergedError
from .rules import State

PROGRAM = "relgrad-np"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit status 2."""
        self.exit(2, f"{PROGRAM}: error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status.

    >>> main(["info", "--json"])  # doctest: +ELLIPSIS
    {"relgrad_np": ...}
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.debug:
        return int(options.run(options))
    warnings.simplefilter("ignore", RuntimeWarning)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except FitDivergedError as error:
        print(f"{PROGRAM}: the fit diverged: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, TypeError, OSError, ImportError, np.linalg.LinAlgError) as error:
        line = " ".join(str(error).split())
        print(f"{PROGRAM}: error: {line}", file=sys.stderr)
        return 2


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        made.set_defaults(run=run)
        return made

    demo = command("demo", _demo, "the main job on real data, in under a minute, with pictures")
    demo.add_argument(
        "--out", type=Path, default=Path("relgrad-demo"), help="folder of the pictures"
    )
    demo.add_argument("--seed", type=_seed, default=0)

    check = command("verify", _verify, "check this installation against the definitions")
    check.add_argument("--json", action="store_true", help="one JSON object a line")

    info = command("info", _info, "versions, BLAS, threads, devices")
    info.add_argument("--json", action="store_true")

    train = command("train", _train, "fit a model to a data set and write a run folder")
    train.add_argument("data", help="digits, or toy:NAME (8gaussians, sine, moons, ...)")
    train.add_argument("--layers", type=int, help="number of layers L")
    train.add_argument("--activation", help="smooth_leaky_relu, leaky_tanh, identity")
    train.add_argument("--alpha", type=float, help="parameter of the activation")
    train.add_argument("--density", help="normal, logistic, laplace, sech, student_t")
    train.add_argument("--init", help="orthogonal, identity, whiten")
    train.add_argument("--rule", help=", ".join(RULES))
    train.add_argument("--learning-rate", type=float)
    train.add_argument("--schedule", help=", ".join(SCHEDULES))
    train.add_argument("--warmup", type=int, help="steps of rising learning rate")
    train.add_argument("--batch-size", type=int)
    train.add_argument("--epochs", type=int)
    train.add_argument(
        "--patience", type=int, help="stop after so many epochs without a better one"
    )
    train.add_argument("--seed", type=_seed)
    train.add_argument("--dtype", help="float64 or float32")
    train.add_argument("--implementation", help="reference")
    train.add_argument("--preset", help="published: the settings of the authors' code")
    train.add_argument("--out", type=Path, help="run folder, new; default runs/DATA")
    train.add_argument("--json", action="store_true", help="the report as one JSON object")
    return parser


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _demo(options: argparse.Namespace) -> int:
    from .demo import demo

    return 0 if demo(options.out, options.seed, progress=_progress()) else 1


def _verify(options: argparse.Namespace) -> int:
    from .verify import table, verify

    checks = verify()
    if options.json:
        for check in checks:
            print(json.dumps({**check._asdict(), "passed": check.passed}))
    else:
        print(table(checks))
    return 0 if all(check.passed for check in checks) else 1


def _train(options: argparse.Namespace) -> int:
    from . import training
    from .datasets import load

    names = [field.name for field in fields(training.Settings)]
    settings = training.settings_for(
        options.data, **{name: getattr(options, name) for name in names}
    )
    data = load(options.data, settings.seed)
    _, chosen = training.prepare(settings, data)  # what is wrong shows before anything is written
    folder = training.new_folder(options.out or Path("runs") / options.data.replace(":", "-"))
    (folder / "config.json").write_text(
        json.dumps({"version": __version__, "data": options.data, **asdict(settings)}, indent=2)
        + "\n"
    )

    def note(epoch: Epoch, state: State) -> None:
        training.write_history(folder / "history.jsonl", epoch)

    try:
        run = training.train(
            data, settings, progress=_progress() and not options.json, callbacks=(note,)
        )
    except FitDivergedError as error:  # nothing is lost
        save(folder / "model.npz", training.model_of(data, settings, error.result.layers, chosen))
        raise
    training.write_run(folder, data, run)
    if options.json:
        print(json.dumps({**run.report._asdict(), "folder": str(folder)}))
    else:
        print(run.report.text())
        print(f"written: {folder}")
    return 0


def _progress() -> bool:
    """Show a bar to a person at a terminal who has tqdm."""
    import importlib.util

    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _info(options: argparse.Namespace) -> int:
    facts = information()
    if options.json:
        print(json.dumps(facts))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{key:<{width}}  {value}" for key, value in facts.items()))
    return 0


def information() -> dict[str, Any]:
    """Return versions, BLAS, threads and devices of this installation.

    >>> information()["relgrad_np"] == __version__
    True
    """
    facts: dict[str, Any] = {
        "relgrad_np": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} processors",
    }
    extras = ("numpy", "scipy", "array-api-compat", "numba", "scikit-learn", "matplotlib", "tqdm")
    for package in (*extras, "cupy-cuda13x", "torch", "jax"):
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = None
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts["BLAS"] = f"{blas.get('name')} {blas.get('version')}"
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        facts[variable] = os.environ.get(variable)
    facts["devices"] = ["cpu", *_cuda_devices()]
    return facts


def _cuda_devices() -> list[str]:
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
        return [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    except Exception:  # no CuPy, no driver, no device: each its own error, all mean none
        return []


if __name__ == "__main__":
    sys.exit(main())
