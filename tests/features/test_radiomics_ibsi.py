"""Published values: the digital phantom of the Image Biomarker Standardisation Initiative
(reference manual, arXiv 1612.07003).

The manual gives three significant digits and no tolerance for the phantom's intensities and
textures, which are exact; shape depends on the mesh and has a tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest

from veridical.features.morphology import shape
from veridical.features.radiomics import features
from veridical.types import Array

SLICES = """
1 4 4 1 1 | 1 4 6 1 1 | 4 1 6 4 1 | 4 4 6 4 1
1 4 4 1 1 | 1 1 6 1 1 | - 1 3 1 1 | 4 4 6 1 1
1 4 4 - - | 1 1 1 1 1 | 1 1 - 1 1 | 1 1 6 1 1
1 4 4 - - | 1 1 1 1 1 | 1 1 1 1 1 | 1 1 6 1 1
"""
"""z in lines, y between bars, x within; `-` is outside of the region. Voxels of 2 mm."""

FIRST_ORDER = """
stat_mean                                2.15
stat_variance                            3.05
stat_skewness                            1.08
stat_excess_kurtosis                     -0.355
stat_median                              1
stat_minimum                             1
stat_10th_percentile                     1
stat_90th_percentile                     4
stat_maximum                             6
stat_interquartile_range                 3
stat_range                               5
stat_mean_absolute_deviation             1.55
stat_robust_mean_absolute_deviation      1.11
stat_median_absolute_deviation           1.15
stat_coefficient_of_variation            0.812
stat_quartile_coefficient_of_dispersion  0.6
stat_energy                              567
stat_root_mean_square                    2.77
ih_mean                                  2.15
ih_variance                              3.05
ih_skewness                              1.08
ih_excess_kurtosis                       -0.355
ih_median                                1
ih_minimum                               1
ih_10th_percentile                       1
ih_90th_percentile                       4
ih_maximum                               6
ih_interquartile_range                   3
ih_range                                 5
ih_mean_absolute_deviation               1.55
ih_robust_mean_absolute_deviation        1.11
ih_median_absolute_deviation             1.15
ih_coefficient_of_variation              0.812
ih_quartile_coefficient_of_dispersion    0.6
ih_mode                                  1
ih_entropy                               1.27
ih_uniformity                            0.512
ih_maximum_histogram_gradient            8
ih_maximum_histogram_gradient_intensity  3
ih_minimum_histogram_gradient            -50
ih_minimum_histogram_gradient_intensity  1
"""

AGGREGATIONS = [
    ("2D", False),
    ("2D", True),
    ("2.5D", False),
    ("2.5D", True),
    ("3D", False),
    ("3D", True),
]
"""Dimensions, and whether the directions are merged; the columns of the next table."""

BY_DIRECTION = """
glcm_joint_maximum                                0.519    0.512    0.489    0.492    0.503    0.509
glcm_joint_average                                 2.14     2.14      2.2      2.2     2.14     2.15
glcm_joint_variance                                2.69     2.71     3.22     3.24      3.1     3.13
glcm_joint_entropy                                 2.05     2.24     2.48     2.61      2.4     2.57
glcm_difference_average                            1.42      1.4     1.46     1.44     1.43     1.38
glcm_difference_variance                            2.9     3.06     3.11     3.23     3.06     3.21
glcm_difference_entropy                             1.4     1.49     1.61     1.67     1.56     1.64
glcm_sum_average                                   4.28     4.29     4.41     4.41     4.29      4.3
glcm_sum_variance                                  5.47     5.66     7.48     7.65     7.07     7.41
glcm_sum_entropy                                    1.6     1.79     2.01     2.14     1.92     2.11
glcm_angular_second_moment                        0.368    0.352    0.286    0.277    0.303    0.291
glcm_contrast                                      5.28     5.19     5.39     5.29     5.32     5.12
glcm_dissimilarity                                 1.42      1.4     1.46     1.44     1.43     1.38
glcm_inverse_difference                           0.678    0.683    0.668    0.673    0.677    0.688
glcm_normalised_inverse_difference                0.851    0.854    0.847     0.85    0.851    0.856
glcm_inverse_difference_moment                    0.619    0.625    0.606    0.613    0.618    0.631
glcm_normalised_inverse_difference_moment         0.899    0.901    0.897    0.899    0.898    0.902
glcm_inverse_variance                            0.0567   0.0553   0.0597   0.0582   0.0604   0.0574
glcm_correlation                                -0.0121   0.0173    0.178    0.182    0.157    0.183
glcm_autocorrelation                               5.09     5.14      5.4     5.45     5.06     5.19
glcm_cluster_tendency                              5.47     5.66     7.48     7.65     7.07     7.41
glcm_cluster_shade                                    7     6.98     16.6     16.4     16.6     17.4
glcm_cluster_prominence                            79.1     80.4      147      142      145      147
glcm_first_measure_of_information_correlation    -0.155  -0.0341   -0.124  -0.0334   -0.157  -0.0288
glcm_second_measure_of_information_correlation    0.487    0.263    0.487    0.291     0.52    0.269
glrlm_short_runs_emphasis                     0.641    0.661    0.665     0.68    0.705    0.729
glrlm_long_runs_emphasis                       3.78     3.51     3.46     3.27     3.06     2.76
glrlm_low_grey_level_run_emphasis             0.604    0.609     0.58    0.585    0.603    0.607
glrlm_high_grey_level_run_emphasis             9.82     9.74     10.3     10.2      9.7     9.64
glrlm_short_run_low_grey_level_emphasis       0.294    0.311    0.296    0.312    0.352    0.372
glrlm_short_run_high_grey_level_emphasis       8.57     8.67     9.03     9.05     8.54     8.67
glrlm_long_run_low_grey_level_emphasis         3.14     2.92     2.79     2.63     2.39     2.16
glrlm_long_run_high_grey_level_emphasis        17.4     16.1     17.9       17     17.6     15.6
glrlm_grey_level_non_uniformity                 5.2     20.5     19.5     77.1     21.8      281
glrlm_normalised_grey_level_non_uniformity     0.46    0.456    0.413    0.412     0.43     0.43
glrlm_run_length_non_uniformity                6.12     21.6     22.3     83.2     26.9      328
glrlm_normalised_run_length_non_uniformity    0.492    0.441    0.461    0.445    0.513    0.501
glrlm_run_percentage                          0.627    0.627    0.632    0.632     0.68     0.68
glrlm_grey_level_variance                      3.35     3.37     3.58     3.59     3.46     3.48
glrlm_run_length_variance                     0.761    0.778    0.758    0.767    0.574    0.598
glrlm_run_entropy                              2.17     2.57     2.52     2.76     2.43     2.62
"""

BY_REGION = """
glszm_small_zone_emphasis                     0.363    0.368    0.255
glszm_large_zone_emphasis                      43.9     34.2      550
glszm_low_grey_level_zone_emphasis            0.371    0.368    0.253
glszm_high_grey_level_zone_emphasis            16.4     16.2     15.6
glszm_small_zone_low_grey_level_emphasis     0.0259   0.0295   0.0256
glszm_small_zone_high_grey_level_emphasis      10.3     9.87     2.76
glszm_large_zone_low_grey_level_emphasis       40.4     30.6      503
glszm_large_zone_high_grey_level_emphasis       113      107     1490
glszm_grey_level_non_uniformity                1.41     5.44      1.4
glszm_normalised_grey_level_non_uniformity    0.323    0.302     0.28
glszm_zone_size_non_uniformity                 1.49     3.44        1
glszm_normalised_zone_size_non_uniformity     0.333    0.191      0.2
glszm_zone_percentage                          0.24    0.243   0.0676
glszm_grey_level_variance                      3.97     3.92     2.64
glszm_zone_size_variance                         21     17.3      331
glszm_zone_size_entropy                        1.93     3.08     2.32
gldzm_small_distance_emphasis                    0.946    0.917        1
gldzm_large_distance_emphasis                     1.21     1.33        1
gldzm_low_grey_level_zone_emphasis               0.371    0.368    0.253
gldzm_high_grey_level_zone_emphasis               16.4     16.2     15.6
gldzm_small_distance_low_grey_level_emphasis     0.367    0.362    0.253
gldzm_small_distance_high_grey_level_emphasis     15.2     14.3     15.6
gldzm_large_distance_low_grey_level_emphasis     0.386    0.391    0.253
gldzm_large_distance_high_grey_level_emphasis     21.3     23.7     15.6
gldzm_grey_level_non_uniformity                   1.41     5.44      1.4
gldzm_normalised_grey_level_non_uniformity       0.323    0.302     0.28
gldzm_zone_distance_non_uniformity                3.79     14.4        5
gldzm_normalised_zone_distance_non_uniformity    0.898    0.802        1
gldzm_zone_percentage                             0.24    0.243   0.0676
gldzm_grey_level_variance                         3.97     3.92     2.64
gldzm_zone_distance_variance                     0.051   0.0988        0
gldzm_zone_distance_entropy                       1.73        2     1.92
ngtdm_coarseness    0.121   0.0285   0.0296
ngtdm_contrast      0.925    0.601    0.584
ngtdm_busyness       2.99      6.8     6.54
ngtdm_complexity     10.4     14.1     13.5
ngtdm_strength       2.88    0.741    0.763
ngldm_low_dependence_emphasis                       0.158    0.159    0.045
ngldm_high_dependence_emphasis                       19.2     18.8      109
ngldm_low_grey_level_count_emphasis                 0.702    0.693    0.693
ngldm_high_grey_level_count_emphasis                 7.49     7.66     7.66
ngldm_low_dependence_low_grey_level_emphasis       0.0473   0.0477  0.00963
ngldm_low_dependence_high_grey_level_emphasis        3.06     3.07    0.736
ngldm_high_dependence_low_grey_level_emphasis        17.6     17.2      102
ngldm_high_dependence_high_grey_level_emphasis       49.5     50.8      235
ngldm_grey_level_non_uniformity                      10.2     37.9     37.9
ngldm_normalised_grey_level_non_uniformity          0.562    0.512    0.512
ngldm_dependence_count_non_uniformity                3.96     12.4     4.86
ngldm_normalised_dependence_count_non_uniformity    0.212    0.167   0.0657
ngldm_dependence_count_percentage                       1        1        1
ngldm_grey_level_variance                             2.7     3.05     3.05
ngldm_dependence_count_variance                      2.73     3.27     22.1
ngldm_dependence_count_entropy                       2.71     3.36      4.4
ngldm_dependence_count_energy                        0.17    0.122   0.0533
"""
"""Columns: 2D, 2.5D, 3D."""

SHAPE = {
    "morph_volume": (556, 4),
    "morph_approximate_volume": (592, 4),
    "morph_surface_area": (388, 3),
    "morph_surface_to_volume_ratio": (0.698, 0.004),
    "morph_compactness_1": (0.0411, 0.0003),
    "morph_compactness_2": (0.599, 0.004),
    "morph_spherical_disproportion": (1.19, 0.01),
    "morph_sphericity": (0.843, 0.005),
    "morph_asphericity": (0.186, 0.001),
    "morph_maximum_3d_diameter": (13.1, 0.1),
    "morph_major_axis_length": (11.4, 0.1),
    "morph_minor_axis_length": (9.31, 0.06),
    "morph_least_axis_length": (8.54, 0.05),
    "morph_elongation": (0.816, 0.005),
    "morph_flatness": (0.749, 0.005),
}
"""Value and tolerance, from voxels of 2 mm."""


def phantom() -> tuple[Array, Array]:
    """The phantom's intensities and its region, `(x, y, z)`."""
    lines = [[row.split() for row in line.split("|")] for line in SLICES.split("\n") if line]
    grey = np.array([[[0 if v == "-" else int(v) for v in row] for row in line] for line in lines])
    return grey.transpose(2, 1, 0).astype(np.float32), grey.transpose(2, 1, 0) > 0


