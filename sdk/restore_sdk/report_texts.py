"""The standing sentences of a report: verdicts for lay readers, algorithms, limits, references."""

from __future__ import annotations

from restore_manifests.report import Verdict

__all__ = ["ALGORITHMS", "HEADLINES", "LIMITS", "MAPS", "MEANING", "OPERATIONS", "REFERENCES", "STANDING"]

HEADLINES = {
    Verdict.FAIL: "At least one check failed. Do not rely on this picture.",
    Verdict.UNABLE: "No check failed, but at least one could not be made. The record is not fully confirmed.",
}

MEANING = {
    Verdict.PASS: (
        "The files are those of the signed record, and the signer's certificate leads to a root that was "
        "given as trusted. This does not say that the scene looked like the result."
    ),
    Verdict.FAIL: (
        "A file, the record or its signature is not what it should be. What failed stands below, first; what "
        "the rest of this report repeats from the record may have been altered as well."
    ),
    Verdict.UNABLE: (
        "Something that is needed to decide was missing when this report was made, such as the original or "
        "the signer's root certificate. What could not be checked stands below."
    ),
}

STANDING = (
    "Not for identification on its own. The restored picture is an estimate made by a neural network: it "
    "shows what the source most likely looked like before it was degraded, not what was seen. It serves to "
    "find leads and to read together with the source, never as the only ground to say who or what is shown."
)

LIMITS = (
    "What the source does not hold cannot come back; where it says little, the result is mostly the "
    "network's expectation of what pictures usually look like.",
    "It can be wrong and look right, above all in small letters and digits, number plates and faces. No "
    "character should be read from the result that cannot at least be guessed in the source.",
    "A verdict of pass says that the record is whole and that the files belong together. It does not say "
    "that the source is authentic, nor that the scene looked like the result.",
    "The edit map shows how much a pixel changed, not whether the change is right. The confidence map is "
    "only as good as its guarantee, stated with it; a narrow interval is no proof.",
    "The time of the record is the clock of the machine that ran, confirmed only where the check timestamp "
    "says so. The log proves order and presence, not time.",
)

OPERATIONS = {
    "route": (
        "route: chooses the model and changes no pixel. On up to nine evenly spread tiles of the source the "
        "model named in the step estimates noise and compression; the median noise, compared with a fixed "
        "limit, another one for compressed pictures, decides which of two models restores. What is noisy "
        "and, once the noise is taken from the tiles, soft, both restore, one after the other (where the "
        "step has soft_tiles, so many tiles are asked for that, those with the most detail); what is noisy "
        "and nothing else, in colour, a third restores, or one for strong noise where the step states "
        "that, what is grey, unless it is only soft, a model for grey pictures; of all of them there is a "
        "form for small pictures. Where the picture is to be enlarged, one of the first two restores it "
        "before, unless both estimates are below limits of their own; then the other model says how soft the "
        "picture is, and restores it before if it is. All of it is in whole numbers and is decided again "
        "by verify."
    ),
    "restore_small": (
        "restore_small: as restore, below, but in the size that the source came in, where the picture is "
        "restored again afterwards, enlarged or not: noise and the remains of compression are told from the "
        "picture best where one pixel of the file is one pixel of the picture, and softness where there is "
        "no noise. What this step has taken away by mistake, the later ones do not know."
    ),
    "enlarge": (
        "enlarge: every sample of the larger picture is a weighted sum of 4 x 4 samples of the smaller one, "
        "with the cubic convolution kernel (a = -0.75) [1], computed in whole numbers. It adds no detail; it "
        "gives the network room."
    ),
    "restore": (
        "restore: a convolutional network in the shape of a U-Net [2]: the picture is brought to ever lower "
        "resolution and back, with connections across. Where the resolution is low, attention within "
        "shifted windows (Swin Transformer [3]) lets a pixel depend on its wider surroundings. The network "
        "gives a correction that is added to the picture, and for each pixel an interval. It was trained on "
        "pairs of clean and artificially degraded pictures: the correction by the Charbonnier loss or the "
        "logarithm of the squared error (the model's card says which) [4], the interval by the quantile "
        "(pinball) loss at 5 % and 95 % [5]. Where the step says so, the network looks at the picture in "
        "eight views, turned and mirrored, in some programs with the colours' channels in another order as "
        "well, and the correction is the mean of the eight [10]. With exact arithmetic the trained network "
        "is a program of whole-number operations, so that every machine computes the same pixels."
    ),
    "agree_with_compression": (
        "agree_with_compression: the pixels of the source show that it was compressed as JPEG [11]: of every "
        "block of 8 x 8 pixels the coefficients of luma lie near whole steps, and before they were rounded "
        "they lay within half a step of these. Where the result leaves that, it is brought back to within "
        "the part of a step that the plan states (projection onto a narrow quantisation constraint set "
        "[12]). Where the plan has a half_way_step, large coefficients are drawn towards the whole step "
        "first: the shorter the step, the more. Neither is done if so many coefficients leave their "
        "intervals that the picture must have been noisy, soft or compressed before; a finding says which. "
        "It is computed in whole numbers."
    ),
    "restore_external": (
        "restore_external: a neural network made by others, of the architecture and the file that the step "
        "names, on overlapping tiles that are blended linearly. It computes in floating point, so its result "
        "repeats within a tolerance. What it was trained on, how it errs and where it fails are not known to "
        "this program."
    ),
}
"""By the name that the plan gives to an operation."""

