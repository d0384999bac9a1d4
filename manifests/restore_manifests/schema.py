"""The manifest as a schema: `restore.manifest/1`.

A manifest is one readable JSON document. Its `body` says what was done; the signatures are over the body's
RFC 8785 bytes, so white space and the order of members do not matter, and everything else does. All members
are required: a reader never fills in what a writer left out. Field names are the record's vocabulary; the
JSON Schema beside this module says the same to other languages.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from restore_manifests.canonical import canonical_bytes, parse_json_strict, sha256_hex
from restore_manifests.errors import ManifestError

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


def _file_name(name: str) -> str:
    if name in (".", "..") or name != name.strip():
        raise ValueError("not a plain file name")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f\x7f]+$"), AfterValidator(_file_name)
]
Line = Annotated[str, Field(max_length=1_000)]
Text = Annotated[str, Field(max_length=100_000)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Bits = Literal[8, 16]
Channels = Annotated[int, Field(ge=1, le=4)]
Scalar = int | float | str | bool | None


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )


class Tool(_Model):
    """The program that made the record."""

    name: Literal["restore"]
    version: Line


class Decoder(_Model):
    """What turned the source file into pixels; JPEG decoders differ, so it is part of the record."""

    name: Line
    version: Line


class Source(_Model):
    """The evidence as opened. Pixels are upright; `orientation` is the EXIF value as found (1 to 8)."""

    name: FileName
    file_sha256: Sha256
    bytes: Count
    format: Line
    pixels_sha256: Sha256
    width: Size
    height: Size
    channels: Channels
    bits: Bits
    decoder: Decoder
    orientation: Annotated[int, Field(ge=1, le=8)]
    icc_sha256: Sha256 | None
    metadata_kept: list[Line]
    metadata_lost: list[Line]


class Request(_Model):
    """What the user asked for."""

    prompt: Text
    mode: Line
    scale: Annotated[int, Field(ge=1, le=64)]
    seed: Count
    guidance_scale: float
    arithmetic: Line
    strict: bool


class Step(_Model):
    """One planned operation with its parameters: what `verify` replays."""

    operation: Line
    parameters: dict[str, Scalar | list[Scalar]]


class TraceStep(_Model):
    """One operation as carried out: pixel hashes going in and coming out."""

    operation: Line
    input_sha256: Sha256
    output_sha256: Sha256


class ModelUse(_Model):
    """A set of weights that took part. `exact` recomputes byte for byte, `tolerance` within a bound."""

    id: Line
    file_sha256: Sha256
    program_sha256: Sha256 | None
    licence: Line
    arithmetic: Literal["exact", "tolerance"]


class Degradation(_Model):
    """An estimate with its interval, in `unit`."""

    value: float
    low: float
    high: float
    unit: Line

    @model_validator(mode="after")
    def _ordered(self) -> Degradation:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Result(_Model):
    """The restored pixels; `consistency` is what the result, degraded again, leaves against the source."""

    name: FileName
    pixels_sha256: Sha256
    width: Size
    height: Size
    channels: Channels
    bits: Bits
    consistency: dict[str, float] | None


class Map(_Model):
    """A map of the result: how it was made, what it guarantees, figures about it."""

    name: FileName
    pixels_sha256: Sha256
    file_sha256: Sha256
    method: Text
    guarantee: Text | None
    statistics: dict[str, float]


class Maps(_Model):
    """Where pixels changed (`edit`), and how sure the tool is of each (`confidence`)."""

    edit: Map | None
    confidence: Map | None


class Finding(_Model):
    """What a domain checker says about the result."""

    checker: Line
    severity: Literal["info", "warning", "problem"]
    message: Text
    details: dict[str, Any]


class Label(_Model):
    """How the result must be called: an IPTC digital source type and a sentence for people."""

    digital_source_type: Literal["algorithmicallyEnhanced", "compositeWithTrainedAlgorithmicMedia"]
    statement: Text


class Ingredient(_Model):
    """An earlier C2PA claim found in the source, and what was found about it when it was opened."""

    label: Line
    verdict: Literal["pass", "fail", "unable"]


class Body(_Model):
    """Everything that is signed, logged and embedded."""

    id: Annotated[
        str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
    ]
    created: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    tool: Tool
    source: Source
    request: Request
    plan: list[Step]
    trace: list[TraceStep]
    models: list[ModelUse]
    degradation: dict[str, Degradation]
    abstained: bool
    abstentions: list[Line]
    result: Result
    maps: Maps
    findings: list[Finding]
    label: Label
    ingredients: list[Ingredient]

    @model_validator(mode="after")
    def _created_is_a_time(self) -> Body:
        from datetime import datetime  # noqa: PLC0415

        datetime.fromisoformat(self.created)
        return self


class SealedFile(_Model):
    """A finished file: name, SHA-256 of its bytes, length."""

    name: FileName
    sha256: Sha256
    bytes: Count


class FilesSeal(_Model):
    """The hash of the result file, which contains the body and so cannot be named in it."""

    body_sha256: Sha256
    result: SealedFile


class Signature(_Model):
    """A signature over the RFC 8785 bytes of `body` or of `files`; certificates are PEM, leaf first."""

    scope: Literal["body", "files"]
    algorithm: Literal["ES256", "ES384", "PS256", "Ed25519"]
    certificates: Annotated[list[Annotated[str, Field(max_length=16_384)]], Field(min_length=1, max_length=8)]
    value: Annotated[str, Field(min_length=1, max_length=4_096)]


class LogAnchor(_Model):
    """A place in a transparency log. `proof` is a C2SP tlog-proof, `public_key` the log's signed-note key."""

    type: Literal["tlog-proof"]
    origin: Line
    index: Count
    tree_size: Count
    public_key: Line
    proof: Text


