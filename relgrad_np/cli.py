"""The command line: demo, train, evaluate, sample, verify, vectors, check, info.

Exit status: 0 success; 1 an honest negative (a check failed, the fit diverged); 2 unusable input,
one line on stderr; 130 and 143 for signals.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import __version__
from .fit import RULES, SCHEDULES
from .history import FitDivergedError, fingerprint
from .oracle.commands import register
from .ranks import Listener, Ranks, together, world

PROGRAM = "relgrad-np"
_STATUS = """exit status: 0 success; 1 a check failed or the fit diverged; 2 unusable input;
130, 143: stopped by a signal, with a checkpoint to go on from (train --resume)"""
_NAMES = (
    "digits, mnist, fashion-mnist, power, bsds300, miniboone, gas, hepmass, toy:8gaussians, "
    "toy:sine, toy:moons, toy:trimodal, toy:smile, toy:2spirals, toy:checkerboard, toy:rings"
)


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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _die)
    if options.debug:
        return int(options.run(options))
    warnings.simplefilter("ignore", RuntimeWarning)
    try:
        return int(options.run(options))
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
        prog=PROGRAM,
        description="Maximum likelihood by the relative gradient.",
        epilog=_STATUS,
        formatter_class=argparse.RawTextHelpFormatter,
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
    demo.add_argument("--seed", metavar="N", type=seed_number, default=0)

    check = command("verify", _verify, "check this installation against the definitions")
    check.add_argument("--json", action="store_true", help="one JSON object a line")

    register(command)

    bench = command("bench", _bench, "time a step against the peers, each gated first")
    bench.add_argument("--quick", action="store_true", help="small sizes, under two minutes")
    bench.add_argument("--cells", default="table", choices=("table", "scaling", "batch"))
    bench.add_argument("--threads", metavar="N", type=int, default=1, help="0: all; default 1")
    bench.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    bench.add_argument("--out", type=Path, help="file of JSON lines, appended to")

    info = command("info", _info, "versions, BLAS, threads, devices")
    info.add_argument("--json", action="store_true")

    train = command("train", _train, "fit a model to a data set and write a run folder")
    train.add_argument("data", nargs="?", help=f"{_NAMES}; or FILE.npy, .npz, .csv")
    train.add_argument("--layers", metavar="N", type=int, help="number of layers L")
    train.add_argument("--activation", help="smooth_leaky_relu, leaky_tanh, identity")
    train.add_argument("--alpha", metavar="X", type=float, help="parameter of the activation")
    train.add_argument("--beta", metavar="X", type=float, help="of leaky_tanh")
    train.add_argument(
        "--density", help="normal, logistic, laplace, sech, student_t, multivariate_t"
    )
    train.add_argument("--init", help="gaussianize, principal, whiten, orthogonal, identity")
    train.add_argument("--rule", help=", ".join(RULES))
    train.add_argument("--learning-rate", metavar="X", type=float)
    train.add_argument("--schedule", help=", ".join(SCHEDULES))
    train.add_argument("--warmup", metavar="N", type=int, help="steps of rising learning rate")
    train.add_argument("--batch-size", metavar="N", type=int)
    train.add_argument("--epochs", metavar="N", type=int)
    train.add_argument(
        "--patience", type=int, help="stop after so many epochs without a better one"
    )
    train.add_argument(
        "--average", metavar="X", type=float, help="average over this last part of the steps; 0.1"
    )
    train.add_argument(
        "--fresh-noise",
        action=argparse.BooleanOptionalAction,
        help="images: dequantise each batch anew",
    )
    train.add_argument("--seed", metavar="N", type=seed_number)
    train.add_argument("--dtype", help="float64 or float32")
    train.add_argument("--device", help="cpu, cuda (CuPy) or torch:NAME, such as torch:cuda")
    train.add_argument(
        "--implementation", help="numba, cupy or reference; default the fastest at hand"
    )
    train.add_argument("--preset", help="published: the settings of the authors' code")
    train.add_argument("--rows", metavar="N", type=positive, help="use N training rows only")
    train.add_argument("--data-dir", type=Path, help="where the standard files are (RELGRAD_DATA)")
    train.add_argument("--out", type=Path, help="run folder, new; default runs/DATA")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train.add_argument("--checkpoint-seconds", metavar="S", type=positive, default=60)
    train.add_argument("--checkpoint-steps", metavar="N", type=positive, help="also every N steps")
    train.add_argument("--json", action="store_true", help="the report as one JSON object")
    train.add_argument(
        "--distributed", action="store_true", help="share the batches: mpiexec -n 4 relgrad-np ..."
    )
    train.add_argument("--exchange", help="auto, factors, products, sums: what the ranks send")

    evaluate = command("evaluate", _evaluate, "log-likelihood of data under a trained model")
    evaluate.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    evaluate.add_argument("data", nargs="?", help="default: the run's own test rows")
    evaluate.add_argument("--data-dir", type=Path)
    evaluate.add_argument(
        "--scores", type=Path, help="write log p of each row to this .npy or .csv"
    )
    evaluate.add_argument("--json", action="store_true")

    sample = command("sample", _sample, "draw from a trained model, in data space")
    sample.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    sample.add_argument("-n", type=positive, default=1000, help="how many; default 1000")
    sample.add_argument("--out", type=Path, required=True, help="a new .npy or .csv file")
    sample.add_argument("--seed", metavar="N", type=seed_number, default=0)
    return parser


def positive(text: str) -> int:
    """Parse a positive integer."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def seed_number(text: str) -> int:
    """Parse a seed."""
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
    if not options.distributed:
        if options.exchange is not None:
            raise ValueError("`--exchange` is for --distributed")
        return _train_on(options)
    ranks = world(exchange=options.exchange or "auto")
    if ranks.rank > 0:  # one of them speaks; an error that ends the job is told all the same
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    return _train_on(options, comm=ranks)


