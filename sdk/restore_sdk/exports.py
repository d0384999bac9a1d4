"""A record in the forms that other programs read: in-toto, CASE/UCO, a C2PA sidecar.

An export says nothing new about the pictures. A record with a failed check is not exported: an attestation
over it would give it a fresh signature.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from restore_manifests.errors import ManifestError, VerificationError
from restore_manifests.report import Verdict
from restore_sdk.case_files import open_case
from restore_sdk.verification import verify

if TYPE_CHECKING:
    from restore_manifests.keys import Identity

__all__ = ["ENDINGS", "ExportForm", "export_record"]


class ExportForm(StrEnum):
    """The forms of an export."""

    IN_TOTO = "in-toto"
    CASE_UCO = "case-uco"
    C2PA_SIDECAR = "c2pa-sidecar"


ENDINGS = {
    ExportForm.IN_TOTO: "intoto.json",
    ExportForm.CASE_UCO: "case.jsonld",
    ExportForm.C2PA_SIDECAR: "c2pa",
}
"""What the file of an export is called after the stem of its bundle."""


def export_record(
    manifest: Path,
    form: ExportForm,
    *,
    result: Path | None = None,
    open_identity: Callable[[], Identity] | None = None,
) -> bytes:
    """The record in another form, as the bytes of a file.

    `result` is looked for beside the manifest under its recorded name. `open_identity` gives the key that
    signs an in-toto envelope; it is called for that form only, after the checks. Raises VerificationError,
    naming the check, if one that needs no recomputation fails; UsageError if a file cannot be read.
    """
    case = open_case(manifest, result=result)
    report = verify(case.result_path, manifest, recompute=False, pixels=True)
    for check in report.checks:
        if check.verdict is Verdict.FAIL:
            raise VerificationError(
                f"The record is not exported, because {check.id} fails: {check.message}",
                hint="See all checks with: restore verify; report on it with: restore report",
            )
    if case.record is None:
        raise ManifestError("The manifest does not follow the schema.")
    match form:
        case ExportForm.IN_TOTO:
            from restore_sdk.exports_in_toto import envelope  # noqa: PLC0415

            if open_identity is None:
                raise TypeError("an in-toto envelope needs an identity")
            return envelope(case.record, open_identity())
        case ExportForm.CASE_UCO:
            from restore_sdk.exports_case import case_graph  # noqa: PLC0415

            return case_graph(case)
        case ExportForm.C2PA_SIDECAR:
            from restore_sdk.exports_sidecar import sidecar  # noqa: PLC0415

            return sidecar(case.result)
        case _:
            assert_never(form)
