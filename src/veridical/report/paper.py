"""What every report is printed on: one template environment, one content policy, files that appear whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any


def write(path: str | Path, html: str) -> Path:
    """Write a page under a temporary name and rename it; its folder is made when missing. Return the path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(html)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def render(template: str, styles: tuple[str, ...], content: dict[str, Any]) -> str:
    """Return a page that loads nothing and runs nothing.

    Args:
        template: name of one that extends `paper.html.j2`.
        styles: names of style sheets, put into the page one after another; the content policy allows these bytes only.
        content: what the template is filled with, `title` among it; all text is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("veridical", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["digest"] = lambda text: text[:12] if len(text) == 64 else text
    folder = resources.files("veridical.report")
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in styles)
    sha = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(template).render(**content, style=Markup(style), style_sha=sha)
