"""The command line: demo, train, evaluate, sample, verify, vectors, check, info.

Exit status: 0 success; 1 an honest negative (a check failed, the fit diverged); 2 unusable input,
one line on stderr; 130 and 143 for signals.
"""

import argparse
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..core.version import __version__
from ..fitting.options import SCHEDULES
from ..fitting.records import FitDivergedError
from ..oracle.commands import register
from ..rules.by_name import RULES
from .data import PROGRAM
from .tools import _bench, _demo, _info, _verify
from .train import _die, _train
from .use import _evaluate, _sample

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


if __name__ == "__main__":
    sys.exit(main())
