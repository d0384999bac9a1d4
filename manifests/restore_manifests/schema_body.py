"""The body of a manifest: everything that is signed, logged and embedded.

Field names are the record's vocabulary; see `restore_manifests.schema` for the document around it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from restore_manifests.schema_fields import (
    Bits,
    Channels,
    Count,
    FileName,
    Line,
    Record,
    Scalar,
    Sha256,
    Size,
    Text,
)

__all__ = [
    "Body",
    "Decoder",
    "Degradation",
    "Finding",
    "Ingredient",
    "Label",
    "Map",
    "Maps",
    "ModelUse",
    "Request",
    "Result",
    "Source",
    "Step",
    "Tool",
    "TraceStep",
]


class Tool(Record):
    """The program that made the record."""

    name: Literal["restore"]
    version: Line


class Decoder(Record):
    """What turned the source file into pixels; JPEG decoders differ, so it is part of the record."""

    name: Line
    version: Line


class Source(Record):
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


class Request(Record):
    """What the user asked for."""

    prompt: Text
    mode: Line
    scale: Annotated[int, Field(ge=1, le=64)]
    seed: Count
    guidance_scale: float
    arithmetic: Line
    strict: bool


class Step(Record):
    """One planned operation with its parameters: what `verify` replays."""

    operation: Line
    parameters: dict[str, Scalar | list[Scalar]]


class TraceStep(Record):
    """One operation as carried out: pixel hashes going in and coming out."""

    operation: Line
    input_sha256: Sha256
    output_sha256: Sha256


class ModelUse(Record):
    """A set of weights that took part. `exact` recomputes byte for byte, `tolerance` within a bound."""

    id: Line
    file_sha256: Sha256
    program_sha256: Sha256 | None
    licence: Line
    arithmetic: Literal["exact", "tolerance"]


class Degradation(Record):
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


class Result(Record):
    """The restored pixels; `consistency` is what the result, degraded again, leaves against the source."""

    name: FileName
    pixels_sha256: Sha256
    width: Size
    height: Size
    channels: Channels
    bits: Bits
    consistency: dict[str, float] | None


class Map(Record):
    """A map of the result: how it was made, what it guarantees, figures about it."""

    name: FileName
    pixels_sha256: Sha256
    file_sha256: Sha256
    method: Text
    guarantee: Text | None
    statistics: dict[str, float]


class Maps(Record):
    """Where pixels changed (`edit`), and how sure the tool is of each (`confidence`)."""

    edit: Map | None
    confidence: Map | None


class Finding(Record):
    """What a domain checker says about the result."""

    checker: Line
    severity: Literal["info", "warning", "problem"]
    message: Text
    details: dict[str, Any]


class Label(Record):
    """How the result must be called: an IPTC digital source type and a sentence for people."""

    digital_source_type: Literal["algorithmicallyEnhanced", "compositeWithTrainedAlgorithmicMedia"]
    statement: Text


class Ingredient(Record):
    """An earlier C2PA claim found in the source, and what was found about it when it was opened."""

    label: Line
    verdict: Literal["pass", "fail", "unable"]


class Body(Record):
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
