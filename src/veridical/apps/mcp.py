"""The MCP server: agents list, describe and run what Veridical does, and read what came of it.

https://modelcontextprotocol.io. It reads and writes in named folders only, asks the same policy,
and speaks on standard input and output.
"""

from __future__ import annotations

import os
from pathlib import Path

from veridical.errors import MissingExtra
from veridical.terms import LEDGER, POLICY


def mcp(
    *, folder: tuple[Path, ...], policy: Path | None = None, ledger: Path | None = None
) -> None:
    """Serve agents over the Model Context Protocol, on standard input and output.

    An agent can list, describe and run jobs, audit and evaluate, and read findings, provenance and
    pictures; in the named folders and nowhere else. A policy blocks as it does for everybody, and
    no agent can override it.

    Args:
        folder: in which agents may read and write. Repeat the flag for several.
        policy: that decides what may be written; that of VERIDICAL_POLICY when not given.
        ledger: that notes what is made; that of VERIDICAL_LEDGER when not given.
    """
    from veridical.apps.fence import Fence

    fence = Fence(folder)
    try:
        from veridical.apps.mcp_server import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("veridical"):
            raise
        raise MissingExtra(
            "The MCP server needs mcp. Install it: pip install 'veridical[agents]'"
        ) from error
    for variable, path in ((POLICY, policy), (LEDGER, ledger)):
        if path is not None:
            os.environ[variable] = str(path.resolve())
        elif os.environ.get(variable):
            os.environ[variable] = str(Path(os.environ[variable]).resolve())
    server(fence).run("stdio")
