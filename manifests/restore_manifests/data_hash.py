"""The hard binding of a claim to a PNG, computed by ourselves (C2PA 2.2, section 18.5), beside the library's.

`c2pa.hash.data` is a hash of all bytes of the file but those that the claim names. Here these have to be the
one chunk that holds the claim: a claim that leaves out anything more would hold for other pictures as well.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from restore_manifests.claim_store import as_dict, as_list
from restore_manifests.errors import EvidenceError
from restore_manifests.pixels import png_chunks

__all__ = ["DataHash"]

_HASHES = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


@dataclass(frozen=True)
class DataHash:
    """The binding in `assertions` (crJSON, a stranger's) of the active claim of the file `png`.

    Nothing raises on what is in them. Form and hash are judged when they are first asked for.
    """

    png: bytes = field(repr=False)
    assertions: Mapping[str, Any] = field(repr=False)

    @cached_property
    def form_problem(self) -> str | None:
        """Why this is not one hash over all of the file but the claim itself; None if it is."""
        bindings = [label for label in self.assertions if label.startswith("c2pa.hash.")]
        if bindings != ["c2pa.hash.data"]:
            return "the claim does not have exactly one data hash"
        try:
            boxes = self._boxes
        except EvidenceError as error:
            return error.message
        ranges = [
            (as_dict(r).get("start"), as_dict(r).get("length")) for r in as_list(self._said.get("exclusions"))
        ]
        if len(boxes) != 1 or ranges != boxes:
            return "the claim leaves out other bytes than the claim itself"
        known = str(self._said.get("alg")) in _HASHES
        return None if known else "the claim's data hash is of an unknown kind"

    @cached_property
    def problem(self) -> str | None:
        """Why the claim was not made for these bytes; None if it was."""
        if self.form_problem is not None:
            return self.form_problem
        ((start, length),) = self._boxes
        digest = _HASHES[str(self._said["alg"])](memoryview(self.png)[:start])
        digest.update(memoryview(self.png)[start + length :])
        recorded = str(self._said.get("hash"))  # crJSON writes bytes as b64'...'
        if recorded != f"b64'{base64.b64encode(digest.digest()).decode()}'":
            return "the bytes of the file are not those that the claim was made for"
        return None

    @cached_property
    def _boxes(self) -> list[tuple[int, int]]:
        """Offset and length of every chunk that holds a claim."""
        chunks = png_chunks(self.png, check_sums=False)
        return [(start, len(body) + 12) for start, name, body in chunks if name == b"caBX"]

    @property
    def _said(self) -> dict[str, Any]:
        return as_dict(self.assertions["c2pa.hash.data"])