class PublicLogAnchor(_Model):
    """A place in a public log, which holds the record's hash only. `entry` is what the log holds (base64).

    `format` says how the entry speaks of the record: `restore.digest/1` is a line with its SHA-256,
    `hashedrekord/0.0.2` an entry of Rekor v2 with the hash, the signature and the signer's key.
    """

    type: Literal["public-log"]
    format: Literal["restore.digest/1", "hashedrekord/0.0.2"]
    origin: Line
    index: Count
    tree_size: Count
    public_key: Line
    entry: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
    proof: Text


class TimestampAnchor(_Model):
    """An authority's word on when. `token` is an RFC 3161 TimeStampToken (DER, base64).

    `over` says what the token is for: `record` is the RFC 8785 form of the object of `body`, `files` and
    `signatures`, so that it also shows that the signatures existed; `body` is the body alone; `checkpoint` is
    the signed text of the checkpoint in one of the log proofs, whose root hash stands for the body.
    """

    type: Literal["rfc3161"]
    token: Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
    over: Literal["body", "record", "checkpoint"]


Anchor = Annotated[LogAnchor | PublicLogAnchor | TimestampAnchor, Field(discriminator="type")]


class Manifest(_Model):
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


def parse_manifest(data: bytes) -> Manifest:
    """Read a stored manifest. Raises ManifestError with the first reason why it is not one."""
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
    if sha256_hex(canonical_bytes(document)) != sha256_hex(
        canonical_bytes(manifest.model_dump(mode="json", by_alias=True))
    ):
        raise ManifestError("The manifest does not survive being read: a member was changed on the way.")
    return manifest


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a manifest, as kept in manifest.schema.json."""
    schema = Manifest.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{SCHEMA}", **schema}


def recorded_name(name: str) -> str:
    """`name` as a record may carry it: characters that no plain file name has become underscores."""
    plain = re.sub(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", "_", name).strip()[:255].strip()
    return plain if plain not in ("", ".", "..") else "_"
