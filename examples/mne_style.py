# %% [markdown]
"""
# In place of FastICA in MNE

`mne.preprocessing.ICA(method="fastica")` whitens and reduces a recording itself. Then it makes scikit-learn's
`FastICA(whiten=False, random_state=..., **fit_params)`, fits it, and takes its `components_` and `n_iter_`.
`RelativeICA` has these as well, so it can replace it, and the rest of MNE works as before: here MNE finds the source of
the blinks and removes it. MNE passes three arguments that only FastICA has (`algorithm`, `fun`, `fun_args`); the
example leaves them out. The recording, an EEG of 31 electrodes, comes with `pip install alice-ml`, which brings MNE.

The program ends with an error unless MNE finds the source of the blinks, and the blinks vanish without it.
"""

# %%
import sys
from contextlib import nullcontext
from importlib.resources import files
from unittest.mock import patch

import mne
import numpy as np

from relgrad_np.estimator import RelativeICA

mne.set_log_level("error")


def in_its_place(*, algorithm, fun, fun_args, **settings):
    """Return what MNE fits instead of FastICA, whose own three settings are left out."""
    return RelativeICA(**settings)


def height(raw, events):
    """Return the height of the mean event at Fp1 and Fp2, in microvolts."""
    epochs = mne.Epochs(raw, events, tmin=-0.2, tmax=0.3, baseline=None, preload=True)
    return 1e6 * np.ptp(epochs.average(["Fp1", "Fp2"]).data.mean(axis=0))


# %%
path = files("alice_ml.data").joinpath("test_raw.fif")
raw = mne.io.read_raw_fif(str(path), preload=True).resample(125)
fitted, judged = raw.copy().crop(30, 90), raw.copy().crop(90)  # before 30 s the amplifier jumps
events = mne.preprocessing.find_eog_events(judged, ch_name="Fp1")
before = height(judged, events)
print(f"MNE finds {len(events)} events of the eyes in the half minute that is not fitted")
print(f"their mean is {before:.0f} microvolts high at the forehead")

# %%
after, blinks = [], []
other = patch("sklearn.decomposition.FastICA", in_its_place)  # MNE imports it while it fits
for name, place in (("FastICA", nullcontext()), ("RelativeICA", other)):
    ica = mne.preprocessing.ICA(20, method="fastica", random_state=0)
    with place:
        ica.fit(fitted)
    ica.exclude, scores = ica.find_bads_eog(fitted, ch_name="Fp1")
    after.append(height(ica.apply(judged.copy()), events))
    blinks.append(ica.get_sources(judged).get_data()[np.argmax(np.abs(scores))])
    print(f"{name}, {ica.n_iter_} iterations: {after[-1]:.1f} microvolts are left")
    print(f"  after MNE has taken out {len(ica.exclude)} of {ica.n_components_} sources")
same = abs(np.corrcoef(blinks)[0, 1])
print(f"correlation of the two sources of the blinks: {same:.3f}")
if not (after[1] < 0.15 * before and same > 0.9):
    sys.exit("The unmixing failed: see the numbers above.")
