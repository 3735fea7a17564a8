"""Pages from templates: every string is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def page_template(path: Path) -> Template:
    """Return a template that may extend ``base.html`` and include what lies next to that.

    Args:
        path: the template's file.
    """
    environment = Environment(
        # The suffix does not matter: everything is escaped.
        autoescape=True,
        loader=FileSystemLoader([path.parent, Path(__file__).parent]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)
