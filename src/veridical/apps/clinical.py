"""The commands for DICOM: results as DICOM objects, and objects without identities."""

from __future__ import annotations

import json as encoding
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from veridical.terms import ENVIRONMENT, Terms

Switch = Annotated[bool, Parameter(negative=())]


def dicom(
    result: Path,
    output: Path,
    /,
    *,
    source: tuple[Path, ...],
    mark: Switch = False,
    overwrite: Switch = False,
    json: Switch = False,
    terms: Annotated[Terms, Parameter(name="*")] = ENVIRONMENT,
) -> None:
    """Write a stored result as DICOM objects beside the series it was made from.

    A derived series, maps of interval width and evidence, segmentations and a report, in the
    patient's study. The same result gives the same objects. Needs the extra clinical.

    Args:
        result: its folder, with the provenance.json.
        output: folder for the objects; made when missing.
        source: folder or file of the DICOM series. Repeat the flag for several.
        mark: burn RESEARCH ONLY into a corner of the images, and SYNTHETIC where they are.
        overwrite: replace the objects of another result in OUTPUT.
        json: print one JSON object.
    """
    from veridical.workflow import dicom_results

    written = dicom_results.write(
        result, source, output, terms=terms, mark=mark, overwrite=overwrite
    )
    series = len({one.parent for one in written})
    if json:
        said = {"output": str(output), "written": list(map(str, written)), "series": series}
        print(encoding.dumps(said, indent=2))
    else:
        print(f"{output}: {len(written)} objects in {series} series")


def redact(
    source: Path,
    output: Path,
    /,
    *,
    key: Path | None = None,
    characteristics: Switch = False,
    dates: Switch = False,
    deface: Switch = False,
    quiet: Switch = False,
) -> None:
    """De-identify DICOM files by the basic profile of PS3.15, and report what was changed.

    Reports, documents and pictures that may show names are left out. Needs the extra clinical.

    Args:
        source: folder or file.
        output: folder for the new files and redaction.json; made when missing.
        key: file with a secret that new UIDs and pseudonyms follow from: the same file gives the
            same ones. Without it nobody can find out later who is who.
        characteristics: keep sex, age, size and weight (the weight is needed for SUV).
        dates: move all dates of a patient by the same number of days, instead of removing them.
        deface: remove the face from every image series of a head.
        quiet: draw no progress bar.
    """
    import secrets

    from veridical.apps import show
    from veridical.io.guards import existing
    from veridical.io.redact import Redaction
    from veridical.workflow import redaction

    secret = secrets.token_hex(16) if key is None else existing(key).read_text(encoding="utf-8")
    with show.progress(quiet) as progress:
        found = redaction.redact_folder(
            source,
            output,
            Redaction(secret.strip(), characteristics, dates),
            deface=deface,
            progress=progress,
        )
    print("\n".join([f"{output}", *redaction.describe(found)]))
