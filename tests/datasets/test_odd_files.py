"""Files as people have them: read right, or refused in one line with line, column and remedy."""

import bz2
import gzip
import io
import lzma

import numpy as np
import pytest

from relgrad_np.cli.advice import with_flags
from relgrad_np.datasets import Reading, load

pd = pytest.importorskip("pandas", reason="pandas reads text files")

N = 12
X = np.array([[i + 0.5, i * i * 1.25 - 7, -i * 1e-3] for i in range(N)])
NAMES = ("a", "b", "c")


def text(rows=X, header="a,b,c", sep=",", end="\n", form="{}"):
    lines = [sep.join(form.format(float(x)) for x in row) for row in rows]
    return end.join([header.replace(",", sep), *lines] if header else lines) + end


def comma(sep=";", header="a,b,c"):
    return text(header=header, sep="|").replace(".", ",").replace("|", sep)


def with_column(cells, name="d", quote=""):
    lines = text().splitlines()
    cells = [f"{quote}{cell}{quote}" for cell in cells]
    return (
        "\n".join(f"{line},{cell}" for line, cell in zip(lines, [name, *cells], strict=True)) + "\n"
    )


def with_cell(cell, line=4, column=1):
    lines = [line.split(",") for line in text().splitlines()]
    lines[line - 1][column] = cell
    return "\n".join(map(",".join, lines)) + "\n"


def indexed(index, name=""):
    return pd.DataFrame(X, columns=NAMES, index=index).to_csv(index_label=name or None)


def zst(data):
    return pytest.importorskip("zstandard").compress(data)


def arrow(kind, frame, **options):
    pytest.importorskip("pyarrow")
    stream = io.BytesIO()
    getattr(frame, f"to_{kind}")(stream, **options)
    return stream.getvalue()


