"""The reference, made from the code when the documentation is built: one page for every entry of the registry.

There is no list of pages to keep: a new file in `tasks/` or `metrics/` has its page with no edit here.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from typing import TYPE_CHECKING, Any

from veridical import registry
from veridical.task import setting_docs

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that lie in the folder."""
    from mkdocs.structure.files import File

    for uri, content in pages().items():
        files.append(File.generated(config, uri, content=content))
    return files


def pages() -> dict[str, str]:
    """Return file name -> Markdown: one page for every entry, and `reference.md` that lists them."""
    found: dict[str, str] = {}
    index = ["# Reference", "", "What the registry knows; `veridical list` prints the same."]
    for kind, folder in registry.FOLDERS.items():
        known = registry.entries(kind)
        if known:
            index += ["", f"## {folder}", ""]
        for name, entry in known.items():
            uri = f"reference/{folder}/{name}.md"
            found[uri] = page(entry)
            index.append(f"- [{name}]({uri}): {entry.summary}")
    found["reference.md"] = "\n".join(index) + "\n"
    return found


def page(entry: registry.Registered) -> str:
    """Return the page of one entry: what it is, how it is called, what its settings do."""
    thing = entry.load()
    lines = [f"# {entry.name}", "", entry.summary, "", f"`{entry.target.replace(':', '.')}`", ""]
    lines += ["```python", f"{thing.__name__}{signature(thing)}", "```", ""]
    docs = setting_docs(thing) if dataclasses.is_dataclass(thing) else {}
    about = inspect.getdoc(thing) or ""
    lines += [prose(about.partition("\n\nArgs:")[0] if docs else about), ""]
    if docs:
        given = [f for f in dataclasses.fields(thing) if f.name in docs]
        lines += ["## Settings", ""] if given else []
        lines += [f"- **{f.name}** (`{f.default!r}`): {' '.join(docs[f.name].split())}" for f in given]
    return "\n".join(lines) + "\n"


class Bare(str):
    """A type as it is written in the source, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(thing: Any) -> str:
    """Return the call's parameters with their types, broken after commas when they are long."""
    found = inspect.signature(thing)
    bare = [p.replace(annotation=Bare(p.annotation)) for p in found.parameters.values()]
    returns = inspect.Signature.empty if inspect.isclass(thing) else Bare(found.return_annotation)
    text = str(found.replace(parameters=bare, return_annotation=returns))
    return text if len(text) < 90 else "\n    ".join(textwrap.wrap(text, 90, break_long_words=False))


def prose(docstring: str) -> str:
    """Return a docstring as Markdown: its sections (`Args:`, `Returns:`) become headings with lists."""
    blocks: list[str] = []
    for block in docstring.split("\n\n"):
        first, *rest = block.split("\n")
        if first in ("Args:", "Returns:", "Raises:", "Attributes:"):
            items = textwrap.dedent("\n".join(rest)).replace("\n    ", " ").split("\n")
            blocks.append(f"**{first.rstrip(':')}**\n\n" + "\n".join(f"- {item}" for item in items if item))
        else:
            blocks.append(block)
    return "\n\n".join(blocks)
