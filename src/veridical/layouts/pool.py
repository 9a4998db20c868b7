"""The public sets that recipes name: where they lie below the folder of real data, and under which
licence.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import InputError


@dataclass(frozen=True)
class PublicSet:
    """A set that recipes call by name.

    Args:
        places: folders below the data root, or below `training_data` beside it.
        licence: with its source.
        may_ship: whether weights trained on it may be passed on.
    """

    places: tuple[str, ...]
    licence: str
    may_ship: bool = True


SETS = {
    "openms": PublicSet(("openms", "openms_longitudinal_raw"), "CC BY (Lesjak et al. 2016)"),
    "ixi": PublicSet(("ixi_t1_2mm",), "CC BY-SA 3.0"),
    "sarcoma": PublicSet(("sts_mr_ct_pet",), "CC BY 3.0"),
    "head-ct": PublicSet(("ct_head_ge",), "BSD"),
    "openkbp": PublicSet(("openkbp",), "MIT (Babier et al. 2021)"),
    "lgg": PublicSet(
        ("lgg_tcga",),
        "TCIA TCGA-LGG, masks non-commercial: such weights are for benchmarks",
        may_ship=False,
    ),
}


def data_root() -> Path:
    """Return the folder of real data: `VERIDICAL_DATA`, or `../shared/data` beside the working
    folder.
    """
    return Path(os.environ.get("VERIDICAL_DATA", "../shared/data"))


def folders(source: str) -> list[Path]:
    """Return the folders of a set by name, or the folder of a path.

    Raises:
        InputError: none of them is there.
    """
    if source not in SETS:
        return [Path(source)]
    roots = (data_root(), data_root().parent / "training_data")
    found = [
        root / place for root in roots for place in SETS[source].places if (root / place).is_dir()
    ]
    if not found:
        raise InputError(
            f"{data_root()} holds nothing of {source!r}. Set VERIDICAL_DATA to the folder of real "
            "data."
        )
    return found
