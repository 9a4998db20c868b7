"""What every report is printed on: one template environment, one content policy, files that appear
whole or not at all.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from veridical.io.guards import replacing


def write(path: str | Path, html: str) -> Path:
    """Write a page under a temporary name and rename it; its folder is made when missing. Return
    the path.
    """
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return target


def render(template: str, styles: tuple[str, ...], content: dict[str, Any]) -> str:
    """Return a page that loads nothing and runs nothing.

    Args: template: name of one that extends `paper.html.j2`. styles: names of style sheets, put
        into the page one after another; the content policy allows these bytes only. content: what
        the template is filled with, `title` among it; all text is escaped.
    """
    from markupsafe import Markup

    folder = resources.files("veridical.report")
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in styles)
    sha = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    page = _environment().get_template(template)
    return str(page.render(**content, style=Markup(style), style_sha=sha))


@cache
def _environment() -> Any:
    """Return the environment, which keeps the templates that it has compiled."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("veridical", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["digest"] = lambda text: text[:12] if len(text) == 64 else text
    return environment
