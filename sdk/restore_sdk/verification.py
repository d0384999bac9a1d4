"""Verification of one record: gathers the bytes, lets the pure verifier judge, recomputes if asked to.

Reads only. The names in a manifest are a stranger's words: they are looked for beside the manifest, then
beside the result, and never anywhere else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import ManifestError, RestoreError, UsageError
from restore_manifests.revocation import parse_revocations
from restore_manifests.verifier import Recomputation, RecordInputs, Report, SourcePixels, verify_record
from restore_sdk.stored_file import StoredFile, file_size, read_file

if TYPE_CHECKING:
    from cryptography import x509

    from restore_manifests.schema import Body, Map
    from restore_sdk.evidence import Evidence

__all__ = ["beside", "load_certificates", "load_log_key", "load_trust", "read_file", "thread_count", "verify"]

_WORTH_HASHING_ALONE = 1 << 20
"""Bytes of a file below which holding it in memory is quicker than hashing it on the way."""


def verify(
    result: Path,
    manifest: Path,
    *,
    source: Path | None = None,
    trust: Path | None = None,
    recompute: bool = True,
    pixels: bool = False,
    log_key: str | Path | None = None,
    revoked: Path | None = None,
    tsa_trust: Path | None = None,
    public_log_keys: Sequence[str | Path] = (),
    weights: Callable[[str], str | None] | None = None,
) -> Report:
    """Make every check of one record, the ids as in the command contract.

    `source` names the original; otherwise it is looked for under its recorded name. `trust` is a PEM file of
    root certificates: without it the signer stays unknown, and the verdict is at best `unable`. `log_key` is
    the public key of the transparency log, or the file that holds it, `public_log_keys` those of public logs;
    `revoked` is a list of certificates that do not count any more. `tsa_trust` is a PEM file of roots that
    are trusted for timestamps only, those of `trust` are trusted for both. With `recompute` the pixels and
    maps are made again, which needs the source, the weights and torch. Without it and without `pixels`, no
    picture is decoded whose bytes are the very ones that a signer trusted by `trust` signed. `weights` gives
    the SHA-256 of the weights installed here by model id, for who verifies many; without it their files are
    hashed.

    What is wrong with the record is in the report, never an exception. Raises UsageError if a path given
    names nothing that can be read, LogError if `log_key` is no key, KeyStoreError if `revoked` is no list.
    """
    result_bytes = _bytes_of(result, "The result")
    manifest_bytes = _bytes_of(manifest, "The manifest")
    trust_pem = load_trust(trust) if trust is not None else None
    tsa_pem = load_trust(tsa_trust) if tsa_trust is not None else None
    key = load_log_key(log_key) if log_key is not None else None
    public_keys = tuple(load_log_key(one) for one in public_log_keys)
    revocations = parse_revocations(_bytes_of(revoked, "The revocation list")) if revoked is not None else ()
    held = recompute or pixels or trust is None  # then every picture is decoded; else it may be hashed only
    given = None if source is None else _source(source, held=held)
    facts: dict[str, Any] = {}
    source_pixels: Callable[[], SourcePixels] | None = None
    if body := _body(manifest_bytes):
        folders = (manifest.parent, result.parent)
        found = given if given is not None else _find(body.source.name, folders, held=held)
        facts = {
            "source_bytes": found,
            "edit_map_bytes": _find_map(body.maps.edit, folders, held=held),
            "confidence_map_bytes": _find_map(body.maps.confidence, folders, held=held),
            "weights": _weights(body, weights),
        }
        if recompute:
            evidence = None if found is None else _decoded(found, body.source.name)
            source_pixels = partial(_source_pixels, evidence)
            facts["recomputed"] = _recompute(body, evidence, result_bytes)
        elif found is not None:  # if at all, then beside the other pictures
            source_pixels = partial(_decoded_pixels, found, body.source.name)
    return verify_record(
        RecordInputs(
            result_bytes=result_bytes,
            manifest_bytes=manifest_bytes,
            now=datetime.now(UTC),
            trust_roots_pem=trust_pem,
            log_public_key=key,
            public_log_keys=public_keys,
            revocations=revocations,
            tsa_roots_pem=tsa_pem,
            pixels=recompute or pixels,
            **facts,
        ),
        source=source_pixels,
        threads=thread_count(),
    )


def beside(folder: Path, name: str) -> Path | None:
    """The regular file `name` in `folder`; None if there is none, or if it leads out of the folder."""
    path = folder / name
    try:
        if path.name != name:
            return None
        if stat.S_ISREG(path.lstat().st_mode):  # no link, so it lies where it was looked for
            return path
        inside = path.resolve(strict=True).parent == folder.resolve(strict=True)
        return path if inside and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # names that the system refuses, and loops of links
        return None


def thread_count() -> int:
    """How many threads one verification may keep busy: `OMP_NUM_THREADS` if it says, else the processors."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and 0 < int(said) < 1000 else os.cpu_count() or 1