@together
def _train_on(options: argparse.Namespace, comm: Ranks | None = None) -> int:
    """Train, alone or as one of several ranks; rank 0 has the run folder."""
    from . import runs, training

    folder: Path | None = options.out
    if options.resume:
        if folder is None:
            raise ValueError("`--resume` needs --out RUN, the run folder to go on with")
        config: Any = runs.read_config(folder) if comm is None or comm.rank == 0 else None
        config = config if comm is None else comm.share(config)
        settings = _unchanged(options, config)
        folder_of_data = _data_dir(options, config)
        data = _load(config["data"], settings.seed, config["rows"], folder_of_data)
        if _fingerprint(data) != config["fingerprint"]:
            raise ValueError(f"the data {config['data']!r} are not those the run began with")
    else:
        if options.data is None:
            raise ValueError("`DATA` is required: a name or a file (see relgrad-np train --help)")
        names = [field.name for field in fields(training.Settings)]
        chosen = {name: getattr(options, name) for name in names}
        settings = training.settings_for(options.data, **chosen)
        name = _resolved(options.data)
        data = _load(name, settings.seed, options.rows, options.data_dir)
        config = {
            "version": __version__,
            "data": name,
            "rows": options.rows,
            "data_dir": _data_folder(options),
            "fingerprint": _fingerprint(data),
            "settings": asdict(settings),
        }
    prepared = training.prepare(settings, data)  # what is wrong shows before anything is written
    for note in prepared.notes:
        _say(note)
    if folder is None:
        folder = Path("runs") / Path(options.data.replace(":", "-")).stem
    if comm is not None:
        comm.require_same({key: str(config[key]) for key in ("version", "fingerprint", "settings")})
        prepared = prepared._replace(start=comm.share(prepared.start))
        if comm.rank > 0:
            return _follow(prepared, comm)
    if not options.resume:
        config = runs.create(folder, config)
    with runs.locked(folder):
        status = _run(folder, config, settings, data, prepared, options, comm)
    return status if comm is None else int(comm.share(status))


def _follow(prepared: Any, comm: Ranks) -> int:
    """Take part in a fit whose run folder is rank 0's; return its exit status."""
    from .fit import fit

    listener = Listener()
    with _asked_to_stop(listener):
        resume = comm.share(None)
        fit(prepared.start, **prepared.options, keeper=listener, resume=resume, comm=comm)
    return int(comm.share(None))


