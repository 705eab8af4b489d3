"""Each plot writes a PNG with something on it, and what it shows depends on what it is given."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from relgrad_np.runs import panels, plots

SIGNATURE = b"\x89PNG\r\n\x1a\n"
X = np.random.default_rng(0).normal(size=(600, 2)) @ np.array([[1.0, 0.6], [0.0, 0.5]])
IMAGES = np.random.default_rng(1).random((40, 12))
D = [64, 128, 256]
RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Pictures of fewer pixels, which are drawn sooner."""
    monkeypatch.setattr(plots, "DPI", 75)


def normal(x):
    return -0.5 * (x**2).sum(axis=1) - np.log(2 * np.pi)


CALLS = {
    "learning_curve": lambda path: plots.learning_curve(
        path, [0, 1, 2, 3], [None, -3.0, -2.5, -2.4], [-4.0, -3.1, -2.7, -2.6], -2.8, "sine"
    ),
    "image_grid": lambda path: plots.image_grid(
        path, IMAGES, IMAGES[::-1], (3, 4), ("real", "samples")
    ),
    "density_2d": lambda path: plots.density_2d(path, X, X[:100], normal, "normal"),
    "pairs": lambda path: panels.pairs(path, X, X[::-1], ("a", "b"), "normal"),
    "calibration": lambda path: panels.calibration(
        path, RNG.random((99, 3)), RNG.normal(size=99), RNG.normal(size=50), IMAGES[:, :3], "t"
    ),
    "times": lambda path: plots.times(path, D, [0.1, 0.4, 1.6], [0.3, 2.4, 19.0]),
}


def pixels(path):
    """Return the pixels of a genuine PNG that is not one flat colour."""
    assert Path(path).read_bytes().startswith(SIGNATURE)
    image = imread(path)[..., :3]
    assert min(image.shape[:2]) > 200
    assert image.std() > 0.02
    return image


@pytest.mark.parametrize("name", CALLS)
def test_writes_a_picture(name, tmp_path):
    CALLS[name](tmp_path / "a.png")
    pixels(tmp_path / "a.png")
    CALLS[name](str(tmp_path / "b.svg"))
    assert b"<svg" in (tmp_path / "b.svg").read_bytes()[:2000]


def drawn(draw, tmp_path):
    draw(tmp_path / "x.png")
    return pixels(tmp_path / "x.png")


def colours(image, hex_colour):
    """Return how many pixels have exactly this colour."""
    rgb = np.array([int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.rint(255 * image) == rgb).all(axis=2).sum())


def test_learning_curve_draws_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "DPI", 150)  # thin lines keep their colour

    def curve(train, validation, gaussian):
        def draw(path):
            plots.learning_curve(path, range(4), train, validation, gaussian, "t")

        image = drawn(draw, tmp_path)
        return tuple(colours(image, c) > 100 for c in (plots.BLUE, plots.ORANGE, plots.GREY))

    v = [-3.0, -2.0, -1.5, -1.4]
    assert curve(v, v, -1.0) == (True, True, True)
    assert curve(v, None, -1.0) == (True, False, True)
    assert curve(np.array(v), [None] * 4, None) == (True, False, False)
    assert curve([None, np.nan, -np.inf, -1.4], None, None) == (True, False, False)
    assert curve([None] * 4, None, -1.0) == (False, False, True)


@pytest.mark.parametrize("gaussian", [None, -64.0])
def test_a_bad_first_epoch_does_not_squash_the_rest(gaussian):
    y = -60 - 10 * np.exp(-np.arange(40) / 8)
    low, high, lowest = plots._range(y, gaussian)
    assert low < y.min() == lowest
    assert high > y.max()
    bad = y.copy()
    bad[0] = -1e6
    low, high, lowest = plots._range(bad, gaussian)
    assert lowest == -1e6
    assert -100 < low < y[1:].min()
    assert high - low < 40


@pytest.mark.parametrize("y", [[-2.0], [-2.0, -2.0], [-3.0, -2.0], np.linspace(-9, -1, 50)])
def test_ordinary_histories_are_shown_whole(y):
    for gaussian in (None, -20.0, 3.0):
        low, high, lowest = plots._range(np.array(y), gaussian)
        assert low < lowest
        assert high > np.max(y)
        assert gaussian is None or low < gaussian < high


