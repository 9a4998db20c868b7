"""Starting and stopping the web app."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from veridical.errors import InputError, MissingExtra
from veridical.terms import Terms

HOST = "127.0.0.1"


def serve(
    paths: Sequence[Path], folder: Path, port: int, browser: bool, demo: bool, terms: Terms
) -> None:
    """Serve until interrupted.

    Args:
        paths: files and folders that are open from the start.
        folder: for everything that is handed in and made.
        port: to listen on; a free one when 0.
        browser: whether to open one.
        demo: whether the demo case is open.
        terms: policy and ledger.

    Raises:
        MissingExtra: the extra `web` is not installed.
        InputError: a path does not exist, or the port is taken.
    """
    try:
        import uvicorn

        from veridical.apps.web.guard import Guard
        from veridical.apps.web.server import build
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"veridical web needs {error.name}, which is not installed. Install the extra: "
            "pip install 'veridical[web]'"
        ) from error
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; expected a file or folder. Check the path.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --folder needs a folder. Give another name.")
    with listening(port) as listener:
        token, at = secrets.token_urlsafe(32), listener.getsockname()[1]
        app = Guard(build(folder.resolve(), terms, paths, demo), token, at)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="on",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        address = f"http://{HOST}:{at}/?token={token}"
        print(f"Veridical is at {address}\nResearch only, not for diagnosis. Ctrl-C ends it.",
              flush=True)  # fmt: skip
        if browser:
            threading.Timer(0.8, webbrowser.open, [address]).start()
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def listening(port: int) -> socket.socket:
    """Return a socket on this machine's own address; who connects before the app is ready waits.

    Raises:
        InputError: the port is taken or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(
            f"Port {port} cannot be used ({error}); expected a free one above 1023. Leave --port "
            "out to take any."
        ) from error
    return listener