@contextlib.contextmanager
def _asked_to_stop(keeper: Any) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask a keeper to stop, while a fit runs."""

    def ask_to_stop(number: int, frame: Any) -> None:
        keeper.stop = number

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _die)


def _run(
    folder: Path,
    config: Any,
    settings: Any,
    data: Any,
    prepared: Any,
    options: argparse.Namespace,
    comm: Ranks | None = None,
) -> int:
    """Train in a locked run folder, from its newest checkpoint if it has one."""
    from . import runs, training
    from .checkpoint import Keeper, newest_snapshot, save

    keeper = Keeper(
        folder / "checkpoints", config["run"], options.checkpoint_seconds, options.checkpoint_steps
    )
    runs.clear_partials(folder)
    resume, notes = newest_snapshot(keeper.folder, config["run"])
    for note in notes:
        _say(f"{note}; going on from the one before")
    history = folder / "history.jsonl"
    if options.resume and resume is None:
        if (folder / "model.npz").exists() or (history.exists() and history.read_text()):
            raise ValueError(
                f"the checkpoints of {str(folder)!r} are gone, and the run has been further than "
                "its start: begin another one"
            )
        _say("there is no checkpoint yet: starting at the beginning")
    runs.write_history(history, resume.history if resume else ())
    with _asked_to_stop(keeper):
        try:
            run = training.train(
                data,
                settings,
                prepared=prepared,
                progress=_progress() and not options.json,
                callbacks=(
                    lambda epoch, state: runs.append_history(history, epoch),
                    training.watch_condition(_say, settings.dtype),
                ),
                keeper=keeper,
                resume=resume if comm is None else comm.share(resume),
                comm=comm,
            )
        except FitDivergedError as error:  # nothing is lost
            model = training.model_of(data, settings, error.result.best_layers, prepared.options)
            save(folder / "model.npz", model)
            raise
    stop = keeper.stop if comm is None else comm.stop  # which another rank may have heard
    if run.result.stop_reason == "signal" and stop is not None:
        print(
            f"{PROGRAM}: stopped by {signal.Signals(stop).name}; go on with: "
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}",
            file=sys.stderr,
        )
        return 128 + stop
    runs.finish(folder, run)
    if options.json:
        print(runs.strict_json({**run.report._asdict(), "folder": str(folder)}))
    else:
        print(run.report.text())
        print(f"written: {folder}")
    runs.draw(folder, data, run)
    return 0


def _say(note: str) -> None:
    print(f"{PROGRAM}: note: {note}", file=sys.stderr)


def _unchanged(options: argparse.Namespace, config: dict[str, Any]) -> Any:
    """Return the settings of the run; ValueError if the command line asks for others."""
    from . import training

    kept = config["settings"]
    device = options.device or kept.get("device", "cpu")  # checkpoints move between devices
    given = {name: getattr(options, name) for name in kept if name != "device"}
    given |= {"data": options.data and _resolved(options.data), "rows": options.rows}
    for name, value in given.items():
        before = kept.get(name, config.get(name))
        if value is not None and value != before:
            raise ValueError(
                f"`--{name.replace('_', '-')}` can't change on --resume: it is {before}"
            )
    return training.Settings(**(kept | {"device": device}))


def _resolved(data: str) -> str:
    """Return a file's absolute path, so that a run can be resumed from elsewhere; else the name."""
    return str(Path(data).resolve()) if Path(data).suffix in (".npy", ".npz", ".csv") else data


def _load(name: str, seed: int, rows: int | None, data_dir: Path | None) -> Any:
    from .datasets import load

    return load(name, seed, rows, data_dir)


def _data_folder(options: argparse.Namespace) -> str | None:
    """Return where the standard files were looked for, to be found again."""
    given = options.data_dir or os.environ.get("RELGRAD_DATA")
    return str(Path(given).resolve()) if given else None


def _fingerprint(data: Any) -> str:
    """Return what tells these rows from others, split by split."""
    return ", ".join(fingerprint(X) for X in (data.train, data.validation, data.test))


def _evaluate(options: argparse.Namespace) -> int:
    from . import evaluation, runs
    from .datasets.files import is_own_file

    config = runs.read_config(options.folder)
    model = _finished(options.folder)
    if options.scores is not None:
        _require_new(options.scores)
    name = config["data"] if options.data is None else _resolved(options.data)
    if name == config["data"]:
        seed, folder = config["settings"]["seed"], _data_dir(options, config)
        data = _load(name, seed, config["rows"], folder)
        if _fingerprint(data) != config["fingerprint"]:
            raise ValueError(f"the data {name!r} are not those the run was fitted to")
        result, scores = evaluation.evaluate_own(model, data)
    elif is_own_file(name):
        result, scores = evaluation.evaluate_file(model, Path(name))
    else:
        data = _load(name, 0, None, _data_dir(options, config))
        result, scores = evaluation.evaluate_set(model, data)
    if options.scores is not None:
        _write_rows(options.scores, scores[:, None])
    print(runs.strict_json(result._asdict()) if options.json else result.text())
    return 0


def _finished(folder: Path) -> Any:
    """Load the model of a run folder, which is there once the run has ended."""
    from .checkpoint import load

    if not (folder / "model.npz").exists():
        raise FileNotFoundError(
            f"the run in {str(folder)!r} has no model yet: end it with "
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}"
        )
    return load(folder / "model.npz")


def _data_dir(options: argparse.Namespace, config: dict[str, Any]) -> Path | None:
    """Return --data-dir, or the folder that the run began with, if it is still there."""
    before = config.get("data_dir")
    if options.data_dir is None and before is not None and Path(before).is_dir():
        return Path(before)
    return options.data_dir  # type: ignore[no-any-return]


def _sample(options: argparse.Namespace) -> int:
    from . import runs
    from .checkpoint import in_float64
    from .generative import sample

    runs.read_config(options.folder)
    model = _finished(options.folder)
    _require_new(options.out)
    layers = in_float64(model.layers)
    rng = np.random.default_rng(options.seed)
    Z, _ = sample(layers, rng, options.n, model.activation, model.density)
    _write_rows(options.out, model.transforms.inverse(Z))
    print(f"written: {options.out}, {options.n} rows of {Z.shape[1]} columns in data space")
    return 0


def _require_new(path: Path) -> None:
    if path.suffix not in (".npy", ".csv"):
        raise ValueError(f"`{path}` must end in .npy or .csv")
    if path.exists():
        raise FileExistsError(f"`{path}` exists: name another file")


def _write_rows(path: Path, rows: Any) -> None:
    from ._store import atomic

    with atomic(path) as file:
        if path.suffix == ".npy":
            np.save(file, rows)
        else:
            np.savetxt(file, rows, delimiter=",", fmt="%.17g")


def _die(number: int, frame: Any) -> NoReturn:
    """End on a signal with the status that says so."""
    sys.exit(128 + number)


def _progress() -> bool:
    """Show a bar to a person at a terminal who has tqdm."""
    import importlib.util

    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _bench(options: argparse.Namespace) -> int:
    """Run the benchmarks of a checkout: they are no part of the wheel."""
    import importlib

    root = Path(__file__).resolve().parent.parent
    if not (root / "benchmarks" / "run.py").exists():
        raise ModuleNotFoundError(
            "the benchmarks come with the repository, not with the package: clone it, then "
            "pip install -e '.[fast,peers]'"
        )
    sys.path.insert(0, str(root))
    if options.device == "cuda":
        asked = ["--out", str(options.out)] if options.out else []
        asked += ["--quick"] if options.quick else []
        return int(importlib.import_module("benchmarks.cuda").main(asked))
    asked = ["--cells", options.cells, "--threads", str(options.threads)]
    asked += ["--quick"] if options.quick else []
    asked += ["--out", str(options.out)] if options.out else []
    return int(importlib.import_module("benchmarks.run").main(asked))


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
    for package in (*extras, "mpi4py", "cupy-cuda13x", "torch", "jax"):
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