def hdf5(**arrays):
    h5py = pytest.importorskip("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def mat(**arrays):
    import scipy.io

    stream = io.BytesIO()
    scipy.io.savemat(stream, arrays)
    return stream.getvalue()


FRAME = pd.DataFrame(X, columns=NAMES)
DATES = [f"2020-01-{i + 1:02}" for i in range(N)]
WORDS = list("xyz" * 4)
WIDE = np.random.default_rng(0).normal(size=(N, 500))
BIG = X * [1, 1e4, 1e5] + 123456.25

RIGHT = {  # file, contents, what is asked for, rows, columns, part of a note
    "utf-8 with a mark": ("a.csv", "\ufeff" + text(), {}, X, NAMES, ""),
    "utf-16": ("a.csv", text().encode("utf-16"), {}, X, NAMES, ""),
    "utf-16 without a mark": ("a.csv", text().encode("utf-16-le"), {}, X, NAMES, ""),
    "windows-1252": ("a.csv", text(header="größe,b,c").encode("cp1252"), {}, X, ("größe", "b", "c"), "Windows-1252"),
    "an encoding that is said": ("a.csv", text(header="身長,b,c").encode("shift-jis"), {"encoding": "shift-jis"}, X, ("身長", "b", "c"), ""),
    "chinese": ("a.csv", text(header="身高,b,c"), {}, X, ("身高", "b", "c"), ""),
    "tabs": ("a.tsv", text(sep="\t"), {}, X, NAMES, ""),
    "tabs, called csv": ("a.csv", text(sep="\t"), {}, X, NAMES, ""),
    "semicolons": ("a.csv", text(sep=";"), {}, X, NAMES, ""),
    "bars": ("a.txt", text(sep="|"), {}, X, NAMES, ""),
    "blanks": ("a.dat", text(sep="   ", form="{:>9}"), {}, X, NAMES, ""),
    "blanks before": ("a.txt", "".join("  " + line + "\n" for line in text(sep=" ").splitlines()), {}, X, NAMES, ""),
    "commas and blanks": ("a.csv", text(sep=", "), {}, X, NAMES, ""),
    "a separator that is said": ("a.csv", text(sep="~"), {"sep": "~"}, X, NAMES, ""),
    "excel's hint": ("a.csv", "sep=;\n" + text(sep=";"), {}, X, NAMES, ""),
    "no ending": ("measured", text(), {}, X, NAMES, ""),
    "mac lines": ("a.csv", text(end="\r"), {}, X, NAMES, ""),
    "dos lines": ("a.csv", text(end="\r\n"), {}, X, NAMES, ""),
    "quotes": ("a.csv", text(header='"a","b","c"', form='"{}"'), {}, X, NAMES, ""),
    "a name of two lines": ("a.csv", text(header='"a\nx",b,c'), {}, X, ("a\nx", "b", "c"), ""),
    "decimal commas": ("a.csv", comma(), {}, X, NAMES, ""),
    "decimal commas, no header": ("a.csv", comma(header=""), {}, X, None, ""),
    "decimal commas, tabs": ("a.tsv", comma("\t"), {}, X, NAMES, ""),
    "thousands": ("a.csv", text(BIG, form='"{:,}"'), {}, BIG, NAMES, "thousands"),
    "thousands of a point": ("a.csv", text(BIG, sep=";", form="{:,}").translate(str.maketrans(".,", ",.")), {}, BIG, NAMES, "thousands"),
    "thousands of a blank": ("a.csv", text(BIG, sep=";", form="{:,}").replace(",", " "), {}, BIG, NAMES, "thousands"),
    "exponents": ("a.csv", text(form="{:.17E}"), {}, X, NAMES, ""),
    "every digit": ("a.csv", text(WIDE[:, :3], form="{:.17g}"), {}, WIDE[:, :3], NAMES, ""),
    "trailing separators": ("a.csv", text().replace("\n", ",\n"), {}, X, NAMES, ""),
    "trailing separators, not in the header": ("a.csv", "a,b,c\n" + text(header="").replace("\n", ",\n"), {}, X, NAMES, ""),
    "comments": ("a.csv", "# of a machine\n# a,b,c\n" + text(header=""), {}, X, NAMES, "last comment"),
    "comments of numpy": ("a.txt", "# a b c\n" + text(header="", sep=" "), {}, X, NAMES, "last comment"),
    "an index": ("a.csv", indexed(np.arange(100, 112)), {}, X, NAMES, "an index, left out"),
    "an index in disorder": ("a.csv", indexed([3, 1, 2, 9, 8, 7, 6, 5, 4, 40, 11, 12]), {}, X, NAMES, "an index, left out"),
    "an index read and written again": ("a.csv", indexed(range(N), "Unnamed: 0"), {}, X, NAMES, "an index, left out"),
    "an index of dates": ("a.csv", indexed(DATES), {}, X, NAMES, "names of the rows, left out"),
    "names of rows, by R": ("a.csv", "".join(f'"r{i}",{x}\n' if i else x + "\n" for i, x in enumerate(text().splitlines())), {}, X, NAMES, "names of the rows, left out"),
    "numbers for names": ("a.csv", pd.DataFrame(X).to_csv(), {}, X, ("0", "1", "2"), "an index, left out"),
    "numbers for names, no index": ("a.csv", pd.DataFrame(WIDE[:, :3]).to_csv(index=False), {}, WIDE[:, :3], ("0", "1", "2"), "taken for a header"),
    "years for names": ("a.csv", text(header="a,2019,2020"), {}, X, ("a", "2019", "2020"), ""),
    "some columns": ("a.csv", with_column(DATES), {"columns": "c,a"}, X[:, [2, 0]], ("c", "a"), ""),
    "less a column": ("a.csv", with_column(WORDS), {"drop": ["d"]}, X, NAMES, ""),
    "less a column by number": ("a.csv", text(header=""), {"drop": "1"}, X[:, [0, 2]], ("0", "2"), ""),
    "missing rows dropped": ("a.csv", with_cell("NA"), {"missing": "drop"}, np.delete(X, 2, 0), NAMES, "1 of 12 rows"),
    "a mark that is said": ("a.csv", with_cell("tba"), {"missing": "drop", "missing_marks": "tba"}, np.delete(X, 2, 0), NAMES, "1 of 12 rows"),
    "a number as a mark": ("a.csv", with_cell("-9999"), {"missing": "drop", "missing_marks": -9999}, np.delete(X, 2, 0), NAMES, "1 of 12 rows"),
    "medians": ("a.csv", with_cell("?"), {"missing": "median"}, [np.where((i, j) == (2, 1), np.median(np.delete(X[:, 1], 2)), X[i, j]) for i in range(N) for j in range(3)], NAMES, "'b' 1"),
    "a mark that repeats": ("a.csv", with_column([-9999, -9999, *range(10)]), {}, np.c_[X, [-9999, -9999, *range(10)]], (*NAMES, "d"), "column 'd' has -9999 2 times"),
    "booleans": ("a.csv", with_column(["True", "False", "true"] * 4), {}, np.c_[X, [1, 0, 1] * 4], (*NAMES, "d"), "whole numbers or few values only in columns 'd'"),
    "huge integers": ("a.csv", with_column([2**53 + 10 * i for i in range(N)]), {}, np.c_[X, [float(2**53 + 10 * i) for i in range(N)]], (*NAMES, "d"), "rounded"),
    "integers beyond 64 bits": ("a.csv", with_column([10**19 + 4096 * i for i in range(N)]), {}, np.c_[X, [float(10**19 + 4096 * i) for i in range(N)]], (*NAMES, "d"), "rounded"),
    "500 columns": ("a.csv", pd.DataFrame(WIDE).to_csv(index=False, header=[f"x{j}" for j in range(500)]), {}, WIDE, tuple(f"x{j}" for j in range(500)), ""),
    "one column": ("a.csv", text(X[:, :1], header="a") + "\n\n", {}, X[:, :1], ("a",), ""),
    "wavelengths for names": ("a.csv", text(header="400,410,420"), {}, X, ("400", "410", "420"), "rising whole numbers"),
    "a mark at the end of the header": ("a.csv", text().replace("a,b,c", "a,b,c,"), {}, X, NAMES, ""),
    "a real minus": ("a.csv", text().replace("-", "\u2212"), {}, X, NAMES, ""),
    "fortran's exponents": ("a.dat", text(sep=" ", form="{:.17E}").replace("E", "D"), {}, X, NAMES, ""),
    "a form feed": ("a.csv", text().replace("\n", "\n\f", 1), {}, X, NAMES, ""),
    "lines of two systems": ("a.csv", text(X[:6], end="\r\n") + text(X[6:], header=""), {}, X, NAMES, ""),
    "gzip of two members": ("a.csv.gz", gzip.compress(text(X[:6]).encode()) + gzip.compress(text(X[6:], header="").encode()), {}, X, NAMES, ""),
    "signs": ("a.csv", text(form="{:+}"), {}, X, NAMES, ""),
    "columns of fixed width": ("a.txt", text(header="", sep="", form="{:12.4f}"), {}, X.round(4), None, ""),
    "names in brackets": ("a.csv", text(header="<TICKER>,PAR1,{x"), {}, X, ("<TICKER>", "PAR1", "{x"), ""),
    "names that need quotes": ("a.csv", text(header='"a,b",#c,"d""e"'), {}, X, ("a,b", "#c", 'd"e'), ""),
    "names in two cases": ("a.csv", text(header="a,A,nan"), {}, X, ("a", "A", "nan"), ""),
    "utf-32": ("a.csv", text().encode("utf-32"), {}, X, NAMES, ""),
    "excel in german": ("a.csv", "\ufeffsep=;\r\n" + comma().replace("\n", "\r\n"), {}, X, NAMES, ""),
    "one column of decimal commas": ("a.csv", comma(header="a").replace(";", "\n"), {"decimal": ","}, X.reshape(-1, 1), ("a",), ""),
    "dates as numbers": ("a.csv", with_column([20200101 + i for i in range(N)]), {}, np.c_[X, [20200101 + i for i in range(N)]], (*NAMES, "d"), "column 'd' holds dates, as it seems: --drop d"),
    "well logs": ("a.csv", with_column([-999.25, -999.25, *range(10)]), {}, np.c_[X, [-999.25, -999.25, *range(10)]], (*NAMES, "d"), "column 'd' has -999.25 2 times"),
    "one enormous number": ("a.csv", with_column([9.97e36, *range(11)]), {}, np.c_[X, [9.97e36, *range(11)]], (*NAMES, "d"), "column 'd' has 9.97e+36 once"),
    "an infinite mark": ("a.csv", with_cell("inf"), {"missing_marks": ["inf"], "missing": "drop"}, np.delete(X, 2, 0), NAMES, "1 of 12"),
    "gzip": ("a.csv.gz", gzip.compress(text().encode()), {}, X, NAMES, ""),
    "bzip2": ("a.tsv.bz2", bz2.compress(text(sep="\t").encode()), {}, X, NAMES, ""),
    "xz": ("a.csv.xz", lzma.compress(text().encode()), {}, X, NAMES, ""),
    "zstd": ("a.csv.zst", lambda: zst(text().encode()), {}, X, NAMES, ""),
    "parquet": ("a.parquet", lambda: arrow("parquet", FRAME), {}, X, NAMES, ""),
    "parquet with an index": ("a.parquet", lambda: arrow("parquet", FRAME.set_index(pd.Index([*range(3, 14), 1]))), {}, X, NAMES, "the index of a DataFrame is left out"),
    "parquet with an index of dates": ("a.parquet", lambda: arrow("parquet", FRAME.set_index(pd.to_datetime(DATES))), {}, X, NAMES, "the index of a DataFrame is left out"),
    "parquet of large numbers": ("a.parquet", lambda: arrow("parquet", FRAME.assign(d=np.arange(N) * 2**56)), {}, np.c_[X, np.arange(N) * 2.0**56], (*NAMES, "d"), "beyond 2^53 in columns 'd' are rounded"),
    "parquet, some columns": ("a.parquet", lambda: arrow("parquet", FRAME.assign(d=WORDS)), {"columns": "b"}, X[:, [1]], ("b",), ""),
    "parquet, nulls": ("a.parquet", lambda: arrow("parquet", FRAME.mask(FRAME.eq(X[2, 1]))), {"missing": "drop"}, np.delete(X, 2, 0), NAMES, "1 of 12"),
    "feather": ("a.feather", lambda: arrow("feather", FRAME), {}, X, NAMES, ""),
    "hdf5": ("a.h5", lambda: hdf5(X=X, y=np.zeros(N)), {}, X, None, ""),
    "mat": ("a.mat", lambda: mat(X=X, info="text"), {}, X, None, ""),
    "mat with splits": ("a.mat", lambda: mat(x_train=X[:10], x_test=X[10:], y=WIDE), {}, X, None, "not read: y"),
}  # fmt: skip


def written(tmp_path, name, contents):
    contents = contents() if callable(contents) else contents
    path = tmp_path / name
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return path


@pytest.mark.parametrize("case", RIGHT)
def test_read_right(tmp_path, case):
    name, contents, options, rows, columns, note = RIGHT[case]
    data = load(written(tmp_path, name, contents), reading=Reading(**options))
    assert data.columns == columns
    found = np.concatenate([data.transforms.inverse(Z) for Z in data[1:4]])
    rows = np.reshape(rows, (-1, found.shape[1]))
    scale = np.abs(rows).max(axis=0)
    order = [np.lexsort((Y / scale).round(9).T) for Y in (found, rows)]
    np.testing.assert_allclose(
        found[order[0]], rows[order[1]], rtol=1e-12, atol=1e-12 * scale.max()
    )
    notes = " ".join(data.notes)
    assert note in with_flags(notes)
    assert "--" not in notes  # a flag is a word of the command line's


REFUSED = {  # file, contents, what is asked for, parts of the line
    "a word": ("a.csv", with_cell("tall"), {}, "line 4, column 2 ('b'): not a number: 'tall'; --missing-marks=tall"),
    "a word below a long header": ("a.csv", "# x\n" + with_cell("tall"), {}, "line 5, column 2 ('b'): not a number: 'tall'"),
    "a word below quoted lines": ("a.csv", with_cell("tall").replace("a,b,c", '"a\n\nx",b,c'), {}, "line 6, column 2 ('b')"),
    "words": ("a.csv", with_column(WORDS, "city"), {}, "line 2, column 4 ('city'): text, not a number: 'x'; --drop city"),
    "two columns of words": ("a.csv", with_column([f"{word},u" for word in WORDS], "city,land"), {}, "(as in column 'land'); --drop city,land"),
    "words without a header": ("a.csv", "".join(line + ",Iris\n" for line in text(header="").splitlines()), {}, "line 1, column 3 (from 0): text, not a number: 'Iris'; --drop 3"),
    "dates": ("a.csv", with_column(DATES, "when"), {}, "line 2, column 4 ('when'): a date: '2020-01-01'; --drop when"),
    "times": ("a.csv", with_column(["12:30"] * N, "when"), {}, "a date: '12:30'"),
    "german dates": ("a.csv", comma().replace("c\n", "c;d\n").replace("\n", ";31.12.2020\n").replace("d;31.12.2020", "d"), {}, "a date: '31.12.2020'"),
    "a unit": ("a.csv", with_column([f"{i} kg" for i in range(N)], "m"), {}, "line 2, column 4 ('m'): a number with a unit: '0 kg'"),
    "money": ("a.csv", with_column([f"${i}.50" for i in range(N)], "m"), {}, "a number with a unit: '$0.50'"),
    "a decimal comma far below": ("a.csv", text(np.tile(X, (200, 1)), sep=";") + "1,5;2;3\n", {}, "line 2402, column 1 ('a'): not a number: '1,5'; --decimal ,"),
    "commas that may be either": ("a.csv", text(X.round() * 0, sep=";").replace("0.0", "1,234"), {}, "line 2, column 1 ('a'): a decimal or a thousands comma: '1,234'"),
    "an underscore": ("a.csv", with_cell("1_000"), {}, "line 4, column 2 ('b'): not a number: '1_000'"),
    "empty cells": ("a.csv", with_cell("").replace("0.5,-7.0", ",-7.0"), {}, "line 2, column 1 ('a'); missing values by column: 'a' 1, 'b' 1, in 2 of 12 rows: --missing drop"),
    "infinite": ("a.csv", with_cell("1e999"), {}, "got inf at line 4, column 2 ('b')"),
    "a short line": ("a.csv", text() + "1,2\n", {}, "line 14: 2 fields, but its header has 3"),
    "a short line, rows dropped": ("a.csv", text() + "1,2\n", {"missing": "drop"}, "line 14: 2 fields"),
    "a long line": ("a.csv", text() + "1,2,3,4\n", {}, "line 14: 4 fields, but its header has 3"),
    "a longer first line": ("a.csv", "a,b\n" + text(header=""), {}, "an index"),
    "a much longer header": ("a.csv", "a,b,c,d,e\n" + text(header=""), {}, "line 2: 3 fields, but its header has 5"),
    "the header again": ("a.csv", text() + text(), {}, "line 14, column 1 ('a'): the header again: 'a' (as in column 'b', 'c'); delete the line"),
    "a title above the header": ("a.csv", "measured in 2020\n\n" + text(), {}, "line 3: a second line of names or units"),
    "a total below": ("a.csv", text() + "Total,1,2\n", {}, "line 14, column 1 ('a'): not a number: 'Total'"),
    "a source below": ("a.csv", text() + "\nSource: me\n", {}, "line 15: 1 fields, but its header has 3"),
    "decimal commas or names of rows": ("a.csv", "a\n" + "".join(f"{i},{i}5\n" for i in range(N)), {}, "line 2: a decimal comma, or a name of the row before the number? --decimal , or --sep ,"),
    "a long text in a cell": ("a.csv", with_cell("x" * 200_000), {}, "column 2 ('b'): text, not a number: 'xxx"),
    "censored": ("a.csv", with_cell("<0.05"), {}, "line 4, column 2 ('b')"),
    "html": ("a.csv", "<!DOCTYPE html><table><tr><td>1</td></tr></table>\n", {}, "is no table in text, but HTML: export"),
    "json": ("a.csv", '[{"a": 1.5, "b": 2}, {"a": 3, "b": 4}]', {}, "is no table in text, but JSON"),
    "a spreadsheet, called csv": ("a.csv", b"PK\x03\x04\x14\0\x06\0", {}, "but a spreadsheet or an archive: export it"),
    "gzip, called csv": ("a.csv", gzip.compress(text().encode()), {}, "but compressed by gzip: give it the ending .csv.gz"),
    "parquet, called csv": ("a.csv", lambda: arrow("parquet", FRAME), {}, "but a .parquet file: give it that ending"),
    "weka's": ("a.arff", "@relation x\n", {}, "is of another program: export it as .csv"),
    "markdown": ("a.txt", "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * N, {}, "line 2: a second line of names or units"),
    "libsvm": ("a.txt", "".join(f"1 1:{i}.5 2:{i * i}.25\n" for i in range(N)), {}, "line 1, column 1 (from 0)"),
    "npy of a vector": ("a.npy", lambda: npy(X[:, 0]), {}, "must have shape (N, D), N >= 1, got (12,); reshape it to one row for each sample"),
    "npy of images": ("a.npy", lambda: npy(X.reshape(3, 4, 3)), {}, "must have shape (N, D), N >= 1, got (3, 4, 3)"),
    "npy of texts": ("a.npy", lambda: npy(X.astype(str)), {}, "must hold real numbers, got <U32"),
    "parquet of nothing": ("a.parquet", lambda: arrow("parquet", FRAME.assign(e=None)), {}, "column 4 ('e') holds nothing but missing values"),
    "lz4": ("a.csv.lz4", b"", {}, "is compressed in another way: unpack it first"),
    "an open quote": ("a.csv", text() + '"1,2,3\n', {}, "line 14: 1 fields, but its header has 3"),
    "nested headers": ("a.csv", "x,x,y\n" + text(), {}, "line 2: a second line of names or units: keep one header line"),
    "units below names": ("a.csv", text(header="a,b,c\nm,kg,s"), {}, "line 2: a second line of names or units"),
    "duplicate names": ("a.csv", text(header="a,b,a"), {}, "has 2 columns called 'a', columns 1, 3: rename"),
    "a name that is not there": ("a.csv", text(header="age,height,c"), {"columns": "hieght"}, "has no column 'hieght'; did you mean 'height'?"),
    "a number that is not there": ("a.csv", text(header=""), {"drop": "3"}, "has no column 3: its 3 columns have numbers, from 0"),
    "nothing": ("a.csv", "", {}, "first line is empty"),
    "blank lines": ("a.csv", "\n\n\n", {}, "first line is empty"),
    "a header alone": ("a.csv", "a,b\n", {}, "has a header but no rows"),
    "one row": ("a.csv", "a,b\n1,2\n", {}, "must have at least 10 rows to split, got 1"),
    "no row is whole": ("a.csv", with_column([""] * N), {"missing": "drop"}, "has no row without missing values: 'd' 12"),
    "a constant": ("a.csv", with_column([3] * N), {}, "constant: 'd'"),
    "zeros": ("a.csv", b"a,b\n1,2\x003\n", {}, "is not text"),
    "not the encoding that is said": ("a.csv", text(header="größe,b,c").encode("cp1252"), {"encoding": "utf-8"}, "is not text in utf-8"),
    "half a gzip": ("a.csv.gz", gzip.compress(text().encode())[:-12], {}, "is not a sound .gz file, or is cut short"),
    "no gzip at all": ("a.csv.gz", text(), {}, "is not a sound .gz file"),
    "half a parquet": ("a.parquet", lambda: arrow("parquet", FRAME)[:-20], {}, "is not a sound .parquet file, or is cut short"),
    "an empty parquet": ("a.parquet", lambda: arrow("parquet", FRAME)[:0], {}, "is not a sound .parquet file"),
    "parquet of dates": ("a.parquet", lambda: arrow("parquet", FRAME.assign(t=pd.to_datetime(DATES))), {}, "column 4 ('t') holds dates, not numbers: --drop t"),
    "parquet of categories": ("a.parquet", lambda: arrow("parquet", FRAME.assign(k=pd.Categorical(WORDS), w=WORDS)), {}, "column 4 ('k') holds categories, not numbers (as do 'w')"),
    "parquet, missing": ("a.parquet", lambda: arrow("parquet", FRAME.mask(FRAME.eq(X[2, 1]))), {}, "got nan at row 2, column 'b'; missing values by column: 'b' 1"),
    "half an hdf5": ("a.h5", lambda: hdf5(X=X)[:900], {}, "is not an HDF5 file"),
    "hdf5 of two tables": ("a.h5", lambda: hdf5(u=X, v=X), {}, "its tables: u (12, 3), v (12, 3)"),
    "half a mat": ("a.mat", lambda: mat(X=X)[:300], {}, "is not a .mat file"),
    "a pickle": ("a.pkl", b"", {}, "would run code"),
    "a spreadsheet": ("a.xlsx", b"PK", {}, "export the sheet as .csv"),
    "a zipped table": ("a.csv.zip", b"PK", {}, "unpack it first"),
    "a compressed array": ("a.npy.gz", b"", {}, "is compressed: unpack it first"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(tmp_path, case):
    name, contents, options, message = REFUSED[case]
    path = written(tmp_path, name, contents)
    if case == "a longer first line":  # not refused: the first of three columns names the rows
        assert load(path).columns == ("column_0", "a", "b")
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load(path, reading=Reading(**options))
    assert message in with_flags(str(caught.value))
    line = str(caught.value)
    assert "--" not in line  # a flag is a word of the command line's
    assert line.startswith(f"`{path}`")
    assert "\n" not in line
    assert len(line) < 500


# What stays on disk


def test_a_large_parquet_is_laid_out_and_split_at_random(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    from relgrad_np.datasets.files import arrow, copied

    monkeypatch.setattr(arrow, "RUN", 100)
    monkeypatch.setattr(copied, "HELD_OUT", 30)
    rows = np.c_[np.arange(900.0), np.random.default_rng(0).normal(size=(900, 2))]
    rows[5, 1] = np.nan
    frame = pd.DataFrame(rows, columns=list("abc"))
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=250)
    with pytest.raises(ValueError, match="missing values by column: 'b' 1, in 1 of 900 rows"):
        load(tmp_path / "a.parquet", lazy_above=100)
    reading = Reading(missing="drop")
    data = load(tmp_path / "a.parquet", 3, lazy_above=100, reading=reading)
    assert data.lazy
    assert data.columns == ("a", "b", "c")
    held = [data.transforms.inverse(Z) for Z in (data.validation, data.test)]
    found = np.concatenate([data.train, *held])
    expected = np.delete(rows, 5, 0)
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], expected, atol=1e-9)
    for part in held:
        assert 15 < len(part) < 50
        assert part[:, 0].min() < 250
        assert part[:, 0].max() > 650  # from all over the file
    again = load(tmp_path / "a.parquet", 3, lazy_above=100, reading=reading)
    np.testing.assert_array_equal(again.train, data.train)
    few = load(tmp_path / "a.parquet", 3, n=50, lazy_above=100, reading=reading)
    np.testing.assert_array_equal(few.train, data.train[:50])
    assert len(few.test) == len(data.test)
    frame.astype("float32").fillna(0).to_parquet(tmp_path / "b.parquet")
    assert load(tmp_path / "b.parquet", lazy_above=100).train.dtype == np.float32
    monkeypatch.setattr(copied.shutil, "disk_usage", lambda path: type("", (), {"free": 99}))
    with pytest.raises(OSError, match="set TMPDIR to a folder on a larger disk"):
        load(tmp_path / "b.parquet", lazy_above=100)


def test_part_of_a_large_npy_is_laid_out_too(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype("f4")
    rows[3, 1] = -9999
    np.save(tmp_path / "a.npy", rows)
    reading = Reading(drop="0", missing_marks="-9999", missing="drop")
    data = load(tmp_path / "a.npy", lazy_above=100, reading=reading)
    assert data.lazy
    assert data.columns == ("1", "2")
    assert data.train.dtype == np.float32
    assert sum(map(len, data[1:4])) == 199
    for more, text in (({"missing": "median"}, "missing='median'"), ({"dequantise": True}, "large for Reading.deq")):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            load(tmp_path / "a.npy", lazy_above=100, reading=Reading(**more))


# Discrete columns


def test_discrete_columns_get_noise_as_wide_as_their_step():
    rng = np.random.default_rng(0)
    rows = np.c_[rng.integers(0, 9, 400), rng.integers(0, 9, 400) * 0.5 + 3, rng.normal(size=400)]
    data = load(rows, reading=Reading(dequantise=True))
    first, standardise = data.transforms.transforms
    assert first.step == (1.0, 0.5, 0.0)
    assert "columns 0, 1" in " ".join(data.notes)
    assert len(np.unique(data.train[:, 0])) == len(data.train)
    order = load(rows)  # split alike, without noise
    for part in ("train", "validation", "test"):
        back = data.transforms.inverse(getattr(data, part))
        plain = order.transforms.inverse(getattr(order, part))
        np.testing.assert_allclose(back, plain, atol=1e-12)
    np.testing.assert_allclose(data.log_det["test"], -np.log(standardise.std).sum())
    noise = standardise.inverse(data.train) - back_of(data)
    assert noise.min() > -1e-9
    np.testing.assert_allclose(noise[:, :2].max(axis=0), first.step[:2], rtol=0.02)


def back_of(data):
    return data.transforms.inverse(data.train)


def test_values_that_only_lie_far_out_are_no_marks():
    from relgrad_np.datasets.files.missing import suspects

    x = np.random.default_rng(0).standard_cauchy(size=(500, 1))
    assert suspects(x, None) == []
    assert suspects(np.r_[x.clip(-5, 5), [[999.0]]], None) == []  # once
    assert suspects(np.r_[np.arange(1000.0)[:, None], [[999.0]]], None) == []  # not far
    assert "9.96921e+36 2 times" in suspects(np.r_[x, np.full((2, 1), 9.96921e36)], None)[0]
