"""A report as one HTML page that needs nothing else: no network, no script, no font, no picture.

Everything in it is escaped, and its content security policy allows pictures inside the page and its own
style sheet, nothing more.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from restore_sdk.page_environment import page_environment
from restore_sdk.report_document import ReportDocument

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_page"]


def render_page(document: ReportDocument) -> str:
    """The page."""
    return _environment().get_template("report.html.j2").render(report=document)


@cache
def _environment() -> Environment:
    environment = page_environment()
    environment.tests["digest"] = re.compile(r"((in |out)? ?[0-9a-f]{64}\n?)+").fullmatch
    return environment
