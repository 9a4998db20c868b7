"""Target volumes, their prescribed doses, and organs at risk of head-and-neck plans, by the names
of OpenKBP (Babier et al., Medical Physics 2021, 10.1002/mp.14845).
"""

from __future__ import annotations

ORGANS = (
    "Brainstem",
    "SpinalCord",
    "RightParotid",
    "LeftParotid",
    "Esophagus",
    "Larynx",
    "Mandible",
)
TARGETS: dict[str, float] = {"PTV56": 56.0, "PTV63": 63.0, "PTV70": 70.0}
"""Planning target volume -> prescribed dose, Gy."""
STRUCTURES = (*ORGANS, *TARGETS)
"""In the order of their bits."""
ALLOWED = "possible_dose"
"""Name of the mask of where dose may be."""
