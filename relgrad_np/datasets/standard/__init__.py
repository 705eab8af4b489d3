"""How the files of the public sets become the rows on which others have published results.

The model space of each set is the space in which its log-likelihoods are published, so that results
compare: logit space for images, standardised columns for the UCI sets, patches as they are for
BSDS300 (Papamakarios, Pavlakou and Murray, 2017). Read `sources` (where files may lie, and who
reads them), then `images`, `bsds300`, `power` and `uci`; `published` is what the UCI sets share.
"""
