"""Result sheets as files: signed, timestamped if asked for, written whole; and checked again."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from restore_manifests.canonical import MAX_JSON_BYTES
from restore_manifests.errors import RestoreError
from restore_manifests.revocation import parse_revocations
from restore_manifests.validation import SheetTrust, sheet_bytes, sign_sheet, verify_sheet
from restore_sdk.single_file import write_file
from restore_sdk.stamping import ask_authorities
from restore_sdk.verification import load_certificates, read_file

if TYPE_CHECKING:
    from restore_manifests.keys import Identity
    from restore_manifests.report import Report
    from restore_manifests.validation import SheetBody

__all__ = ["check_sheet", "write_sheet"]


def write_sheet(
    body: SheetBody, identity: Identity, path: Path, *, urls: Sequence[str] = (), force: bool = False
) -> list[RestoreError]:
    """Sign a sheet and store it; with `urls`, timestamped by those RFC 3161 authorities.

    Returns why an authority gave no timestamp: the sheet is stored all the same. Raises UsageError if the
    place is none or taken and not `force`, or RESTORE_OFFLINE is set; StorageError.
    """
    sheet = sign_sheet(body, identity)
    tokens, problems = ask_authorities(sheet.stamped_bytes(), urls)
    stamps = [base64.b64encode(token).decode() for token in tokens]
    write_file(path, sheet_bytes(sheet.model_copy(update={"timestamps": stamps})), force=force)
    return problems


def check_sheet(
    path: Path, *, trust: Path | None = None, tsa_trust: Path | None = None, revoked: Path | None = None
) -> Report:
    """Every check of a stored sheet; the options are as for `verify`.

    Raises UsageError if a path names nothing that can be read, KeyStoreError if `revoked` is no list.
    """
    return verify_sheet(
        read_file(path, max_bytes=MAX_JSON_BYTES),
        SheetTrust(
            now=datetime.now(UTC),
            roots=None if trust is None else load_certificates(trust),
            tsa_roots=() if tsa_trust is None else load_certificates(tsa_trust),
            revocations=() if revoked is None else parse_revocations(read_file(revoked)),
        ),
    )
