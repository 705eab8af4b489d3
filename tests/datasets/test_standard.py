"""Standard data sets from small files of the public forms, and from the real ones where they are."""

import gzip
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from relgrad_np.datasets import (
    STANDARD,
    Chain,
    Dequantise,
    Logit,
    Standardise,
    bits_per_dim,
    gaussian_log_likelihood,
    load,
)
from relgrad_np.datasets.files.idx import read_idx
from relgrad_np.datasets.standard import bsds300
from relgrad_np.datasets.standard import sources as standard

from ..programs.fuzz_loaders import idx, npy, zipped


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return an empty folder, and see that no other is looked in."""
    monkeypatch.delenv("RELGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    source = standard.SOURCES["fashion-mnist"]
    assert source.folders == (Path("/usr/share/datasets"),)
    monkeypatch.setitem(
        standard.SOURCES, "fashion-mnist", source._replace(folders=(tmp_path / "debian",))
    )
    return tmp_path


def put(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def rng(seed=0):
    return np.random.default_rng(seed)


# Images

TRAIN = rng(1).integers(0, 256, (60, 28, 28), dtype=np.uint8)
TEST = rng(2).integers(0, 256, (12, 28, 28), dtype=np.uint8)
IDX = {"train-images-idx3-ubyte": idx(TRAIN), "t10k-images-idx3-ubyte": idx(TEST)}
GZ = {f"{name}.gz": gzip.compress(data) for name, data in IDX.items()}
KERAS = {"x_train.npy": npy(TRAIN), "x_test.npy": npy(TEST), "y_train.npy": b"not looked at"}
FLAT = {"x_train.npy": npy(TRAIN.reshape(60, 784)), "x_test.npy": npy(TEST.reshape(12, 784))}
IMAGE_FILES = {
    "flat npz": {"mnist.npz": zipped(FLAT)},
    "Keras": {"mnist.npz": zipped(KERAS)},
    "IDX": IDX,
    "IDX, gzipped": GZ,
    "one gzipped": {
        "train-images-idx3-ubyte.gz": gzip.compress(idx(TRAIN)),
        "t10k-images-idx3-ubyte": idx(TEST),
    },
    "in a folder": {f"mnist/{name}": data for name, data in GZ.items()},
    "torchvision": {
        "MNIST/raw/train-images-idx3-ubyte": idx(TRAIN),
        "MNIST/raw/t10k-images-idx3-ubyte": idx(TEST),
    },
    "with a dot": {"train-images.idx3-ubyte": idx(TRAIN), "t10k-images.idx3-ubyte": idx(TEST)},
}


@pytest.mark.parametrize("files", IMAGE_FILES.values(), ids=IMAGE_FILES)
def test_images_of_every_form_are_the_published_ones(folder, files):
    put(folder, files)
    data = load("mnist", 5, data_dir=folder)
    assert data.transforms == Chain((Dequantise(256), Logit(1e-6)))
    assert (data.name, data.levels, data.image_shape) == ("mnist", 256.0, (28, 28))
    X = [TRAIN[:50], TRAIN[50:], TEST]
    noise = rng(5)
    for split, raw in zip(("train", "validation", "test"), X, strict=True):
        raw, Z = raw.reshape(-1, 784), getattr(data, split)
        np.testing.assert_array_equal(data.transforms.inverse(Z), raw)
        x = raw / 255 + noise.random(raw.shape) / 255  # the recipe, word for word
        x = x / (256 / 255)
        s = 1e-6 + (1 - 2e-6) * x
        np.testing.assert_allclose(Z, np.log(s / (1 - s)), rtol=1e-9, atol=1e-9)
        slopes = (1 - 2e-6) / (s * (1 - s)) / 256
        np.testing.assert_allclose(data.log_det[split], np.log(slopes).sum(axis=1), rtol=1e-9)


def test_n_caps_the_training_images(folder):
    put(folder, IMAGE_FILES["Keras"])
    full, capped = load("mnist", data_dir=folder), load("mnist", n=7, data_dir=folder)
    np.testing.assert_array_equal(capped.train, full.train[:7])
    assert len(capped.test) == 12


def test_fashion_is_not_taken_for_mnist(folder):
    put(folder / "plain", GZ)
    with pytest.raises(FileNotFoundError, match="fashion-mnist"):
        load("fashion-mnist", data_dir=folder / "plain")
    for name in ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist"):
        put(folder / "new" / name, {**IMAGE_FILES["with a dot"], **GZ})
        assert load("fashion-mnist", data_dir=folder / "new").name == "fashion-mnist"
        (folder / "new").rename(folder / name.replace("/", "-"))
    put(folder / "fashion-files", GZ)
    assert len(load("fashion-mnist", data_dir=folder / "fashion-files").train) == 50
    with pytest.raises(FileNotFoundError):
        load("mnist", data_dir=folder / "fashion-files")
    put(folder / "debian" / "fashion-mnist", GZ)
    assert len(load("fashion-mnist").train) == 50


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"mnist.npz": zipped({"x_train.npy": npy(TRAIN)})}, "has no array `x_test`"),
        (
            {"mnist.npz": zipped({**KERAS, "x_test.npy": npy(TEST / 255)})},
            "must hold images (N, 784) or (N, 28, 28) of uint8, got float64 (12, 28, 28)",
        ),
        ({"mnist.npz": zipped({**KERAS, "x_test.npy": npy(TEST[:, 1:])})}, "got uint8 (12, 27, 28)"),
        ({"mnist.npz": zipped({**KERAS, "x_train.npy": npy(TRAIN[:9])})}, "must have 10 images"),
        ({**IDX, "t10k-images-idx3-ubyte": idx(TEST[:0])}, "got uint8 (0, 28, 28)"),
        ({**IDX, "t10k-images-idx3-ubyte": idx(TEST)[:-1]}, "says that it has 9408 bytes of data, (12, 28, 28), but has 9407"),
        ({**IDX, "t10k-images-idx3-ubyte": idx(TEST) + b"0"}, "but has more"),
        ({**IDX, "t10k-images-idx3-ubyte": b"\0\0\x08\3\0\0"}, "ends in its header"),
        ({**IDX, "t10k-images-idx3-ubyte": b"\0\0\x0d\3" + bytes(12)}, "is not an IDX file of unsigned bytes"),
        ({**IDX, "t10k-images-idx3-ubyte": b"\0\0\x08\0"}, "is not an IDX file of unsigned bytes"),
        ({**IDX, "t10k-images-idx3-ubyte": b""}, "is not an IDX file of unsigned bytes"),
        ({**IDX, "t10k-images-idx3-ubyte": b"\0\0\x08\3" + b"\xff" * 12}, "bytes, more than 1073741824"),
        ({**GZ, "t10k-images-idx3-ubyte.gz": gzip.compress(idx(TEST))[:-9]}, "is not a sound gzip file"),
        ({**GZ, "t10k-images-idx3-ubyte.gz": b"\x1f\x8b junk"}, "is not a sound gzip file"),
    ],
)  # fmt: skip
def test_images_that_are_none(folder, files, message):
    put(folder, files)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load("mnist", data_dir=folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_test_images_must_be_there_too(folder):
    put(folder, {"train-images-idx3-ubyte": idx(TRAIN)})
    with pytest.raises(
        FileNotFoundError, match=r"^t10k-images-idx3-ubyte \(.gz or not\) is missing"
    ):
        load("mnist", data_dir=folder)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx(TEST) + bytes(2**22)))
    with pytest.raises(ValueError, match="but has more"):
        read_idx(path)


# POWER

MINUTES = np.arange(400)
GAP = rng(3).integers(100, 9000, 400)
VOLT = rng(4).integers(22000, 25000, 400)
METERS = rng(5).integers(0, 40, (400, 3))


def power_files():
    eight = np.stack(
        [GAP / 1000, GAP * 0.0 + 0.1, VOLT / 100, GAP * 0.0 + 7, *METERS.T.astype(float), MINUTES],
        axis=1,
    )
    integers = {"gap_w": GAP, "volt_c": VOLT, "sm": METERS, "minute": MINUTES}
    lines = [
        "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;"
        "Sub_metering_1;Sub_metering_2;Sub_metering_3"
    ]
    for i in range(400):
        clock = f"{i // 60:02d}:{i % 60:02d}:00"
        meters = ";".join(f"{m}.000" for m in METERS[i])
        lines.append(f"1/1/2007;{clock};{GAP[i] / 1000:.3f};0.1;{VOLT[i] / 100:.3f};7.0;{meters}")
        if i % 50 == 0:
            lines.append(f"1/1/2007;{clock};?;?;?;?;?;?;")
    text = "\r\n".join(lines) + "\r\n"
    return {
        "data.npy": {"power/data.npy": npy(eight)},
        "npz": {"power_maf6.npz": zipped({f"{k}.npy": npy(v) for k, v in integers.items()})},
        "text": {"household_power_consumption.txt": text.encode()},
    }


def published_power(data):
    """Return train, validation, test as the published code makes them of its eight columns."""
    stream = np.random.RandomState(42)
    stream.shuffle(data)
    N = len(data)
    data = np.delete(data, 3, axis=1)
    data = np.delete(data, 1, axis=1)
    voltage_noise = 0.01 * stream.rand(N, 1)
    gap_noise = 0.001 * stream.rand(N, 1)
    sm_noise = stream.rand(N, 3)
    data = data + np.hstack((gap_noise, voltage_noise, sm_noise, np.zeros((N, 1))))
    N_test = int(0.1 * len(data))
    test, data = data[-N_test:], data[:-N_test]
    N_validate = int(0.1 * len(data))
    mu, s = data.mean(axis=0), data.std(axis=0)
    return [(X - mu) / s for X in (data[:-N_validate], data[-N_validate:], test)]


@pytest.mark.parametrize("form", ["data.npy", "npz", "text"])
def test_power_is_the_published_one(folder, form):
    put(folder, power_files()[form])
    data = load("power", 9, data_dir=folder)
    eight = np.zeros((400, 8))
    eight[:, [0, 2, 4, 5, 6, 7]] = np.column_stack([GAP / 1000, VOLT / 100, METERS, MINUTES])
    for Z, expected in zip(data[1:4], published_power(eight), strict=True):
        np.testing.assert_allclose(Z, expected, rtol=0, atol=1e-12)
    assert len(data.train) == 324
    assert data.columns[1] == "voltage"
    np.testing.assert_array_equal(load("power", n=5, data_dir=folder).train, data.train[:5])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"power/data.npy": npy(np.ones((40, 6)))}, "must have shape (N, 8), N >= 10, got (40, 6)"),
        ({"power/data.npy": npy(np.full((40, 8), np.nan))}, "must be finite, got nan at row 0, column 0"),
        ({"power/data.npy": npy(np.ones(40))}, "must have shape (N, 8), N >= 10, got (40,)"),
        ({"power_maf6.npz": zipped({"gap_w.npy": npy(GAP)})}, "has no array `volt_c`"),
        (
            {"power_maf6.npz": zipped({"gap_w.npy": npy(GAP), "volt_c.npy": npy(VOLT[1:]), "sm.npy": npy(METERS), "minute.npy": npy(MINUTES)})},
            "`volt_c` must hold integers (400, 1), got int64 (399, 1)",
        ),
        ({"household_power_consumption.txt": b"a;b\n1;2\n"}, "line 1: not the header"),
    ],
)  # fmt: skip
def test_power_that_is_none(folder, files, message):
    put(folder, files)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load("power", data_dir=folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b";0.1;", b";0.1;;", "line 2: 10 fields, not 9"),
        (b"00:00:00", b"midnight", "line 2: not numbers: b'1/1/2007;midnight;"),
        (b"7.0;", b"7.0;x", "line 2: not numbers"),
        (b";241.790;", b";nan;", "must be finite, got nan at row 0, column 1"),
        (b"7.0;", b"7.0;" + b"0" * 70_000, "has a line longer than 65536 bytes"),
    ],
)
def test_power_text_is_refused_by_line(folder, old, new, message):
    text = power_files()["text"]["household_power_consumption.txt"].replace(old, new, 1)
    put(folder, {"household_power_consumption.txt": text})
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load("power", data_dir=folder)
    assert message in str(caught.value)


# The other UCI sets


def test_miniboone_whole_and_partial(folder):
    X = rng(6).normal(3, 2, size=(200, 43))
    put(folder, {"miniboone/data.npy": npy(X)})
    data = load("miniboone", data_dir=folder)
    assert [len(part) for part in data[1:4]] == [162, 18, 20]
    (t,) = data.transforms.transforms
    np.testing.assert_allclose(t.mean, X[:180].mean(axis=0))
    np.testing.assert_allclose(t.inverse(data.test), X[180:])
    put(folder / "b", {"miniboone_partial.npz": zipped({"val.npy": npy(X[:50]), "test.npy": npy(X[50:])})})  # fmt: skip
    data = load("miniboone", data_dir=folder / "b")
    np.testing.assert_array_equal(data.train, X[:45])
    np.testing.assert_array_equal(data.test, X[50:])
    assert "training rows are missing" in data.notes[0]


def test_gas_drops_the_columns_that_repeat_others(folder):
    base = rng(7).normal(size=(300, 8))
    twins = base + 0.01 * rng(8).normal(size=(300, 8))
    X = np.stack([base, twins], axis=2).reshape(300, 16)  # each beside its twin
    put(folder, {"gas/data.npy": npy(X)})
    data = load("gas", data_dir=folder)
    assert [part.shape for part in data[1:4]] == [(243, 8), (27, 8), (30, 8)]
    np.testing.assert_allclose(data.transforms.inverse(data.test), twins[270:], atol=1e-12)
    put(folder, {"gas/data.npy": npy(twins)})
    np.testing.assert_allclose(load("gas", data_dir=folder).test, data.test, atol=1e-12)
    assert data.transforms == Chain((Standardise.fit(twins),))
    put(folder, {"gas/data.npy": npy(rng(9).normal(size=(300, 16)))})
    with pytest.raises(ValueError, match="16 of 16 columns are left once those correlated above"):
        load("gas", data_dir=folder)


def test_hepmass(folder):
    X, test = rng(10).normal(5, 3, size=(100, 21)), rng(11).normal(size=(30, 21))
    put(folder, {"hepmass/train.npy": npy(X.astype(np.float32))})
    with pytest.raises(FileNotFoundError, match=r"^test.npy is missing beside"):
        load("hepmass", data_dir=folder)
    put(folder, {"hepmass/test.npy": npy(test)})
    data = load("hepmass", data_dir=folder)
    assert [len(part) for part in data[1:4]] == [90, 10, 30]
    np.testing.assert_allclose(data.transforms.inverse(data.test), test)
    np.testing.assert_allclose(np.concatenate(data[1:3]).mean(axis=0), 0, atol=1e-12)


# BSDS300


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(bsds300, "COUNTS", (300, 100, 200))


def ramps(slopes, shape=(40, 60)):
    """Return photographs that grow brighter to the right, by a slope of their own."""
    return {k: np.tile((k * np.arange(shape[1])).astype(np.uint8), (shape[0], 1)) for k in slopes}


def slopes_of(X):
    """Return the slope of each patch, in grey levels per pixel."""
    full = np.concatenate([X, -X.sum(axis=1, keepdims=True)], axis=1).reshape(-1, 8, 8)
    return 256 * (full @ (np.arange(8) - 3.5)).mean(axis=1) / 42


def test_patches_are_the_published_ones(folder, few):
    image = pytest.importorskip("PIL.Image")
    groups = {"train": range(1, 3), "test": range(3, 5)}
    for part, slopes in groups.items():
        (folder / "BSDS300/images" / part).mkdir(parents=True)
        for k, X in ramps(slopes).items():
            image.fromarray(X).convert("RGB").save(
                folder / f"BSDS300/images/{part}/{k}.jpg", quality=98
            )
    data = load("bsds300", 3, data_dir=folder)
    assert [part.shape for part in data[1:4]] == [(300, 63), (100, 63), (200, 63)]
    assert data.transforms == Chain(())
    for X, slopes in zip(data[1:4], ([1], [2], [3, 4]), strict=True):
        assert sorted(set(np.round(slopes_of(X)))) == slopes  # the last tenth validates
    np.testing.assert_array_equal(load("bsds300", 3, n=20, data_dir=folder).train, data.train[:20])
    np.testing.assert_array_equal(load("bsds300", 3, n=20, data_dir=folder).test, data.test)
    assert (load("bsds300", 4, data_dir=folder).test != data.test).all()


def test_a_patch_is_one_of_its_photograph():
    photograph = rng(1).integers(0, 256, (11, 13), dtype=np.uint8)
    X = bsds300.patches([photograph], 2000, rng(2))
    places = [(r, c) for r in range(4) for c in range(6)]
    known = np.array([photograph[r : r + 8, c : c + 8].ravel() for r, c in places]) / 256.0
    known = (known - known.mean(axis=1, keepdims=True))[:, :-1]
    distance = np.abs(X[:, None] - known).max(axis=2)
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1 / 256  # the noise, less its mean
    assert distance.min(axis=1).min() > 0.3 / 256
    assert len(set(nearest)) == len(places)  # every place is drawn, about equally often
    assert np.bincount(nearest).min() > 2000 / len(places) / 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/1.jpg": b"no jpeg", "test/1.jpg": b""}, "1.jpg` is not a sound JPEG file: "),
        ({"train/1.png": b"", "test/1.jpg": b""}, "1.jpg` is not a sound JPEG file: "),
        ({"train/a.txt": b""}, "must have two .jpg photographs in train and one in test"),
    ],
)
def test_photographs_that_are_none(folder, files, message):
    pytest.importorskip("PIL")
    put(folder / "BSDS300/images", files)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load("bsds300", data_dir=folder)
    assert message in str(caught.value)


def test_photographs_have_a_size(folder, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    path = folder / "1.jpg"
    image.fromarray(np.zeros((20, 7), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"must have 8 x 8 pixels at least, got \(20, 7\)"):
        bsds300.read_photographs(folder)
    monkeypatch.setattr(bsds300, "PIXEL_LIMIT", 100)
    with pytest.raises(ValueError, match="7 x 20 pixels are too many"):
        bsds300.read_photographs(folder)


def test_bsds300_from_hdf5(folder):
    h5py = pytest.importorskip("h5py")
    parts = {key: rng(i).normal(size=(20 + i, 63)) for i, key in enumerate(("train", "validation", "test"))}  # fmt: skip
    (folder / "BSDS300").mkdir()
    path = folder / "BSDS300/BSDS300.hdf5"
    with h5py.File(path, "w") as file:
        for key, X in parts.items():
            file.create_dataset(key, data=X.astype(np.float32))
    data = load("bsds300", data_dir=folder)
    for X, part in zip(data[1:4], parts.values(), strict=True):
        np.testing.assert_array_equal(X, part.astype(np.float32))
        assert X.dtype == np.float64
    with h5py.File(path, "a") as file:
        del file["test"]
        file["test"] = h5py.ExternalLink(str(folder / "other.hdf5"), "test")
    with h5py.File(folder / "other.hdf5", "w") as file:
        file.create_dataset("test", data=parts["test"])
    with pytest.raises(ValueError, match="it has no array `test` of its own"):
        load("bsds300", data_dir=folder)
    with h5py.File(path, "a") as file:
        del file["test"]
        file.create_dataset("test", data=parts["test"][:, 1:])
    with pytest.raises(ValueError, match=r"must hold floats \(N, 63\), got float64 \(22, 62\)"):
        load("bsds300", data_dir=folder)


@pytest.mark.parametrize(
    ("module", "files", "package"),
    [
        ("PIL", {"BSDS300/images/train/1.jpg": b""}, "pillow"),
        ("h5py", {"BSDS300.hdf5": b""}, "h5py"),
    ],
)
def test_what_is_missing_is_named(folder, monkeypatch, module, files, package):
    monkeypatch.setitem(sys.modules, module, None)
    put(folder, files)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "{package}"'):
        load("bsds300", data_dir=folder)


# Where files are looked for


def test_folders_and_their_order(folder, monkeypatch):
    put(folder / "cache/relgrad_np", {"miniboone.npy": npy(rng(1).normal(size=(20, 43)))})
    cached = load("miniboone").train
    put(folder / "named", {"miniboone.npy": npy(rng(2).normal(size=(30, 43)))})
    monkeypatch.setenv("RELGRAD_DATA", str(folder / "named"))
    assert load("miniboone").train.shape != cached.shape
    put(folder / "given", {"miniboone.npy": npy(rng(3).normal(size=(40, 43)))})
    assert len(load("miniboone", data_dir=folder / "given").train) == 33
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError):  # what is given is meant
        load("miniboone", data_dir=folder / "empty")
    monkeypatch.setenv("RELGRAD_DATA", str(folder / "empty"))
    np.testing.assert_array_equal(load("miniboone").train, cached)


@pytest.mark.parametrize("name", STANDARD)
def test_what_is_absent_is_said_in_one_line(folder, name):
    with pytest.raises(FileNotFoundError) as caught:
        load(name, data_dir=folder / "none")
    message = str(caught.value)
    assert message.startswith(f"no data for '{name}': looked for ")
    for part in (str(folder / "none"), "--data-dir", "RELGRAD_DATA", "available from "):
        assert part in message
    assert "\n" not in message
    with pytest.raises(FileNotFoundError) as caught:
        load(name)
    assert str(Path("cache") / "relgrad_np") in str(caught.value)


# The real ones

REAL = os.environ.get("RELGRAD_DATA")


def real(name, **options):
    if not REAL:
        pytest.skip("RELGRAD_DATA is not set")
    try:
        return load(name, data_dir=REAL, **options)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def measured(name, log_likelihood):
    mean = log_likelihood.mean()
    error = 2 * log_likelihood.std() / len(log_likelihood) ** 0.5
    print(f"{name}: Gaussian of the training rows on test {mean:.3f} +- {error:.3f} nats")
    return mean


def test_real_mnist():
    data = real("mnist")
    assert [part.shape for part in data[1:4]] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    log_likelihood = gaussian_log_likelihood(data.train, data.test)
    assert measured("mnist, logit space", log_likelihood) == pytest.approx(-1366.5, abs=1)
    bits = bits_per_dim(log_likelihood, data.log_det["test"], 784).mean()
    print(f"mnist: {bits:.4f} bits/dim")
    assert bits == pytest.approx(2.01, abs=0.01)  # as published


def test_real_power():
    data = real("power")
    assert [part.shape for part in data[1:4]] == [(1_659_917, 6), (184_435, 6), (204_928, 6)]
    log_likelihood = gaussian_log_likelihood(data.train, data.test)
    assert measured("power", log_likelihood) == pytest.approx(-7.74, abs=0.01)  # as published


def test_real_bsds300():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = real("bsds300", n=100_000)
    assert [part.shape for part in data[1:4]] == [(100_000, 63), (50_000, 63), (250_000, 63)]
    log_likelihood = gaussian_log_likelihood(data.train, data.test)
    assert measured("bsds300", log_likelihood) == pytest.approx(96.67, abs=0.5)  # as published
