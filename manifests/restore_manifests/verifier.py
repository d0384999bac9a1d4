"""Every check of a record, as a pure function: bytes, trust and the time in, a report out.

Nothing here opens a file, a socket or a clock, and no input, however hostile, raises. What needs a decoder
for foreign formats or a network to recompute comes in as a digest, with the reason where it could not be
made. The check ids are those of `restore verify`; a check that does not apply is absent, one that could not
be made is `unable`, and nothing unknown ever passes.

Where `RecordInputs.pixels` is False, a picture is not decoded whose bytes are the very ones that a trusted
signer signed: its pixels are then those that were signed, whatever they are. That check passes with the code
SAME_BYTES and a sentence that says so. What it leaves open is whether the signer stated the pixels' hash
rightly. Every other picture is decoded, so that a report says what was changed. The hash that the claim of
such a result states is computed by the C2PA library alone, not once more by ourselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from restore_manifests import claim_checks, log_checks, signer_checks
from restore_manifests.errors import EvidenceError, ManifestError, RestoreError
from restore_manifests.pixels import decode_png, pixels_sha256
from restore_manifests.record import (
    Recomputation,
    Record,
    RecordInputs,
    ResultFile,
    SourcePixels,
    StoredFile,
    file_sha256,
)
from restore_manifests.report import SAME_BYTES, Check, Report, Verdict, equal, failed, passed, short, unable
from restore_manifests.schema import Manifest, Map, parse_manifest

__all__ = [
    "Check",
    "Recomputation",
    "RecordInputs",
    "Report",
    "SourcePixels",
    "StoredFile",
    "Verdict",
    "verify_record",
]

_DECODING = ("source.pixels", "result.pixels", "maps.edit", "maps.confidence")
"""What takes longest first; each works on bytes of its own."""
_VOUCHING = ("signature", "signer.trust")
"""What must hold for a recorded hash of bytes to count as signed by somebody known."""
_WORTH_A_THREAD = 1 << 20
"""Bytes of all pictures together below which a thread takes longer to start than it saves."""


def verify_record(
    inputs: RecordInputs, *, source: Callable[[], SourcePixels] | None = None, threads: int = 1
) -> Report:
    """Check a record. Never raises on the bytes of its inputs.

    `source` decodes the source, in place of what `inputs` says of its pixels. Decoding and hashing run beside
    each other in up to `threads` threads; the report is the same for every number.
    """
    schema, manifest = _schema(inputs.manifest_bytes)
    if manifest is None:
        bare = ResultFile(inputs)
        return Report(
            (
                schema,
                *_made(["c2pa.binding"], lambda: claim_checks.binding(bare)),
                *_made(["c2pa.ancestors"], lambda: claim_checks.ancestors(bare)),
            )
        )
    record = Record(inputs, manifest)
    signed = False  # whether the hashes of files in the record are signed, and by somebody trusted
    steps: list[tuple[list[str], Callable[[], Iterable[Check]]]] = [
        (["result.file"], lambda: _result_file(record)),
        (["result.pixels"], lambda: _result_pixels(record, same_bytes_do=signed)),
        (["manifest.schema"], lambda: [schema]),
        (["signature"], lambda: signer_checks.signature(record)),
        (["signer.trust"], lambda: signer_checks.signer_trust(record)),
        (
            ["c2pa.binding"],
            lambda: claim_checks.binding(record, hash_known=signed and record.result_is_sealed),
        ),
        (["c2pa.ancestors"], lambda: claim_checks.ancestors(record)),
        (["c2pa.agrees"], lambda: claim_checks.agrees(record)),
        (["source.file"], lambda: _source_file(record)),
        (["source.pixels"], lambda: _source_pixels(record, source, same_bytes_do=signed)),
        (["maps.edit"], lambda: _map(record, "edit", same_bytes_do=signed)),
        (["maps.confidence"], lambda: _map(record, "confidence", same_bytes_do=signed)),
        (["log.inclusion", "log.checkpoint"], lambda: log_checks.log(record)),
        (["timestamp"], lambda: signer_checks.timestamp(record)),
        (["model.weights"], lambda: _weights(record)),
        (["recompute.pixels"], lambda: _recompute(record)),
    ]
    made: dict[str, list[Check]] = {}
    if not inputs.pixels and inputs.recomputed is None:  # then who signed decides what is to be decoded
        made = {ids[0]: _made(ids, make) for ids, make in steps if ids[0] in _VOUCHING}
        signed = all(check.verdict is Verdict.PASS for checks in made.values() for check in checks)
    if not signed:  # pictures are decoded: the bytes that are hashed have to be those
        record.inputs = inputs.in_memory()
    left = {ids[0]: (ids, make) for ids, make in steps if ids[0] not in made}
    if threads < 2 or inputs.size < _WORTH_A_THREAD:
        made |= {name: _made(*step) for name, step in left.items()}
    else:
        with ThreadPoolExecutor(threads - 1) as pool:  # this thread works too
            begun = {name: pool.submit(_made, *step) for name, step in left.items() if name in _DECODING}
            made |= {name: _made(*step) for name, step in left.items() if name not in begun}
            made |= {name: future.result() for name, future in begun.items()}
    return Report(tuple(check for ids, _ in steps for check in made[ids[0]]))


def _schema(data: bytes) -> tuple[Check, Manifest | None]:
    name = "manifest.schema"
    try:
        return passed(name, "The manifest can be read and follows its schema."), parse_manifest(data)
    except ManifestError as error:
        return failed(name, "manifest-form", error.message), None
    except Exception as error:  # the last line of defence: hostile bytes must never stop an audit
        return failed(name, "manifest-form", f"The manifest cannot be read ({type(error).__name__})."), None


def _made(ids: list[str], make: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(make())
    except Exception as error:  # as above; a check that breaks has not been made
        reason = error.message if isinstance(error, RestoreError) else type(error).__name__
        return [unable(name, "check-broke", f"The check could not be finished ({reason}).") for name in ids]


def _result_file(record: Record) -> Iterable[Check]:
    sealed, data = record.manifest.files.result, record.inputs.result_bytes
    yield (
        equal("result.file", "file", "The result file is", expected=sealed.sha256, found=record.result_sha256)
        if len(data) == sealed.bytes
        else failed(
            "result.file",
            "file-length",
            f"The result file has {len(data)} bytes; the one that was sealed has {sealed.bytes}.",
        )
    )


def _same_bytes(name: str, what: str, sha256: str) -> Check:
    message = f"{what} is, byte for byte, the one that was signed (SHA-256 {short(sha256)}); it was not"
    return passed(name, f"{message} decoded.", SAME_BYTES)


def _result_pixels(record: Record, *, same_bytes_do: bool) -> Iterable[Check]:
    name, result = "result.pixels", record.body.result
    if same_bytes_do and record.result_is_sealed:
        yield _same_bytes(name, "The result file", record.result_sha256)
        return
    try:
        pixels = decode_png(record.inputs.result_bytes, max_pixels=record.inputs.max_pixels)
    except EvidenceError as error:
        yield failed(name, "pixels-unreadable", f"The pixels of the result cannot be read: {error.message}")
        return
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    shape = (pixels.shape[1], pixels.shape[0], channels, pixels.dtype.itemsize * 8)
    recorded = (result.width, result.height, result.channels, result.bits)
    if shape != recorded:
        yield failed(
            name,
            "pixels-shape",
            "The result is {} x {} pixels of {} channel(s) and {} bits; the record says ".format(*shape)
            + "{} x {}, {} and {}.".format(*recorded),
        )
        return
    found = pixels_sha256(pixels)
    yield equal(name, "pixels", "The pixels of the result are", expected=result.pixels_sha256, found=found)


def _source_file(record: Record) -> Iterable[Check]:
    name, found = "source.file", record.source_sha256
    if found is None:
        yield unable(name, "source-missing", f"The source file {record.body.source.name!r} was not found.")
    else:
        expected = record.body.source.file_sha256
        yield equal(name, "file", "The source file is", expected=expected, found=found)


def _source_pixels(
    record: Record, decode: Callable[[], SourcePixels] | None, *, same_bytes_do: bool
) -> Iterable[Check]:
    name, source, inputs = "source.pixels", record.body.source, record.inputs
    if same_bytes_do and record.source_sha256 == source.file_sha256:
        yield _same_bytes(name, "The source file", source.file_sha256)
        return
    recorded = f"{source.decoder.name} {source.decoder.version}"
    found = (
        decode()
        if decode
        else SourcePixels(inputs.source_pixels_sha256, inputs.source_decoder, inputs.source_problem)
    )
    if found.sha256 is None:
        reason = found.problem or f"the source file {source.name!r} was not found"
        yield unable(name, "source-missing", f"The pixels of the source could not be read: {reason}.")
        return
    check = equal(
        name,
        "pixels",
        "The pixels of the source are",
        expected=source.pixels_sha256,
        found=found.sha256,
    )
    other_decoder = check.verdict is Verdict.FAIL and found.decoder not in (None, recorded)
    if other_decoder and record.source_sha256 == source.file_sha256:
        yield unable(
            name,
            "decoder-differs",
            f"The source file is the same, but it was decoded here by {found.decoder} "
            f"and for the record by {recorded}, with different pixels.",
        )
    else:
        yield check


def _map(record: Record, kind: Literal["edit", "confidence"], *, same_bytes_do: bool) -> Iterable[Check]:
    name = f"maps.{kind}"
    is_edit = kind == "edit"
    recorded: Map | None = record.body.maps.edit if is_edit else record.body.maps.confidence
    data = record.inputs.edit_map_bytes if is_edit else record.inputs.confidence_map_bytes
    if recorded is None:
        return
    what = f"The {kind} map"
    if data is None:
        yield unable(name, "map-missing", f"{what} {recorded.name!r} was not found.")
        return
    file = equal(name, "file", f"{what} file is", expected=recorded.file_sha256, found=file_sha256(data))
    if file.verdict is not Verdict.PASS:
        yield file
        return
    if same_bytes_do:
        yield _same_bytes(name, f"{what} file", recorded.file_sha256)
        return
    try:
        data = data if isinstance(data, bytes) else data.read()
        found = pixels_sha256(decode_png(data, max_pixels=record.inputs.max_pixels))
    except EvidenceError as error:
        yield failed(name, "map-unreadable", f"{what} cannot be read: {error.message}")
        return
    pixels = equal(
        name, "pixels", f"The values of the {kind} map are", expected=recorded.pixels_sha256, found=found
    )
    again = record.inputs.recomputed
    made = (again.edit_sha256 if is_edit else again.confidence_sha256) if again else None
    if pixels.verdict is not Verdict.PASS or made is None:
        yield pixels
    else:
        yield equal(
            name, "recomputed", f"The recomputed {kind} map is", expected=recorded.pixels_sha256, found=made
        )


def _weights(record: Record) -> Iterable[Check]:
    name, models = "model.weights", record.body.models
    missing = None
    for model in models:
        found = record.inputs.weights.get(model.id)
        if found is None:
            missing = unable(name, "weights-missing", f"The weights {model.id!r} are not installed here.")
            continue
        check = equal(
            name, "weights", f"The weights {model.id!r} are", expected=model.file_sha256, found=found
        )
        if check.verdict is Verdict.FAIL:
            yield check
            return
    if missing:
        yield missing
    elif models:
        which = "The weights" if len(models) == 1 else f"All {len(models)} sets of weights"
        yield passed(name, f"{which} installed here are those of the record.")


def _recompute(record: Record) -> Iterable[Check]:
    name, again = "recompute.pixels", record.inputs.recomputed
    if again is None:
        return
    if again.pixels_sha256 is None:
        reason = again.reason or "something needed is missing"
        yield unable(name, "not-recomputed", f"The result could not be recomputed: {reason.rstrip('.')}.")
        return
    expected = record.body.result.pixels_sha256
    check = equal(name, "pixels", "The recomputed result is", expected=expected, found=again.pixels_sha256)
    if check.verdict is Verdict.FAIL and any(m.arithmetic == "tolerance" for m in record.body.models):
        yield unable(
            name,
            "tolerance",
            "The result was made by arithmetic that is not promised to repeat bit for bit.",
        )
    elif check.verdict is Verdict.PASS and again.contradicted:
        said = ", ".join(again.contradicted)
        yield failed(name, "statement-mismatch", f"The recomputation contradicts the record: {said}.")
    else:
        yield check
