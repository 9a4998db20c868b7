"""A DICOM file opened without believing it: lengths that it claims for its entries, and syntaxes
that hide its size.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from veridical.errors import FormatError

DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
"""Transfer syntaxes that are inflated as a whole before the first entry is known."""
PREAMBLE = 132


class BoundedFile(io.BufferedReader):
    """A file that never reads past its end: Python reserves what is asked for, and 12 bytes of
    DICOM can ask for 4 GiB.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, at most those that there are."""
        left = max(0, self.size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def dataset_of(path: Path, **options: Any) -> Any:
    """Read a file with pydicom.

    Args:
        path: of the file.
        options: of `pydicom.dcmread`.

    Raises:
        FormatError: it is deflated.
        Exception: whatever pydicom raises for a damaged file: `dicom_slice.DAMAGE` and its own.
    """
    import pydicom
    from pydicom import config, filereader

    with config.disable_value_validation(), warnings.catch_warnings(), BoundedFile(path) as file:
        warnings.simplefilter("ignore")
        file.seek(PREAMBLE)
        meta = filereader.read_dataset(file, False, True, stop_when=_after_meta)
        if str(meta.get("TransferSyntaxUID")) in DEFLATED:
            raise FormatError(
                f"{path} is deflated, which hides its size. Write it uncompressed first: "
                "dcmconv +te in.dcm out.dcm."
            )
        file.seek(0)
        return pydicom.dcmread(file, **options)


def _after_meta(tag: Any, *_: Any) -> bool:
    return bool(int(tag) >> 16 != 2)


@contextmanager
def panics_caught() -> Iterator[None]:
    """Turn the panic of a decoder written in Rust into a ValueError: it is no Exception, and would
    end the process.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the decoder stumbled: {error}") from error
