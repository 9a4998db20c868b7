"""Radiomics of the Image Biomarker Standardisation Initiative (IBSI): one row of first-order and
texture features an image.

Zwanenburg et al., Radiology 2020 (10.1148/radiol.2020191145); reference manual arXiv 1612.07003.
"""

from __future__ import annotations

import numpy as np

from veridical.features.about import Extractor
from veridical.features.first_order import intensity_histogram, intensity_statistics
from veridical.features.region import checked
from veridical.features.texture_features import Dimensions, texture
from veridical.features.texture_matrices import discretise
from veridical.types import Array

PLAIN = (
    "stat_mean",
    "stat_skewness",
    "stat_excess_kurtosis",
    "stat_median",
    "stat_10th_percentile",
    "stat_90th_percentile",
    "ih_entropy",
    "glcm_joint_entropy",
    "glcm_difference_entropy",
    "glcm_sum_entropy",
    "glcm_correlation",
    "glcm_first_measure_of_information_correlation",
    "glcm_second_measure_of_information_correlation",
    "glrlm_run_entropy",
    "glszm_zone_size_entropy",
    "ngldm_dependence_count_entropy",
)
"""What a row holds as it is: locations within the window, shape of the histogram, correlations,
entropies.
"""

LOGGED = (
    "stat_variance",
    "stat_interquartile_range",
    "stat_mean_absolute_deviation",
    "stat_robust_mean_absolute_deviation",
    "ih_uniformity",
    "glcm_joint_maximum",
    "glcm_joint_variance",
    "glcm_difference_average",
    "glcm_difference_variance",
    "glcm_sum_variance",
    "glcm_angular_second_moment",
    "glcm_contrast",
    "glcm_inverse_difference",
    "glcm_inverse_variance",
    "glcm_autocorrelation",
    "glcm_cluster_prominence",
    "glrlm_short_runs_emphasis",
    "glrlm_long_runs_emphasis",
    "glrlm_low_grey_level_run_emphasis",
    "glrlm_high_grey_level_run_emphasis",
    "glrlm_short_run_low_grey_level_emphasis",
    "glrlm_short_run_high_grey_level_emphasis",
    "glrlm_long_run_low_grey_level_emphasis",
    "glrlm_long_run_high_grey_level_emphasis",
    "glrlm_normalised_grey_level_non_uniformity",
    "glrlm_run_percentage",
    "glrlm_grey_level_variance",
    "glrlm_run_length_variance",
    "glszm_small_zone_emphasis",
    "glszm_large_zone_emphasis",
    "glszm_low_grey_level_zone_emphasis",
    "glszm_high_grey_level_zone_emphasis",
    "glszm_small_zone_low_grey_level_emphasis",
    "glszm_small_zone_high_grey_level_emphasis",
    "glszm_large_zone_low_grey_level_emphasis",
    "glszm_large_zone_high_grey_level_emphasis",
    "glszm_normalised_grey_level_non_uniformity",
    "glszm_zone_percentage",
    "glszm_grey_level_variance",
    "ngtdm_coarseness",
    "ngtdm_contrast",
    "ngtdm_busyness",
    "ngtdm_complexity",
    "ngtdm_strength",
    "ngldm_low_dependence_emphasis",
    "ngldm_high_dependence_emphasis",
    "ngldm_low_grey_level_count_emphasis",
    "ngldm_low_dependence_low_grey_level_emphasis",
    "ngldm_low_dependence_high_grey_level_emphasis",
    "ngldm_high_dependence_low_grey_level_emphasis",
    "ngldm_high_dependence_high_grey_level_emphasis",
    "ngldm_normalised_dependence_count_non_uniformity",
    "ngldm_dependence_count_variance",
    "ngldm_dependence_count_energy",
)
"""What a row holds as a decimal logarithm: sizes from millionths to millions, whose ratios matter.

Left out: what only counts voxels (energy, non-uniformities), what the window cuts off (minimum,
maximum), what is divided by a mean intensity that may be 0, and what another feature follows
closely."""

NAMES = (*PLAIN, *(f"log10_{name}" for name in LOGGED))
LEAST = 1e-9
"""What is smaller counts as this, so that a variance of 0 has a logarithm."""

ABOUT = Extractor(
    "IBSI radiomics",
    len(NAMES),
    "Zwanenburg A, Vallières M, Abdalah MA, et al. The Image Biomarker Standardization Initiative: "
    "standardized quantitative "
    "radiomics for high-throughput image-based phenotyping. Radiology 2020;295:328-338",
)


def radiomics(
    image: Array,
    *,
    mask: Array | None,
    spacing: tuple[float, float, float],
    window: tuple[float, float],
) -> Array:
    """Return one row of radiomics: intensities as shares of the window, cut to it, 32 grey levels,
    matrices 3D and merged.

    Args: image: real, `(x, y, z)`; z may be 1. mask: bool, `(x, y, z)`, the voxels that count; None
        for all. spacing: voxel size in mm; texture is counted in voxels, so images of one
        comparison need one spacing. window: lowest and highest intensity, one for all images of a
        comparison.

    Returns: `(1, 70)` float64, in the order of `NAMES`. Between images of one kind most columns
        vary by some hundredths to some tenths, so that the distance of two rows is not that of a
        few columns. All are finite; what a constant region has, `features` says.

    Raises:
        As `features`.
    """
    checked(image, mask, window)
    share = (np.asarray(image, dtype=np.float64) - window[0]) / (window[1] - window[0])
    found = features(share, mask=mask, window=(0.0, 1.0))
    logarithms = np.log10(np.maximum([found[name] for name in LOGGED], LEAST))
    return np.concatenate([[found[name] for name in PLAIN], logarithms])[None]


def features(
    image: Array,
    *,
    mask: Array | None,
    window: tuple[float, float],
    levels: int = 32,
    width: float | None = None,
    dimensions: Dimensions = "3D",
    merged: bool = True,
) -> dict[str, float]:
    """Return all 136 IBSI features of intensity, histogram and texture by their names.

    Args: image, mask, window: as in `radiomics`. Intensities outside of the window count as its
        ends. levels: grey levels of equal width over the window (fixed bin number). width: width of
        a grey level in the image's unit, from the window's lower end (fixed bin size); replaces
        `levels`. dimensions: 2D averages features of slices (x-y planes), 2.5D sums their matrices,
        3D takes the volume as one. An image of one slice has no third dimension and is 2D. merged:
        sum GLCM and GLRLM over directions; else their features are averaged over directions.

    Returns: Name -> value: `stat_` (18), `ih_` (23), `glcm_` (25), `glrlm_`, `glszm_`, `gldzm_` (16
        each), `ngtdm_` (5), `ngldm_` (17). In a constant region skewness, kurtosis and NGTDM
        contrast, busyness and strength are 0 and coarseness is 1e6 (IBSI); GLCM correlation is 1,
        the measures of information correlation 0.

    Raises: GeometryError: not three axes, or a mask of another shape. InputError: complex values,
        NaN or infinity where it counts, an empty mask, or one of which no two voxels touch.
        UnitsError: the window is not low < high. SettingError: fewer than 1 or more than 255 grey
        levels.
    """
    counted = checked(image, mask, window)
    values = np.clip(image[counted], *window)
    region = discretise(image, counted, window, levels, width)
    grey = region.block[region.block > 0]
    within = "2D" if image.shape[2] == 1 else dimensions
    return (
        intensity_statistics(values)
        | intensity_histogram(grey, region.number)
        | texture(region, within, merged)
    )
