"""Raw scans to results with Prefect 3: one task run a scan, retried where the machine is at fault.

    pip install prefect
    python examples/workflows/prefect_flow.py OUTPUT SCAN.npy [SCAN.npy ...]

The work is done by the command line; --json gives one object, and the exit code says what became of
it. `reconstruct` is plain Python, so that it can be used and tried without Prefect.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REFUSED, BLOCKED = 2, 3


def reconstruct(scan: Path, output: Path, model: str = "denoiser") -> dict[str, Any]:
    """Reconstruct one scan and return what came of it.

    Refused and blocked scans are results too: to try them again would change nothing. Any other
    exit code is an error, which is worth another try.
    """
    line = ["veridical", "reconstruct", str(scan), str(output / scan.stem)]
    line += ["--axes", "coil,y,x", "--contrast", "T1w", "--model", model, "--json", "--overwrite"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode in (REFUSED, BLOCKED):
        status = "blocked" if done.returncode == BLOCKED else "refused"
        return {"scan": scan.name, "status": status, "reason": done.stderr.strip()}
    done.check_returncode()
    found = json.loads(done.stdout)
    verdicts = {one["check"]: one["verdict"] for one in found["findings"]}
    return {
        "scan": scan.name,
        "status": "done",
        "estimate": found["estimate"],
        "findings": verdicts,
    }


def build() -> Any:
    """Return the flow; Prefect is loaded here."""
    from prefect import flow, task

    one = task(reconstruct, name="reconstruct", retries=2, retry_delay_seconds=60)

    @flow(name="veridical")
    def scans(files: list[str], output: str, model: str = "denoiser") -> list[dict[str, Any]]:
        """Reconstruct all scans, side by side."""
        runs = [one.submit(Path(file), Path(output), model) for file in files]
        return [run.result() for run in runs]

    return scans


if __name__ == "__main__":
    for row in build()(sys.argv[2:], sys.argv[1]):
        print(json.dumps(row))