def test_image_grid_shows_both_sides_in_order(tmp_path):
    def halves(left, right):
        image = drawn(lambda path: plots.image_grid(path, left, right, (3, 4), ("", "")), tmp_path)
        return np.split(image[:, : image.shape[1] // 2 * 2], 2, axis=1)

    one, two = halves(IMAGES, IMAGES[::-1])
    a, b = halves(IMAGES, IMAGES)
    np.testing.assert_array_equal(one, a)
    assert not (two == b).all()
    few, _ = halves(IMAGES[:5], IMAGES)
    assert few.mean() > one.mean()  # the places left over are white


def test_images_and_the_grid_read_along_rows(tmp_path):
    half = np.tile(np.repeat([0.0, 1.0], 6), (2, 1))  # 4 x 3, dark above, light below
    image = drawn(
        lambda path: plots.image_grid(path, half, 1 + 0 * half, (4, 3), ("", "")), tmp_path
    )
    rows, columns = np.nonzero((image == 0).all(axis=2))
    assert rows.max() < image.shape[0] / 6
    assert columns.max() < image.shape[1] / 5
    # two images side by side: two rows of dark pixels, three columns, a gap and three columns
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(2 / 7, rel=0.05)


def test_density_is_evaluated_on_points_of_the_plane(tmp_path):
    seen = []

    def log_prob(x):
        seen.append(x)
        return normal(x)

    one = drawn(lambda path: plots.density_2d(path, X, X, log_prob, ""), tmp_path)
    assert all(x.ndim == 2 and x.shape[1] == 2 for x in seen)
    grid = np.concatenate(seen)
    assert (grid.min(axis=0) < X.min(axis=0)).all()
    assert (grid.max(axis=0) > X.max(axis=0)).all()
    two = drawn(lambda path: plots.density_2d(path, X, X, lambda x: normal(x - 1), ""), tmp_path)
    third = one.shape[1] // 3
    np.testing.assert_array_equal(one[:, : 2 * third - 10], two[:, : 2 * third - 10])
    assert not (one[:, 2 * third :] == two[:, 2 * third :]).all()


def test_every_panel_has_up_above_and_left_on_the_left(tmp_path):
    X = np.array([[-1.0, 1.0]] * 2000 + [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])

    def log_prob(x):
        return np.where((x[:, 0] < 0) & (x[:, 1] > 0), 9.0, -np.inf)

    image = drawn(lambda path: plots.density_2d(path, X, X, log_prob, ""), tmp_path)
    bright = (image[..., 0] > 0.9) & (image[..., 1] > 0.8) & (image[..., 2] < 0.3)
    assert bright.any(axis=0).sum() > 30
    for panel in np.array_split(bright, 3, axis=1):
        rows, columns = np.nonzero(panel)
        assert rows.mean() < 0.5 * image.shape[0]
        assert columns.mean() < 0.45 * image.shape[1] / 3


def test_density_bears_bad_samples(tmp_path):
    bad = np.array([[np.nan, 0.0], [1e9, 1e9], [0.0, 0.0]])
    drawn(lambda path: plots.density_2d(path, X, bad, lambda x: 1e4 * normal(x), ""), tmp_path)
    drawn(lambda path: plots.density_2d(path, X, bad[:1], lambda x: 0 * normal(x), ""), tmp_path)


def test_times_skips_what_was_not_measured(tmp_path):
    def draw(ordinary):
        return drawn(lambda path: plots.times(path, D, [0.1, 0.4, 1.6], ordinary), tmp_path)

    assert colours(draw([0.3, 2.4, None]), plots.ORANGE) > 0
    assert colours(draw([None] * 3), plots.ORANGE) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: plots.learning_curve(p, [0, 1], [1.0], None, None, ""),
            "the training curve must have 2 values, got 1",
        ),
        (
            lambda p: plots.times(p, D, [1.0] * 3, [1.0] * 4),
            "the ordinary curve must have 3 values, got 4",
        ),
        (
            lambda p: plots.image_grid(p, IMAGES, IMAGES[:, 1:], (3, 4), ("", "")),
            r"`right` must have shape \(N, 12\), N >= 1, got \(40, 11\)",
        ),
        (
            lambda p: plots.density_2d(p, X, IMAGES, normal, ""),
            r"`samples` must have shape \(n, 2\), got \(40, 12\)",
        ),
        (lambda p: plots.density_2d(p, X[:0], X, normal, ""), "`data` must have a finite row"),
    ],
)
def test_errors_name_what_is_wrong(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "x.png")


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match="plots need matplotlib: pip install matplotlib"):
        CALLS["times"](tmp_path / "x.png")


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    program = (
        "import sys; from relgrad_np.runs import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.times(sys.argv[1], [2, 4], [1.0, 2.0], [1.0, 3.0])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    root = Path(plots.__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, tmp_path / "x.png"], check=True, cwd=root)
    pixels(tmp_path / "x.png")


def test_the_columns_that_are_drawn_are_those_that_differ_most():
    rng = np.random.default_rng(0)
    data, samples = rng.normal(size=(400, 9)), rng.normal(size=(300, 9))
    samples[:, [1, 5]] *= 3
    samples[:, 7] += 1
    assert panels.worst_columns(data, samples, 3) == [1, 5, 7]
    assert len(panels.worst_columns(data, samples)) == 6
    assert panels.worst_columns(data[:, :2], samples[:, :2]) == [0, 1]


def test_integral_transforms_are_uniform_only_where_the_base_is_right():
    rng = np.random.default_rng(0)
    latents, base = rng.normal(size=(500, 2)), rng.normal(size=50_000)
    assert panels.integral_transforms(latents, base).std() == pytest.approx(12**-0.5, abs=0.01)
    assert panels.integral_transforms(2 * latents, base).std() > 0.34


def test_the_curve_shows_what_was_averaged_and_chosen(tmp_path):
    values = [-3.0, -2.0, -1.5, -1.4]

    def green(**more):
        def draw(path):
            plots.learning_curve(path, range(4), values, None, None, "t", **more)

        return colours(drawn(draw, tmp_path), plots.GREEN)

    assert green(averaged=[v + 0.3 for v in values], chosen=2) > 100 > green()