def table(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.split("\n") if line}


def differing(found: dict[str, float], published: dict[str, str]) -> dict[str, tuple[float, str]]:
    """What is not the published value when rounded to its three significant digits."""
    return {
        name: (found[name], said)
        for name, said in published.items()
        if float(f"{found[name]:.3g}") != float(said)
    }


@pytest.mark.parametrize(("dimensions", "merged"), AGGREGATIONS)
@pytest.mark.parametrize("binning", [{"levels": 6}, {"width": 1.0}], ids=["bin number", "bin size"])
def test_the_phantom_has_the_published_intensity_and_texture_features(
    dimensions: str, merged: bool, binning: dict
) -> None:
    image, mask = phantom()
    found = features(
        image, mask=mask, window=(1, 6), dimensions=dimensions, merged=merged, **binning
    )
    column, region = (
        AGGREGATIONS.index((dimensions, merged)),
        ("2D", "2.5D", "3D").index(dimensions),
    )
    published = {name: said[0] for name, said in table(FIRST_ORDER).items()}
    published |= {name: said[column] for name, said in table(BY_DIRECTION).items()}
    published |= {name: said[region] for name, said in table(BY_REGION).items()}
    assert set(published) == set(found), "every feature that is computed is checked"
    assert not differing(found, published)


def test_averaged_and_merged_directions_are_told_apart_in_the_published_values() -> None:
    for name, said in table(BY_DIRECTION).items():
        if name not in (
            "glrlm_run_percentage",
            "glrlm_normalised_grey_level_non_uniformity",
            "glcm_joint_average",
        ):
            assert said[4] != said[5], name


def test_the_phantom_has_the_published_shape() -> None:
    found = shape(phantom()[1], (2.0, 2.0, 2.0))
    assert set(found) == set(SHAPE)
    for name, (value, tolerance) in SHAPE.items():
        assert abs(found[name] - value) <= tolerance, (name, found[name])
