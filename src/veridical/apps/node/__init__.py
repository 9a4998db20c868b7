"""A DICOM node: receives series, runs tasks on them, and sends the results on."""
