"""The C2PA manifest store of a result as a file of its own (C2PA 2.2, section 11.4: external manifests).

The store's hard binding leaves out the place where the store sits in the result, so the sidecar belongs to
the result as it is, its own chunk included, and not to a copy from which the chunk was removed.
"""

from __future__ import annotations

from restore_manifests.errors import EvidenceError
from restore_manifests.pixels import png_chunks

__all__ = ["sidecar"]


def sidecar(result: bytes) -> bytes:
    """The JUMBF bytes of the one `caBX` chunk of a PNG. Raises EvidenceError if there is not exactly one."""
    stores = [bytes(body) for _, name, body in png_chunks(result) if name == b"caBX"]
    if len(stores) != 1:
        raise EvidenceError(
            f"The result holds {len(stores)} C2PA manifest stores instead of one.",
            hint="Use the result exactly as restore wrote it.",
        )
    return stores[0]
