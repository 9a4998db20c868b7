"""Shape of a structure, as the Image Biomarker Standardisation Initiative (IBSI) defines it.

Section 3.1 of the IBSI reference manual, arXiv 1612.07003: the surface is a mesh of marching cubes
halfway between voxel centres, axes are those of the voxel centres' covariance.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.types import Array


def shape(structure: Array, spacing: tuple[float, float, float]) -> dict[str, float]:
    """Return 15 morphological features of a structure.

    Args:
        structure: bool `(x, y, z)`, at least one voxel.
        spacing: voxel size in mm.

    Returns: IBSI name -> value in mm, mm^2, mm^3 or without unit. A single voxel has axes of length
        0 and, having no longest axis, elongation and flatness 1.

    Raises:
        GeometryError: not three axes.
        InputError: not bool, or empty.
        UnitsError: spacing is not three finite numbers above 0.
    """
    if structure.ndim != 3:
        raise GeometryError(
            f"A structure of shape {structure.shape} was given; expected (x, y, z). Add an axis of "
            "length 1."
        )
    if structure.dtype != np.bool_ or not structure.any():
        raise InputError(
            f"A structure of type {structure.dtype} with {np.count_nonzero(structure)} voxels was "
            "given; expected bool with at "
            "least one. Pick one label: labels == 2."
        )
    if len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise UnitsError(
            f"A spacing of {tuple(spacing)} was given; expected three voxel sizes above 0, in mm."
        )
    places = np.argwhere(structure)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    volume, area, diameter = _mesh(
        structure[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], spacing
    )
    roundness = 36 * np.pi * volume**2 / area**3
    centred = (places - places.mean(axis=0)) * np.asarray(spacing)
    spread = np.clip(np.linalg.eigvalsh(centred.T @ centred / max(len(places) - 1, 1)), 0, None)
    least, minor, major = 4 * np.sqrt(spread)
    return {
        "morph_volume": volume,
        "morph_approximate_volume": float(len(places) * np.prod(spacing)),
        "morph_surface_area": area,
        "morph_surface_to_volume_ratio": area / volume,
        "morph_compactness_1": volume / (np.pi**0.5 * area**1.5),
        "morph_compactness_2": roundness,
        "morph_spherical_disproportion": roundness ** (-1 / 3),
        "morph_sphericity": roundness ** (1 / 3),
        "morph_asphericity": roundness ** (-1 / 3) - 1,
        "morph_maximum_3d_diameter": diameter,
        "morph_major_axis_length": float(major),
        "morph_minor_axis_length": float(minor),
        "morph_least_axis_length": float(least),
        "morph_elongation": float(minor / major) if major else 1.0,
        "morph_flatness": float(least / major) if major else 1.0,
    }


def _mesh(structure: Array, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return volume, area and largest distance between two vertices of the surface mesh."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(
        np.pad(structure, 1).astype(np.float32), 0.5, spacing=spacing
    )
    a, b, c = np.moveaxis(vertices.astype(np.float64)[faces], 1, 0)
    volume = (
        abs(
            float(np.einsum("ij,ij->", a - vertices[0], np.cross(b - vertices[0], c - vertices[0])))
        )
        / 6
    )
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
    return volume, area, float(pdist(vertices[ConvexHull(vertices).vertices]).max())
