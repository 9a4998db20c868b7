"""The command that opens the web app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from veridical.terms import ENVIRONMENT, Terms

Switch = Annotated[bool, Parameter(negative=())]
TERMS = Group("Terms: what may be written, and where it is noted", sort_key=2)


def web(
    *paths: Path,
    folder: Path = Path("veridical-web"),
    port: int = 0,
    no_browser: Switch = False,
    no_demo: Switch = False,
    terms: Annotated[Terms, Parameter(name="*", group=TERMS)] = ENVIRONMENT,
) -> None:
    """Open the viewer and the jobs in a browser; the demo case is open first.

    Only this machine can reach it, and only with the address that is printed. Nothing is sent
    anywhere. Ctrl-C ends it.

    Args:
        paths: files or folders to open: NIfTI, DICOM, raw data, results, data sets.
        folder: for what is handed in and made; it holds patient data, delete it when you are done.
        port: to listen on; a free one when 0.
        no_browser: print the address and open no browser.
        no_demo: leave out the demo case.
    """
    from veridical.apps.web.serve import serve

    serve(paths, folder, port, not no_browser, not (no_demo or paths), terms)
