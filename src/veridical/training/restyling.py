"""A contrast asked for in the style of one scanner, from what another scanner shows of it."""

from __future__ import annotations

import numpy as np

from veridical.conditioning.request import RESTYLED, Request
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.style import curve
from veridical.training.prepared_visits import Slab
from veridical.types import Array


def restyling(
    slab: Slab, elsewhere: Slab, shown: Array, preprocessing: Preprocessing
) -> tuple[Request, Array]:
    """Return the request and its truth `(y, x)`.

    Args:
        slab: as the scanner shows it whose style is asked for.
        elsewhere: one contrast of it as another scanner shows it.
        shown: `(3, y, x)`, the images of that contrast with what this scanner does to them.
        preprocessing: of the network.
    """
    made = elsewhere.names[0]
    truth = np.ascontiguousarray(slab.images[slab.names.index(made), 0], np.float32)
    style, shown = slab.styles[made], np.asarray(shown, np.float32)
    initial = curve(shown[0], elsewhere.styles[made], style)
    support = preprocessing.foreground(made, truth).astype(np.float32)
    return Request(made, initial, RESTYLED, support, {made: shown}, styles={made: style}), truth
