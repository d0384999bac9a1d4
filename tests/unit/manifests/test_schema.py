"""The manifest document: what is accepted, what is refused, and the JSON Schema beside the module."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_manifests import schema
from restore_manifests.canonical import canonical_bytes
from restore_manifests.errors import ManifestError

Document = dict[str, Any]


@pytest.fixture
def document(good: Any) -> Document:
    return json.loads(good.inputs.manifest_bytes)


def stored(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_round_trip(good: Any) -> None:
    data = schema.manifest_bytes(good.manifest)
    assert schema.parse_manifest(data) == good.manifest
    assert data.endswith(b"}\n")
    assert data.startswith(b'{\n  "schema": "restore.manifest/1",\n  "body": {')


def test_signed_bytes_do_not_depend_on_layout(good: Any, document: Document) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    again = schema.parse_manifest(json.dumps(turned(document), indent=7).encode())
    assert schema.body_bytes(again.body) == schema.body_bytes(good.manifest.body)
    assert schema.body_bytes(again.body) == canonical_bytes(document["body"])
    assert schema.files_bytes(again.files) == canonical_bytes(document["files"])


def test_schema_file_is_current() -> None:
    path = Path(schema.__file__).with_name("manifest.schema.json")
    assert json.loads(path.read_text("utf-8")) == schema.json_schema(), (
        "write it again: json.dumps(restore_manifests.schema.json_schema(), indent=2, sort_keys=True)"
    )


def test_every_member_is_required() -> None:
    definitions = schema.json_schema()["$defs"]
    assert len(definitions) == 21
    for name, definition in definitions.items():
        assert set(definition["required"]) == set(definition["properties"]), name
        assert definition["additionalProperties"] is False, name


def put(path: str, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        *steps, last = path.split(".")
        place: Any = document
        for step in steps:
            place = place[int(step) if isinstance(place, list) else step]
        place[int(last) if isinstance(place, list) else last] = value

    return change


BAD = {
    "wrong version": put("schema", "restore.manifest/2"),
    "unknown member": put("more", 1),
    "unknown member in body": put("body.more", 1),
    "unknown member in a list": put("body.plan.0.more", 1),
    "number as text": put("body.source.width", "32"),
    "text as number": put("body.tool.version", 1),
    "bool as number": put("body.source.width", True),
    "number as bool": put("body.abstained", 0),
    "float as integer": put("body.source.width", 32.5),
    "upper-case hash": put("body.source.file_sha256", "A" * 64),
    "short hash": put("body.source.file_sha256", "a" * 63),
    "hash with line feed": put("body.source.file_sha256", "a" * 64 + "\n"),
    "path as name": put("body.result.name", "../x.png"),
    "backslash in name": put("body.result.name", "..\\x.png"),
    "parent as name": put("body.result.name", ".."),
    "nul in name": put("body.maps.edit.name", "a\0.png"),
    "time with offset": put("body.created", "2026-01-01T00:00:00+01:00"),
    "time with fraction": put("body.created", "2026-01-01T00:00:00.5Z"),
    "impossible time": put("body.created", "2026-13-01T00:00:00Z"),
    "not a version 4 UUID": put("body.id", "3f2b8c1e-5d4a-1b6c-8d7e-9f0a1b2c3d4e"),
    "12 bits": put("body.source.bits", 12),
    "orientation 9": put("body.source.orientation", 9),
    "interval upside down": put("body.degradation.noise_sigma.low", 99),
    "other algorithm": put("signatures.0.algorithm", "none"),
    "no certificate": put("signatures.0.certificates", []),
    "other scope": put("signatures.0.scope", "all"),
    "other anchor": put("anchors.0.type", "blockchain"),
    "other source type": put("body.label.digital_source_type", "trainedAlgorithmicMedia"),
    "body is a list": put("body", []),
    "object in parameters": put("body.plan.0.parameters.tile", {"a": 1}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_documents_are_refused(document: Document, name: str) -> None:
    BAD[name](document)
    with pytest.raises(ManifestError) as caught:
        schema.parse_manifest(stored(document))
    assert "restore.manifest/1" in caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("member", ["schema", "body", "files", "signatures", "anchors"])
def test_missing_members_are_refused(document: Document, member: str) -> None:
    del document[member]
    with pytest.raises(ManifestError, match=member):
        schema.parse_manifest(stored(document))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"1", b'"schema"', b"{}", b"\xff"])
def test_other_documents_are_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        schema.parse_manifest(data)


def test_duplicate_members_are_refused(good: Any) -> None:
    data = good.inputs.manifest_bytes.replace(b'"abstained": false', b'"abstained": true, "abstained": false')
    with pytest.raises(ManifestError, match="twice"):
        schema.parse_manifest(data)


def test_findings_carry_details_of_any_shape(document: Document) -> None:
    document["body"]["findings"][0]["details"] = {
        "boxes": [[1, 2], [3, 4.5]],
        "text": None,
        "deep": {"a": [{}]},
    }
    manifest = schema.parse_manifest(stored(document))
    assert schema.body_bytes(manifest.body) == canonical_bytes(document["body"])


def test_records_are_frozen_and_hold_no_nan(good: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        good.manifest.body.abstained = True
    with pytest.raises(ValueError, match="finite"):
        schema.Degradation(value=float("nan"), low=0.0, high=1.0, unit="")


def test_unwritable_text_is_refused_before_signing(good: Any) -> None:
    request = good.manifest.body.request.model_copy(update={"prompt": "\ud800"})
    body = good.manifest.body.model_copy(update={"request": request})
    with pytest.raises(ManifestError):
        schema.body_bytes(body)


@given(st.text())
def test_recorded_names_are_accepted(name: str) -> None:
    plain = schema.recorded_name(name)
    sealed = schema.SealedFile(name=plain, sha256="0" * 64, bytes=1)
    assert schema.recorded_name(sealed.name) == plain


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.png", "a.png"),
        ("Füße 1:2.png", "Füße 1:2.png"),
        ("..", "_"),
        ("", "_"),
        ("a/b\\c", "a_b_c"),
        (" a ", "a"),
    ],
)
def test_recorded_name(name: str, plain: str) -> None:
    assert schema.recorded_name(name) == plain


@given(st.data())
def test_any_member_replaced_is_refused_or_kept(good: Any, data: st.DataObject) -> None:
    """Whatever is put in place of a member: the reader refuses it, or reads exactly what is there."""
    document = json.loads(good.inputs.manifest_bytes)
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({})
    )
    changed = copy.deepcopy(document)
    try:
        manifest = schema.parse_manifest(stored(document))
    except ManifestError:
        return
    assert canonical_bytes(json.loads(schema.manifest_bytes(manifest))) == canonical_bytes(changed)


def test_what_restore_wrote_is_read_in_the_short_way_and_alike(
    good: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = schema.manifest_bytes(good.manifest)
    short = schema._as_written(data)
    monkeypatch.setattr(schema, "_as_written", lambda _: None)
    assert short == schema.parse_manifest.__wrapped__(data)
    assert short is not None


@given(st.data())
def test_the_short_way_reads_nothing_that_the_general_one_does_not(good: Any, data: st.DataObject) -> None:
    """A byte changed, a piece doubled, a value of another kind in the very form in which restore writes."""
    written = schema.manifest_bytes(good.manifest)
    if data.draw(st.booleans()):
        changed = bytearray(written)
        place = data.draw(st.integers(0, len(written) - 1))
        changed[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"e9", b"0000000000000000", b".0", b'"', b"\\u0041"])
        )
    else:
        lines = written.split(b"\n")
        place = data.draw(st.integers(0, len(lines) - 1))
        lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines[place])
        changed = bytearray(b"\n".join(lines))
    short = schema._as_written(bytes(changed))
    if short is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "_as_written", lambda _: None)
            assert short == schema.parse_manifest.__wrapped__(bytes(changed))


@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), 10**15, 1e15, 1e300, 5e-324, [[2**60]], {"a": [1, 2**53]}, float(2**53)],
    ids=repr,
)
def test_numbers_that_are_not_exact_everywhere_are_not_read_in_the_short_way(
    document: Document, value: Any
) -> None:
    document["body"]["findings"][0]["details"] = {"value": value}
    data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    assert schema._as_written(data) is None


def test_nor_is_deep_nesting(document: Document) -> None:
    deep: Any = []
    for _ in range(40):
        deep = [deep]
    document["body"]["findings"][0]["details"] = {"value": deep}
    data = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    assert schema._as_written(data) is None
    with pytest.raises(ManifestError, match="deeper"):
        schema.parse_manifest(data)