MAPS = (
    "The edit map is the colour difference CIEDE2000 [6] between the source and the result, pixel by pixel, "
    "both taken as sRGB under D65. A difference of 1 is just visible side by side, 2.3 just noticeable, 5 "
    "plain."
)

ALGORITHMS = (
    "Hashes are SHA-256. A pixel hash is taken over the decoded samples with their size, so that it does not "
    "depend on the file format. The record is signed and logged in its canonical JSON form (RFC 8785 [7]); "
    "the log is a Merkle tree (RFC 9162 [8]); the claim inside the result file follows C2PA [9]."
)

REFERENCES = (
    "[1] R. Keys. Cubic convolution interpolation for digital image processing. IEEE Transactions on "
    "Acoustics, Speech, and Signal Processing 29 (1981) 1153.",
    "[2] O. Ronneberger, P. Fischer, T. Brox. U-Net: Convolutional networks for biomedical image "
    "segmentation. MICCAI 2015. The variant for restoration: K. Zhang et al. Plug-and-play image restoration "
    "with deep denoiser prior (DRUNet). IEEE TPAMI 2021.",
    "[3] Z. Liu et al. Swin Transformer: Hierarchical vision transformer using shifted windows. ICCV 2021.",
    "[4] P. Charbonnier et al. Two deterministic half-quadratic regularization algorithms for computed "
    "imaging. ICIP 1994. As a loss: W.-S. Lai et al. Deep Laplacian pyramid networks. CVPR 2017. The "
    "logarithm: L. Chen et al. Simple baselines for image restoration (NAFNet). ECCV 2022.",
    "[5] R. Koenker, G. Bassett. Regression quantiles. Econometrica 46 (1978) 33.",
    "[6] G. Sharma, W. Wu, E. N. Dalal. The CIEDE2000 color-difference formula. Color Research & Application "
    "30 (2005) 21.",
    "[7] A. Rundgren, B. Jordan, S. Erdtman. JSON Canonicalization Scheme. RFC 8785, 2020.",
    "[8] B. Laurie, E. Messeri, R. Stradling. Certificate Transparency Version 2.0. RFC 9162, 2021.",
    "[9] Coalition for Content Provenance and Authenticity. Technical Specification 2.2, 2025.",
    "[10] R. Timofte, R. Rothe, L. Van Gool. Seven ways to improve example-based single image super "
    "resolution. CVPR 2016.",
    "[11] ITU-T Recommendation T.81. Digital compression and coding of continuous-tone still images, 1992.",
    "[12] S. H. Park, D. S. Kim. Theory of projection onto the narrow quantization constraint set and its "
    "application. IEEE Transactions on Image Processing 8 (1999) 1361.",
)
