"""The commands that judge: evaluate, audit, protocol, compare, verify.

`evaluate`, `compare` and `audit` take their settings as flags and are made on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from veridical.apps import show
from veridical.errors import InputError, PolicyError
from veridical.terms import ENVIRONMENT, Terms

SETTINGS = Group("Settings", sort_key=1)
RUNNING = Group("Running", sort_key=2)
TERMS = Group("Terms: what may be written, and where it is noted", sort_key=3)
Switch = Annotated[bool, Parameter(negative=(), group=RUNNING)]
Out = Annotated[Path, Parameter(name=("--out", "-o"), group=RUNNING)]


def __getattr__(name: str) -> Callable[..., None]:
    made: dict[str, tuple[Callable[..., None], str]] = {
        "evaluate": (_evaluate, "evaluate:Evaluate"),
        "compare": (_compare, "evaluate:Evaluate"),
        "audit": (_audit, "audit:Audit"),
    }
    if name not in made:
        raise AttributeError(name)
    command, settings = made[name]
    module, _, kind = settings.partition(":")
    return with_settings(command, getattr(import_module(f"veridical.workflow.{module}"), kind))


def with_settings(command: Callable[..., None], settings: type[Any]) -> Callable[..., None]:
    """Give a command the fields of a settings class as flags."""
    command.__kwdefaults__ = {**(command.__kwdefaults__ or {}), "settings": settings()}
    command.__annotations__["settings"] = Annotated[
        settings, Parameter(name="*", negative_iterable=(), group=SETTINGS)
    ]
    return command


def _evaluate(
    candidate: Path,
    /,
    *,
    reference: Path,
    out: Out = Path("report"),
    settings: Any,
    overwrite: Switch = False,
    json: Switch = False,
    quiet: Switch = False,
) -> None:
    """Judge generated images against real ones, and write one HTML report and its JSON.

    Two folders are enough: veridical evaluate FAKE --reference REAL. Images of the same name are a
    pair. Layouts: NIfTI or DICOM, flat or one folder a case, BIDS trees, arrays, results of
    Veridical. An evaluation that was interrupted goes on where it was when it is called again.

    Args:
        candidate: folder or file of the generated images.
        reference: folder or file of the real ones.
        out: folder for report.html and report.json; made when missing.
        overwrite: replace an earlier report in that folder.
        json: print the verdicts as one JSON object.
        quiet: draw no progress bar.
    """
    from veridical.evaluation.signature import head, scored

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out needs a folder. Give another name.")
    if scored(out / "report.json") and not overwrite:
        raise InputError(
            f"{out} already holds a report. Give another folder with --out, or --overwrite."
        )
    with show.only_result(json), show.progress(quiet) as progress:
        judged = settings(candidate, reference, out, progress)
    show.judgement(judged, out, head(out / "report.json"), as_json=json)
    if not judged.cases:
        raise InputError(
            f"No score was given: the images cannot be compared. {out / 'report.html'} says why."
        )


def _compare(
    *candidates: Path,
    reference: Path,
    out: Out = Path("comparison"),
    settings: Any,
    quiet: Switch = False,
) -> None:
    """Rank several generators on the same real images: paired differences with intervals, ranks
    with their uncertainty.

    Args:
        candidates: two or more folders of generated images.
        reference: folder or file of the real ones.
        out: folder; every candidate's report goes into a folder of its own below it.
        quiet: draw no progress bar.
    """
    from veridical.workflow.compare import compare as rank
    from veridical.workflow.compare import table

    with show.progress(quiet) as progress:
        print(table(rank(candidates, reference, out, settings, progress)))


def _audit(
    subject: Path,
    /,
    *,
    out: Out = Path("audit"),
    settings: Any,
    terms: Annotated[Terms, Parameter(name="*", group=TERMS)] = ENVIRONMENT,
    overwrite: Switch = False,
    json: Switch = False,
    quiet: Switch = False,
) -> None:
    """Audit a result, an image or a set of images from any generator: what may be believed of it.

    One page and one signed JSON. Which checks apply follows from what is given; veridical list
    audit names them all. The exit code is 0 whatever is found: the findings are the result. Where a
    policy blocks the subject it is 3; the report is written all the same.

    Args:
        subject: folder of a result of Veridical, an image file, or a folder of images, which is
            audited as a set.
        out: folder for report.html and report.json; made when missing.
        overwrite: replace an earlier report in that folder.
        json: print the findings as one JSON object.
        quiet: draw no progress bar.
    """
    from veridical.evaluation.signature import REPORT, head

    if (out / REPORT).exists() and not overwrite:
        raise InputError(
            f"{out} already holds a report. Give another folder with --out, or --overwrite."
        )
    with show.only_result(json), show.progress(quiet) as progress:
        found = settings(subject, out, progress, terms)
    show.findings(found, out, head(out / REPORT), as_json=json)
    if found.decision is not None and found.decision.of("blocked"):
        raise PolicyError(found.decision.refusal())


def protocol(path: Path, /, *, check: Switch = False, overwrite: Switch = False) -> None:
    """Write a protocol file to edit: primary endpoints, limits, rules, decided before results are
    seen.

    Args:
        path: of the file.
        check: read it instead, and print what it declares and its hash.
        overwrite: replace a file that is there.
    """
    from veridical.evaluation import protocol as protocols

    if check:
        found = protocols.load(path)
        print(protocols.dump(found))
        print(f"# SHA-256 {found.sha256()}")
        return
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} is there already. Give another name, --overwrite, or --check to read it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(protocols.dump(protocols.Protocol()), encoding="utf-8")
    print(path)


def verify(report: Path, /, *, head: str | None = None, inputs: bool = True) -> None:
    """Check that a report, its page and its inputs are as they were signed.

    Args: report: a report.json, or the folder with it. head: the last hash of the chain as it was
        printed when the report was made; keep it elsewhere, since whoever changes everything can
        also sign everything again. inputs: also hash the input files that can be found.
    """
    from veridical.evaluation.signature import verify as checked

    path = report / "report.json" if report.is_dir() else report
    wrong = checked(path, head, inputs)
    if wrong:
        raise InputError(f"{path} is not as it was signed: {'; '.join(wrong)}.")
    print(f"intact: {path}")