def load_trust(path: Path) -> str:
    """The root certificates in a PEM file. Raises UsageError if it holds none."""
    text = _certificates_in(_bytes_of(path, "The file of trust roots"))
    if text is None:
        raise UsageError(
            f"{path} holds no certificates that can be read.",
            hint="Name a PEM file, such as the signer's root.pem.",
        )
    return text


@lru_cache(maxsize=8)  # an audit reads the same file thousands of times
def _certificates_in(data: bytes) -> str | None:
    from cryptography import x509  # noqa: PLC0415

    try:
        x509.load_pem_x509_certificates(data)
    except ValueError:
        return None
    return data.decode("ascii", "replace")


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The root certificates in a PEM file, read. Raises UsageError if it holds none."""
    from cryptography import x509  # noqa: PLC0415

    return x509.load_pem_x509_certificates(load_trust(path).encode())


def load_log_key(key: str | Path) -> str:
    """A log's public key as one line (C2SP vkey). Raises LogError if it is none, UsageError for its file."""
    from restore_manifests.checkpoint import VerifierKey  # noqa: PLC0415

    text = read_file(key, max_bytes=4096).decode("utf-8", "replace") if isinstance(key, Path) else key
    return VerifierKey.parse(text.strip()).encode()


def _bytes_of(path: Path, what: str) -> bytes:
    try:
        return read_file(path)
    except UsageError as error:
        raise UsageError(f"{what} cannot be used: {error.message}", hint=error.hint) from error


def _body(manifest_bytes: bytes) -> Body | None:
    from restore_manifests.schema import parse_manifest  # noqa: PLC0415

    try:
        return parse_manifest(manifest_bytes).body
    except ManifestError:
        return None  # the verifier says what is wrong with it


def _source(path: Path, *, held: bool) -> bytes | StoredFile:
    try:
        return _opened(path, held=held)
    except UsageError as error:
        raise UsageError(f"The source cannot be used: {error.message}", hint=error.hint) from error


def _opened(path: Path, *, held: bool) -> bytes | StoredFile:
    """A picture, in memory where it is `held` anyway or is small. Raises UsageError as `read_file` does."""
    if held or file_size(path) < _WORTH_HASHING_ALONE:
        return read_file(path)
    return StoredFile(path)


def _find(name: str, folders: tuple[Path, ...], *, held: bool) -> bytes | StoredFile | None:
    for folder in folders:
        if path := beside(folder, name):
            try:
                return _opened(path, held=held)
            except UsageError:
                continue
    return None


def _find_map(recorded: Map | None, folders: tuple[Path, ...], *, held: bool) -> bytes | StoredFile | None:
    return _find(recorded.name, folders, held=held) if recorded else None


def _decoded(data: bytes | StoredFile, name: str) -> Evidence | str:
    """The source as opened, or why it could not be."""
    from restore_sdk.evidence import decode_evidence  # noqa: PLC0415

    try:
        return decode_evidence(data if isinstance(data, bytes) else data.read(), name)
    except RestoreError as error:
        return error.message.rstrip(".")


def _source_pixels(source: Evidence | str | None) -> SourcePixels:
    if source is None:
        return SourcePixels()
    if isinstance(source, str):
        return SourcePixels(problem=source)
    return SourcePixels(source.pixels_sha256, f"{source.decoder.name} {source.decoder.version}")


def _decoded_pixels(data: bytes | StoredFile, name: str) -> SourcePixels:
    return _source_pixels(_decoded(data, name))


def _weights(body: Body, find: Callable[[str], str | None] | None) -> dict[str, str | None]:
    from restore_sdk.models import weights_sha256  # noqa: PLC0415

    return {model.id: (find or weights_sha256)(model.id) for model in body.models}


def _recompute(body: Body, source: Evidence | str | None, result: bytes) -> Recomputation:
    if source is None:
        return Recomputation(reason=f"the source {body.source.name!r} was not found")
    if isinstance(source, str):
        return Recomputation(reason=source)
    from restore_sdk.recompute import recompute  # noqa: PLC0415

    return recompute(body, source, result)
