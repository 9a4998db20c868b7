"""The monitor: /health and /metrics (the text format of Prometheus), on loopback only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from veridical.apps.node.settings import NodeSettings
from veridical.errors import SettingError

LOOPBACK = "127.0.0.1"


def start(
    settings: NodeSettings, state: Callable[[], Mapping[str, Any]]
) -> ThreadingHTTPServer | None:
    """Answer in a thread; None where the settings want no monitor.

    Args:
        settings: with the port.
        state: returns `well`, `free` (GiB), `processes` and `counts`.

    Raises:
        SettingError: the port is taken.
    """
    port = settings.node.monitor
    if not port:
        return None

    class Handler(BaseHTTPRequestHandler):
        """Answers two addresses."""

        def do_GET(self) -> None:
            try:
                now = state()
            except Exception:  # the queue does not answer, which is all that the caller needs
                now = {"well": False, "free": 0.0, "processes": {}, "counts": {}}
            if self.path == "/health":
                body, kind = json.dumps(now, indent=2) + "\n", "application/json"
                code = 200 if now["well"] else 503
            elif self.path == "/metrics":
                body, kind, code = metrics(now), "text/plain; version=0.0.4", 200
            else:
                body, kind, code = "/health or /metrics\n", "text/plain", 404
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise SettingError(
            f"The monitor cannot listen on {LOOPBACK}:{port} ({error.strerror}). Give another "
            "port: monitor, under [node]; 0 for none."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def metrics(now: Mapping[str, Any]) -> str:
    """Return the state in the text format of Prometheus."""
    lines = [
        "# TYPE veridical_node_well gauge",
        f"veridical_node_well {int(now['well'])}",
        "# TYPE veridical_node_free_bytes gauge",
        f"veridical_node_free_bytes {now['free'] * 2**30:.0f}",
        "# TYPE veridical_node_processes gauge",
    ]
    lines += [f'veridical_node_processes{{role="{r}"}} {n}' for r, n in now["processes"].items()]
    lines += ["# TYPE veridical_node_items gauge"]
    for name, count in sorted(now["counts"].items()):
        lane, _, what = name.rpartition(" ")
        lines.append(f'veridical_node_items{{of="{lane}",state="{what}"}} {count}')
    return "\n".join(lines) + "\n"
