"""Fields of the record changed in the manifest, by somebody without the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attacks.bench import Corpus, Scene

FIELDS = Corpus("A field of the record, changed without the key")

BODY = ("signature", "c2pa.agrees", "log.inclusion")
"""The signature is over the record; the claim and the log hold it as well."""

ZEROS = "0" * 64


def _set(*path: str | int, to: Any) -> Callable[[Scene], None]:
    """Set one member; a callable `to` is given the old value."""

    def forge(scene: Scene) -> None:
        def change(document: dict[str, Any]) -> None:
            place: Any = document
            for step in path[:-1]:
                place = place[step]
            old = place[path[-1]]
            place[path[-1]] = to(old) if callable(to) else to
            assert place[path[-1]] != old

        scene.bundle.change(change)

    return forge


def _body(name: str, does: str, *path: str | int, to: Any, caught_by: tuple[str, ...] = BODY) -> None:
    FIELDS.add(name, does, caught_by, _set("body", *path, to=to))


_body("record-id", "gives the record another id", "id", to="3f2b8c1e-5d4a-4b6c-8d7e-9f0a1b2c3d4e")
_body("backdated", "dates the record back by a year", "created", to="2025-06-01T12:00:00Z")
_body("tool-version", "names another version of the program", "tool", "version", to="0.0.9")
_body("source-renamed", "gives the source another name", "source", "name", to="plate-2.png")
_body(
    "source-file-hash",
    "puts the hash of another file in the place of the source's",
    "source",
    "file_sha256",
    to=ZEROS,
    caught_by=(*BODY, "source.file"),
)
_body(
    "source-pixel-hash",
    "puts the hash of other pixels in the place of the source's",
    "source",
    "pixels_sha256",
    to=ZEROS,
    caught_by=(*BODY, "source.pixels"),
)
_body("source-length", "changes the recorded length of the source", "source", "bytes", to=lambda n: n + 1)
_body("decoder", "names another decoder, to excuse other pixels", "source", "decoder", "version", to="9.9")
_body("orientation", "says that the source was turned", "source", "orientation", to=6)
_body("metadata-loss", "says that metadata was lost", "source", "metadata_lost", to=["exif"])
_body("prompt", "puts a prompt in the examiner's mouth", "request", "prompt", to="make it read AB 123")
_body("seed", "changes the recorded seed", "request", "seed", to=7)
_body("request-arithmetic", "says a preview was asked for", "request", "arithmetic", to="float")
_body(
    "plan-unknown-operation",
    "has the plan do what no version knows",
    "plan",
    0,
    "operation",
    to="hallucinate",
)
_body("plan-step-removed", "takes the steps out of the plan", "plan", to=[])
_body("plan-step-doubled", "has every step done twice", "plan", to=lambda steps: steps * 2)
_body(
    "plan-program", "names another program in the plan", "plan", 0, "parameters", "program_sha256", to=ZEROS
)
_body(
    "plan-parameter", "adds a parameter to a step", "plan", 0, "parameters", to=lambda p: {**p, "strength": 2}
)
_body("trace", "changes a hash of the trace", "trace", 0, "output_sha256", to=ZEROS)
_body("model-of-another-name", "names another model", "models", 0, "id", to="blind-small-1")
_body(
    "weights-hash",
    "names the weights of another model",
    "models",
    0,
    "file_sha256",
    to=ZEROS,
    caught_by=(*BODY, "model.weights"),
)
_body("program-hash", "names another program of the model", "models", 0, "program_sha256", to=ZEROS)
_body(
    "exact-to-tolerance",
    "takes back the promise that the result repeats byte for byte",
    "models",
    0,
    "arithmetic",
    to="tolerance",
)
_body("licence", "changes the licence of the weights", "models", 0, "licence", to="MIT or so")
_body(
    "degradation",
    "adds an estimate of the degradation",
    "degradation",
    to=lambda d: {**d, "haze": {"value": 0.0, "low": 0.0, "high": 0.0, "unit": "share"}},
)
_body("abstained", "flips the flag that the tool abstained", "abstained", to=lambda flag: not flag)
_body("abstention-reason", "changes why the tool abstained", "abstentions", to=lambda r: [*r, "too dark"])
_body(
    "result-pixel-hash",
    "puts the hash of other pixels in the place of the result's",
    "result",
    "pixels_sha256",
    to=ZEROS,
    caught_by=(*BODY, "result.pixels"),
)
_body(
    "result-size",
    "changes the recorded width",
    "result",
    "width",
    to=lambda n: n + 1,
    caught_by=(*BODY, "result.pixels"),
)
_body("consistency", "adds a measure of consistency", "result", "consistency", to={"residual": 0.0})
_body(
    "guarantee", "writes a guarantee below the confidence map", "maps", "confidence", "guarantee", to="99 %"
)
_body("map-method", "says the map was made in another way", "maps", "edit", "method", to="difference")
_body("map-statistics", "makes the edit look small", "maps", "edit", "statistics", to={"mean": 0.0})
_body("map-unrecorded", "takes the confidence map out of the record", "maps", "confidence", to=None)
_body(
    "map-hash",
    "records the hash of another edit map",
    "maps",
    "edit",
    "file_sha256",
    to=ZEROS,
    caught_by=(*BODY, "maps.edit"),
)
_body(
    "finding-added",
    "adds a finding that the text was confirmed",
    "findings",
    to=lambda f: [*f, {"checker": "text", "severity": "info", "message": "confirmed", "details": {}}],
)
_body(
    "label",
    "calls the result by another source type",
    "label",
    "digital_source_type",
    to="compositeWithTrainedAlgorithmicMedia",
)
_body("statement", "takes the standing statement out", "label", "statement", to="")
_body(
    "ancestor-added",
    "says that the source carried a trusted claim",
    "ingredients",
    to=[{"label": "urn:c2pa:x", "verdict": "pass"}],
    caught_by=(*BODY, "c2pa.ancestors"),
)

for _name, _does, _path, _value, _caught in (
    ("seal-hash", "seals another result file", ("files", "result", "sha256"), ZEROS, "result.file"),
    ("seal-length", "seals a result of another length", ("files", "result", "bytes"), 12, "result.file"),
    (
        "seal-of-another-record",
        "binds the seal to another record",
        ("files", "body_sha256"),
        ZEROS,
        "signature",
    ),
    ("seal-name", "gives the sealed file another name", ("files", "result", "name"), "x.png", "signature"),
):
    FIELDS.add(_name, _does, dict.fromkeys(("signature", _caught)), _set(*_path, to=_value))
