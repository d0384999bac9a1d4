"""The one way by which this program talks to other machines: only where asked to, and never further.

No redirect is followed, an answer has a bounded length and a bounded time, and RESTORE_OFFLINE forbids all.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit

from restore_manifests.errors import UndecidableError, UsageError

__all__ = ["check_address", "check_online", "fetch"]

MAX_ANSWER = 1 << 20


def check_address(url: str, what: str) -> str:
    """`url` if it is an HTTP address, else UsageError; `what` it should be the address of."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise UsageError(
            f"{url!r} is not the address of a {what}.", hint="It begins with http:// or https://."
        )
    return url


def check_online(what: str, hint: str) -> None:
    """Raises UsageError if RESTORE_OFFLINE forbids to ask a `what`."""
    if os.environ.get("RESTORE_OFFLINE", "") not in ("", "0"):
        raise UsageError(f"RESTORE_OFFLINE is set, so no {what} may be asked.", hint=hint)


def fetch(
    url: str,
    what: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float,
    hint: str = "Try again later.",
    max_bytes: int = MAX_ANSWER,
) -> bytes:
    """The answer to a GET, or with `body` to a POST; `timeout` in seconds.

    `url` has gone through `check_address`. Raises UndecidableError, about the `what`, for no answer, one that
    says that it failed, a redirect, or one of more than `max_bytes`.
    """
    request = urllib.request.Request(url, body, dict(headers or {}))  # noqa: S310 -- http and https only
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as response:
            answer: bytes = response.read(max_bytes + 1)
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
        if isinstance(error, HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise UndecidableError(f"The {what} did not answer ({reason}).", hint=hint) from error
    if len(answer) > max_bytes:
        raise UndecidableError(f"The {what} sent far too much.", hint=f"Use another {what}.")
    return answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What was asked of one machine is asked of no other."""

    def redirect_request(self, *_: object) -> None:
        return None
