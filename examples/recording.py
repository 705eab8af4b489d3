# %% [markdown]
"""
# A real recording: blinks and a heart

31 electrodes on a head hear the brain, but the eyes and the heart as well. This is a real EEG of two minutes, which comes
with the package [alice-ml](https://pypi.org/project/alice-ml/) (`pip install alice-ml`, Apache License 2.0, 7 MB; Soghoyan
et al., 2021, [doi:10.3389/fninf.2021.720229](https://doi.org/10.3389/fninf.2021.720229)). `RelativeICA` is fitted to one
minute and judged on the next half minute, which it has not seen:

- One source contains the blinks. Without it, the mean of the 8 blinks at the forehead falls from 170 to 8 microvolts.
  Between the blinks, the signal at the top of the head stays as it was (correlation 0.994). Removing a principal component
  instead leaves 53 microvolts, and removes more of the brain's signal (correlation 0.857).
- One source beats like a heart, 82 times a minute. 95 % of its intervals are within 20 % of their median; at the best
  electrode 77 % are. There is no electrode at the chest, so only its rhythm can be judged.

The program ends with an error if the unmixing fails.
"""

# %%
import sys
from importlib.resources import files

import mne
import numpy as np
from matplotlib import pyplot as plt
from scipy.signal import find_peaks
from sklearn.decomposition import PCA

from relgrad_np.estimator import RelativeICA

RATE = 125  # Hz: every fourth sample, because the recording has nothing above 40 Hz


def beats(signal):
    """Return where a signal (N,) has its sharp peaks, in samples."""
    signal = (signal - signal.mean()) / signal.std()
    signal = signal * np.sign((signal**3).mean())  # a heart beat points up
    return find_peaks(signal, height=2.0, distance=int(0.45 * RATE))[0]


def regularity(signal):
    """Return the share of the intervals between beats that are within 20 % of the median."""
    intervals = np.diff(beats(signal))
    return np.mean(np.abs(intervals / np.median(intervals) - 1) < 0.2)


def without(model, X, source):
    """Return X (N, D) without one of the sources of a fitted transformer."""
    S = model.transform(X)  # (N, D)
    S[:, source] = 0.0
    return model.inverse_transform(S)


