"""The manifest as a schema: `restore.manifest/1`.

A manifest is one readable JSON document. Its `body` says what was done; the signatures are over the body's
RFC 8785 bytes, so white space and the order of members do not matter, and everything else does. All members
are required: a reader never fills in what a writer left out. Field names are the record's vocabulary; the
JSON Schema beside this module says the same to other languages. The parts lie in `schema_body` and
`schema_anchors`; all names are had from here.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from restore_manifests.canonical import MAX_VALUES, canonical_bytes, parse_json_strict, same_json
from restore_manifests.errors import ManifestError
from restore_manifests.schema_anchors import Anchor, LogAnchor, PublicLogAnchor, TimestampAnchor
from restore_manifests.schema_body import (
    Body,
    Decoder,
    Degradation,
    Finding,
    Ingredient,
    Label,
    Map,
    Maps,
    ModelUse,
    Request,
    Result,
    Source,
    Step,
    Tool,
    TraceStep,
)
from restore_manifests.schema_fields import Count, FileName, Record, Sha256

__all__ = [
    "MAX_ANCHORS",
    "Anchor",
    "Body",
    "Decoder",
    "Degradation",
    "FilesSeal",
    "Finding",
    "Ingredient",
    "Label",
    "LogAnchor",
    "Manifest",
    "Map",
    "Maps",
    "ModelUse",
    "PublicLogAnchor",
    "Request",
    "Result",
    "SealedFile",
    "Signature",
    "Source",
    "Step",
    "TimestampAnchor",
    "Tool",
    "TraceStep",
    "body_bytes",
    "files_bytes",
    "json_schema",
    "manifest_bytes",
    "parse_manifest",
    "recorded_name",
    "stamped_bytes",
]

SCHEMA = "restore.manifest/1"
MAX_ANCHORS = 16

_DEEP = b"\n" + b" " * 60
"""In indented JSON, an item thirty levels deep."""
_LARGE = [re.compile(before + rb"-?[0-9]+(?:[0-9]{15}|(?:\.[0-9]+)?[eE])") for before in (rb": ", rb"\n +")]
"""In indented JSON, numbers of 16 digits before the point, or with an exponent: of members, of lists."""


class SealedFile(Record):
    """A finished file: name, SHA-256 of its bytes, length."""

    name: FileName
    sha256: Sha256
    bytes: Count


class FilesSeal(Record):
    """The hash of the result file, which contains the body and so cannot be named in it."""

    body_sha256: Sha256
    result: SealedFile


class Signature(Record):
    """A signature over the RFC 8785 bytes of `body` or of `files`; certificates are PEM, leaf first."""

    scope: Literal["body", "files"]
    algorithm: Literal["ES256", "ES384", "PS256", "Ed25519"]
    certificates: Annotated[list[Annotated[str, Field(max_length=16_384)]], Field(min_length=1, max_length=8)]
    value: Annotated[str, Field(min_length=1, max_length=4_096)]


class Manifest(Record):
    """The document: the signed body, the seal of the finished file, the signatures and the anchors."""

    schema_: Annotated[Literal["restore.manifest/1"], Field(alias="schema")] = "restore.manifest/1"
    body: Body
    files: FilesSeal
    signatures: Annotated[list[Signature], Field(max_length=16)]
    anchors: Annotated[list[Anchor], Field(max_length=MAX_ANCHORS)]


def body_bytes(body: Body) -> bytes:
    """The RFC 8785 bytes of `body`: what is signed, embedded in the C2PA claim and appended to the log."""
    return canonical_bytes(body.model_dump(mode="json"))


def files_bytes(files: FilesSeal) -> bytes:
    """The RFC 8785 bytes of `files`: what its signature is over."""
    return canonical_bytes(files.model_dump(mode="json"))


def stamped_bytes(manifest: Manifest, over: Literal["body", "record"]) -> bytes:
    """What a timestamp of the manifest is over; nothing of it changes when an anchor is added."""
    if over == "body":
        return body_bytes(manifest.body)
    return canonical_bytes(
        manifest.model_dump(mode="json", by_alias=True, include={"body", "files", "signatures"})
    )


def manifest_bytes(manifest: Manifest) -> bytes:
    """`manifest` as it is stored: indented UTF-8 JSON in the order of the schema."""
    document = manifest.model_dump(mode="json", by_alias=True)
    canonical_bytes(document)  # refuses what a reader would refuse
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


@lru_cache(maxsize=1)  # a verification asks for the same one several times
def parse_manifest(data: bytes) -> Manifest:
    """Read a stored manifest. Raises ManifestError with the first reason why it is not one.

    The same bytes may give the same object again: change it by `model_copy` only.
    """
    manifest = _as_written(data)
    return _in_general(data) if manifest is None else manifest


def _in_general(data: bytes) -> Manifest:
    document = parse_json_strict(data)
    if isinstance(document, dict) and "schema" not in document:
        raise ManifestError(
            "The document does not say that it is a manifest: the member 'schema' is missing."
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise ManifestError(
            f"The manifest does not follow {SCHEMA}: {place[:120]!a}: {first['msg']}{more}.",
            hint="Use the manifest exactly as restore wrote it, and a version that knows its schema.",
        ) from error
    if not same_json(document, manifest.model_dump(mode="json", by_alias=True)):
        raise ManifestError("The manifest does not survive being read: a member was changed on the way.")
    return manifest


def _as_written(data: bytes) -> Manifest | None:
    """The manifest, if `data` are the very bytes that it is written as; None for all else, good or bad.

    Half the time of the general way, and as strict: bytes that come out again exactly have no member
    twice and none that was changed on the way. What these cannot show, size and numbers, is asked for first.
    """
    if len(data) > MAX_VALUES or _DEEP in data or any(pattern.search(data) for pattern in _LARGE):
        return None
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError:
        return None
    return manifest if manifest.model_dump_json(by_alias=True, indent=2).encode() + b"\n" == data else None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a manifest, as kept in manifest.schema.json."""
    schema = Manifest.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{SCHEMA}", **schema}


def recorded_name(name: str) -> str:
    """`name` as a record may carry it: characters that no plain file name has become underscores."""
    plain = re.sub(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", "_", name).strip()[:255].strip()
    return plain if plain not in ("", ".", "..") else "_"
