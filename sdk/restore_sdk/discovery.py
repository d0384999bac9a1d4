"""One archive with everything that the other side needs to check a restoration, and a list of its hashes.

    bundle/       source, result, maps, proof and manifest under their recorded names
    trust/        the root certificates, the log's key and the list of revocations that were given
    documents/    how to check all of it without this program
    report.html   what this program found, about exactly these files
    SHA256SUMS    of every other file, as `sha256sum -c` reads it

The files are read once, laid out in a temporary folder and verified there, so that the report speaks of what
the archive holds. The archive is stored without compression, in the order of the names, with one fixed time:
the same files and the same report give the same bytes on every machine.
"""

from __future__ import annotations

import io
import re
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from restore_manifests.canonical import sha256_hex
from restore_manifests.errors import ManifestError, UsageError
from restore_manifests.schema import LogAnchor
from restore_sdk.case_files import CaseFiles, open_case
from restore_sdk.report_document import ReportDocument, make_document
from restore_sdk.report_page import render_page
from restore_sdk.single_file import check_place, write_file
from restore_sdk.verification import beside, load_log_key, load_trust, read_file

__all__ = ["check_names", "make_discovery"]

DOCUMENTS = ("limits.md", "log.md", "manifest.md", "program.md", "timestamps.md", "verifying.md")
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows; when it was made is in the report
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")


def make_discovery(
    manifest: Path,
    archive: Path,
    *,
    result: Path | None = None,
    source: Path | None = None,
    trust: Path | None = None,
    log_key: str | Path | None = None,
    revoked: Path | None = None,
    recompute: bool = True,
    force: bool = False,
    now: datetime | None = None,
) -> ReportDocument:
    """Write the archive, and return the report that is in it.

    Options as for `make_document`. A record that fails is packed as well, and its report says so; what is not
    at hand is left out. Raises UsageError for files that cannot be read, a place that cannot be written, or
    recorded names that would not unpack as they are; ManifestError for a manifest that names no files;
    StorageError if the archive cannot be stored.
    """
    check_place(archive, force=force)
    case = open_case(manifest, result=result, source=source)
    parts = {f"bundle/{name}": data for name, data in _bundle(case).items()}
    parts |= {f"documents/{name}": _document(name) for name in DOCUMENTS}
    if trust is not None:
        parts["trust/roots.pem"] = load_trust(trust).encode()
    if log_key is not None:
        parts["trust/log.vkey"] = f"{load_log_key(log_key)}\n".encode()
    if revoked is not None:
        parts["trust/revoked.json"] = read_file(revoked)
    with tempfile.TemporaryDirectory(prefix="restore-discovery-") as name:
        folder = Path(name)
        for part, data in parts.items():
            path = folder / part
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        document = make_document(
            folder / "bundle" / manifest.name,
            trust=None if trust is None else folder / "trust" / "roots.pem",
            log_key=None if log_key is None else folder / "trust" / "log.vkey",
            revoked=None if revoked is None else folder / "trust" / "revoked.json",
            recompute=recompute,
            now=now,
        )
    parts["report.html"] = render_page(document).encode("utf-8", "backslashreplace")
    sums = "".join(f"{sha256_hex(parts[part])}  {part}\n" for part in sorted(parts))
    write_file(archive, _packed(parts | {"SHA256SUMS": sums.encode()}), force=force)
    return document


def check_names(names: Iterable[str]) -> None:
    """Raises UsageError unless all names unpack side by side, as they are, on every system.

    The schema has refused separators and control characters. What is left: invisible and direction
    characters, drive letters, devices and endings that Windows reads otherwise, names that differ only in
    case or in the form of their accents.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = Path(name).name == name and "\\" not in name and name not in ("", ".", "..")
        if (
            not plain
            or not name.isprintable()
            or _DRIVE.match(name)
            or _DEVICES.fullmatch(name)
            or name.endswith((".", " "))
        ):
            raise UsageError(
                f"The name {name!a} in the record would not unpack as a plain file everywhere.",
                hint="Hand over the files of this bundle by hand.",
            )
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            raise UsageError(
                f"The names {seen[folded]!a} and {name!a} would become one file on some systems.",
                hint="Hand over the files of this bundle by hand.",
            )
        seen[folded] = name


def _bundle(case: CaseFiles) -> dict[str, bytes]:
    """Contents by recorded name. Two files of one name are refused here, before one hides the other."""
    if case.record is None:
        raise ManifestError(
            "The manifest does not follow the schema, so that it names no files to pack.",
            hint="restore report says what is wrong with it.",
        )
    body = case.record.body
    named = [(case.manifest_path.name, case.manifest), (case.record.files.result.name, case.result)]
    if case.source is not None:
        named.append((body.source.name, case.source))
    named += case.maps.values()
    proof = beside(case.manifest_path.parent, f"{case.stem}.tlog-proof")
    if proof is not None:
        named.append((proof.name, read_file(proof)))
    else:
        proofs = [anchor.proof for anchor in case.record.anchors if isinstance(anchor, LogAnchor)]
        named += [(f"{case.stem}.tlog-proof", text.encode()) for text in proofs[:1]]
    check_names(name for name, _ in named)
    return dict(named)


def _document(name: str) -> bytes:
    folder: Traversable = files("restore_sdk") / "documents"
    if not folder.is_dir():  # the wheel carries them; in a checkout they are where they are written
        folder = Path(__file__).parents[2] / "docs"
    return (folder / name).read_bytes()


def _packed(parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for part in sorted(parts):
            entry = zipfile.ZipInfo(part, _TIME)
            entry.create_system = 3  # otherwise it depends on the system that packs
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, parts[part])
    return stream.getvalue()