# %%
# The recording, in microvolts. What comes before 30 s is left out: there the amplifier jumps.
path = files("alice_ml.data").joinpath("test_raw.fif")
raw = mne.io.read_raw_fif(str(path), verbose="error")
X = 1e6 * raw.get_data()[:, :: round(raw.info["sfreq"]) // RATE].T  # (15001, 31)
fitted, judged = X[30 * RATE : 90 * RATE], X[90 * RATE :]
at = {name: i for i, name in enumerate(raw.ch_names)}
forehead, left, right, top = [at["Fp1"], at["Fpz"], at["Fp2"]], at["F7"], at["F8"], at["Cz"]

ica = RelativeICA(random_state=0).fit(fitted)
S, A = ica.transform(fitted), ica.mixing_  # (7500, 31), (31, 31)

# Which source is which, from the fitted minute alone.
blink = np.argmax((A[forehead] ** 2).sum(axis=0))  # strongest at the forehead
aside = np.argmax(-A[left] * A[right])  # of opposite signs at the temples
heart = np.argmax([regularity(signal) for signal in S.T])

# %%
# The half minute that was not fitted. The principal component of the forehead is for comparison.
pca = PCA().fit(fitted)
principal = np.argmax((pca.components_[:, forehead] ** 2).sum(axis=1) * pca.explained_variance_)
front = judged[:, forehead].mean(axis=1)
blinks = find_peaks(front, height=60.0, distance=RATE // 4)[0]
between = np.abs(np.arange(len(judged))[:, None] - blinks).min(axis=1) > RATE // 2


def height(X):
    """Return the height of the mean blink at the forehead, from its lowest to its highest."""
    around = [X[b - RATE // 5 : b + 3 * RATE // 10, forehead].mean(axis=1) for b in blinks]
    return np.ptp(np.mean(around, axis=0))


def kept(X):
    """Return the correlation of what is left with what was recorded, between the blinks."""
    return np.corrcoef(X[between, top], judged[between, top])[0, 1]


clean, cut = without(ica, judged, blink), without(pca, judged, principal)
electrode = np.argmax([regularity(signal) for signal in fitted.T])
sources = ica.transform(judged)
pulse = 60 * RATE / np.median(np.diff(beats(sources[:, heart])))
regular, best = regularity(sources[:, heart]), regularity(judged[:, electrode])

share = (A[forehead, blink] ** 2).sum() / (A[:, blink] ** 2).sum()
print(f"blinks: one source has {share:.0%} of its power at the 3 electrodes of the forehead")
print(f"{len(blinks)} blinks in the half minute that was not fitted, their height at the forehead:")
print(f"  {height(judged):.0f} microvolts; {height(clean):.0f} without that source", end=" ")
print(f"({height(cut):.0f} without a principal component instead)")
print("between the blinks, correlation with what was recorded at the top of the head:")
print(f"  {kept(clean):.3f} ({kept(cut):.3f} without a principal component instead)")
print(f"heart: one source beats {pulse:.0f} times a minute, and {regular:.0%} of its intervals")
print(f"  are within 20 % of their median ({best:.0%} at the best electrode)")

# %%
# The picture: 12 of the 30 seconds, 9 of the 31 electrodes, 3 of the 31 sources.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
rows, apart = ["Fp1", "Fp2", "F7", "F8", "Fz", "Cz", "Pz", "O1", "O2"], 120  # microvolts
shown = slice(4 * RATE, 16 * RATE)
t = 90 + np.arange(len(judged)) / RATE


def frame(axes, title):
    """Label a panel whose horizontal axis is time."""
    axes.set_title(title, fontsize=11)
    axes.set(xlim=(t[shown.start], t[shown.stop]), yticks=[])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)


def electrodes(axes, title, signals, color):
    """Draw the rows of electrodes, the forehead above and the back of the head below."""
    for i, name in enumerate(rows):
        axes.plot(t[shown], signals[shown, at[name]] - apart * i, color=color, lw=0.7)
    frame(axes, title)
    axes.set_yticks([-apart * i for i in range(len(rows))], rows)
    axes.set(ylim=(-apart * len(rows) - 30, 160), xlabel="seconds")
    axes.tick_params(axis="y", length=0)


def head(axes, weights):
    """Draw a head from above, nose up: red and blue dots are electrodes that hear a source."""
    angle = np.linspace(0, 2 * np.pi, 100)
    axes.plot(np.sin(angle), np.cos(angle), color=GREY, lw=1)
    axes.plot([-0.13, 0, 0.13], [0.99, 1.16, 0.99], color=GREY, lw=1)
    places = np.array([entry["loc"][:2] for entry in raw.info["chs"]])  # (31, 2), metres
    places = 0.98 * places / np.linalg.norm(places, axis=1).max()
    most = np.abs(weights).max()
    axes.scatter(*places.T, c=weights, cmap="RdBu_r", vmin=-most, vmax=most, s=45, ec=GREY, lw=0.4)
    axes.set_aspect("equal")
    axes.set_axis_off()


figure = plt.figure(figsize=(14, 7))
grid = figure.add_gridspec(3, 4, width_ratios=[4, 1.5, 3.4, 4])
axes = figure.add_subplot(grid[:, 0])
electrodes(axes, "what 9 of the 31 electrodes recorded", judged, "black")
axes.set_ylabel("back of the head  \u2190              \u2192  forehead")
axes.plot([105.8, 105.8], [-1100, -1000], color=ORANGE, lw=3, solid_capstyle="butt")
axes.text(105.55, -1050, "100 \u00b5V", color=ORANGE, ha="right", va="center")
known = (
    (blink, A[forehead, blink].sum(), BLUE, "a source: the eyes blink"),
    (aside, A[left, aside], ORANGE, "a source: the eyes look left and right"),
    (heart, (S[:, heart] ** 3).mean(), GREEN, f"a source: the heart, {pulse:.0f} beats a minute"),
)
for row, (source, sign, color, title) in enumerate(known):
    head(figure.add_subplot(grid[row, 1]), np.sign(sign) * A[:, source])
    axes = figure.add_subplot(grid[row, 2])
    signal = np.sign(sign) * sources[:, source]
    axes.plot(t[shown], signal[shown], color=color, lw=0.8)
    frame(axes, title)
    if source == heart:
        marks = [beat for beat in beats(signal) if shown.start < beat < shown.stop]
        axes.plot(t[marks], signal[marks] + 0.8, "v", color=color, ms=5)
        axes.set_xlabel("seconds")
axes = figure.add_subplot(grid[:, 3])
electrodes(axes, "without the source of the blinks (grey: as recorded)", judged, "0.75")
electrodes(axes, axes.get_title(), clean, "black")
plt.show()

gone = height(clean) < min(0.15 * height(judged), 0.5 * height(cut))
if not (gone and kept(clean) > 0.95 and 40 < pulse < 150 and regular > max(0.8, best)):
    sys.exit("The unmixing failed: see the numbers above.")
