"""Where the HTML pages of reports are filled in: everything escaped, a missing name is an error."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page_environment"]


def page_environment() -> Environment:
    """The templates of restore_sdk/templates, with the filter `base64` (bytes to text)."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 -- only for a page

    environment = Environment(
        loader=PackageLoader("restore_sdk"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment
