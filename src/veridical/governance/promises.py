"""What may be promised of a result, and what not; pages and templates say it in these words."""

PROMISES = (
    "An interval holds its level on average over the foreground, for patients exchangeable with "
    "the calibration patients: not for each voxel, not for each patient, not after a shift.",
    "Consistency says that the image agrees with the measured data to within the noise. It says "
    "nothing of what was not measured: a structure there may be imagined.",
    "A check that passes did not find what it looks for; its reason says what it can find.",
)
