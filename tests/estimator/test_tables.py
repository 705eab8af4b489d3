"""DataFrames of pandas and polars, as people have them: taken, or refused by column."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from relgrad_np.estimator import FlowEnsemble, RelativeGradientFlow, RelativeICA

X = np.random.default_rng(0).laplace(size=(80, 3))
FRAME = pd.DataFrame(X, columns=list("abc"))


def flow():
    return RelativeGradientFlow(n_layers=1, epochs=1, rule="plain", implementation="reference")


def polars(frame):
    return pytest.importorskip("polars").from_pandas(frame)


TAKEN = {
    "pandas": lambda: FRAME,
    "nullable": lambda: FRAME.convert_dtypes(),
    "sparse": lambda: FRAME.astype(pd.SparseDtype("float64", 0.0)),
    "partly sparse": lambda: FRAME.astype({"a": pd.SparseDtype("float64", 0.0)}),
    "texts of numbers": lambda: FRAME.astype({"b": str}).astype({"b": object}),
    "polars": lambda: pytest.importorskip("polars").DataFrame(X, schema=list("abc")),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_tables_that_are_taken(kind):
    table, start = TAKEN[kind](), flow().fit(X)
    found = flow().fit(table)
    assert list(found.feature_names_in_) == list("abc")
    np.testing.assert_allclose(found.score_samples(table), start.score_samples(X), rtol=1e-12)
    if kind in ("pandas", "polars"):  # what is drawn can be scored: an array would warn
        drawn = found.set_output(transform=kind).sample(3)
        assert list(drawn.columns) == list("abc")
        assert found.score_samples(drawn).shape == (3,)
    assert RelativeICA(max_iter=1, tol=1e9).fit(table).transform(table).shape == X.shape


NA = FRAME.mask(FRAME.eq(X[3, 1]) | FRAME.eq(X[4, 1]) | FRAME.eq(X[4, 2]))
REFUSED = {
    "texts": (lambda: FRAME.assign(d="x", e="y"), "columns 'd' (str), 'e' (str): drop them by X.drop(columns=['d', 'e'])"),
    "dates": (lambda: FRAME.assign(d=pd.Timestamp("2020")), "columns 'd' (datetime64"),
    "categories": (lambda: FRAME.assign(d=pd.Categorical(["u", "v"] * 40)), "'d' (category)"),
    "missing": (lambda: NA, "missing values by column: 'b' 2, 'c' 1"),
    "missing, nullable": (lambda: NA.convert_dtypes(), "missing values by column: 'b' 2, 'c' 1"),
    "infinite": (lambda: FRAME.replace(X[3, 1], np.inf), "infinite values by column: 'b' 1; drop these rows or columns"),
    "polars infinite": (lambda: polars(FRAME.replace(X[3, 1], -np.inf)), "infinite values by column: 'b' 1"),
    "rows from a generator": (lambda: (row for row in X), "`X` must be an array of rows, got a generator"),
    "masked": (lambda: np.ma.masked_greater(X, X[3, 1]), "entries of"),
    "two of one name": (lambda: FRAME.set_axis(list("aab"), axis=1), "several columns called 'a'"),
    "polars texts": (lambda: polars(FRAME).with_columns(d=sys.modules["polars"].lit("x")), "'d' (String): drop them by X.drop(['d'])"),
    "polars nulls": (lambda: polars(FRAME).fill_nan(None).with_columns(d=sys.modules["polars"].lit(None, dtype=sys.modules["polars"].Float64)), "'d' 80"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("estimator", [flow, RelativeICA])
def test_tables_that_are_refused_by_column(kind, estimator):
    make, message = REFUSED[kind]
    with pytest.raises((TypeError, ValueError)) as caught:
        estimator().fit(make())
    assert message.replace("(str)", "(") in str(caught.value).replace("(str)", "(").replace(
        "(object)", "("
    )


def test_counts_are_pointed_out_by_column_and_rounded_measurements_are_not():
    counts = FRAME.assign(visits=np.random.default_rng(1).poisson(3, 80), b=FRAME["b"].round(1))
    deep = {"n_layers": 2, "epochs": 1, "rule": "plain", "implementation": "reference"}
    with pytest.warns(UserWarning, match=r"few values only in columns 'visits' of .*dequantise"):
        RelativeGradientFlow(**deep).fit(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow().fit(counts)  # one layer can't rise to spikes
        RelativeGradientFlow(**deep, tol=None, seconds=9).fit(counts.drop(columns="visits"))
    with pytest.warns(UserWarning, match="'visits'"):
        FlowEnsemble(seconds=0.01, mixture=False).fit(counts)


def test_without_scikit_learn_one_line_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None\nimport relgrad_np.estimator"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    line = "ModuleNotFoundError: relgrad_np.estimator needs scikit-learn: pip install scikit-learn"
    assert done.stderr.splitlines()[-1] == line
