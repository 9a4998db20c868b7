"""Where the real training data lie, and under which licences."""

from __future__ import annotations

import os
from pathlib import Path

LICENCES = {
    "cohort": "made by this package from the MNI152 template",
    "openms": "CC BY (Lesjak et al. 2016)",
    "ixi": "CC BY-SA 3.0",
    "sarcoma": "CC BY 3.0",
    "sarcoma-mr": "CC BY 3.0",
    "sarcoma-ct": "CC BY 3.0",
    "sarcoma-pet": "CC BY 3.0",
    "lgg": "TCIA TCGA-LGG, masks non-commercial: weights trained on it are for benchmarks and do not ship",
}


def data_root() -> Path:
    """Return the folder of real data: `VERIDICAL_DATA`, or `../shared/data` beside the working folder."""
    return Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))
