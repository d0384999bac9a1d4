"""The claim inside a result: what survives, what is noticed, ancestors the library would let pass."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import c2pa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restore_manifests import c2pa_claim
from restore_manifests.canonical import sha256_hex
from restore_manifests.data_hash import DataHash
from restore_manifests.errors import KeyStoreError, ManifestError
from restore_manifests.keys import Identity
from restore_manifests.pixels import decode_png, encode_png, png_chunks
from restore_manifests.schema import body_bytes

Embed = Callable[..., bytes]


def claim_chunk(data: bytes) -> tuple[int, bytes]:
    return next((start, bytes(body)) for start, name, body in png_chunks(data) if name == b"caBX")


def with_claim(data: bytes, claim: bytes) -> bytes:
    """`data` with another claim chunk of the same length, its check sum mended."""
    start, body = claim_chunk(data)
    assert len(claim) == len(body)
    crc = struct.pack(">I", zlib.crc32(b"caBX" + claim))
    return data[: start + 8] + claim + crc + data[start + 12 + len(body) :]


def damaged(data: bytes) -> bytes:
    """`data` with one changed pixel, otherwise a right PNG with its old claim."""
    start, body = claim_chunk(data)
    pixels = decode_png(data).copy()
    pixels[0, 0] ^= 1
    fresh = encode_png(pixels)
    return fresh[:start] + data[start : start + 12 + len(body)] + fresh[start:]


@pytest.fixture
def embed(good: Any, identity: Identity) -> Embed:
    def make(
        source: bytes,
        signer: Identity = identity,
        mime: str = "image/png",
        map_hashes: dict[str, str] | None = None,
        **changes: Any,
    ) -> bytes:
        body = good.manifest.body.model_copy(update=changes)
        return c2pa_claim.embed(
            encode_png(good.result_pixels),
            body=body,
            manifest_text=body_bytes(body).decode(),
            source_bytes=source,
            source_mime=mime,
            maps={"edit.png": good.inputs.edit_map_bytes},
            identity=signer,
            map_hashes=map_hashes,
        )

    return make


def test_everything_survives(good: Any) -> None:
    view = c2pa_claim.read(good.inputs.result_bytes, [good.identity.root])
    body = good.manifest.body
    assert view.problem is None
    assert view.failures == view.credential_failures == ()
    assert view.binding_problem is None
    assert view.record_text == body_bytes(body).decode()
    assert view.source_types == ("algorithmicallyEnhanced",)
    assert view.maps == {m.name: m.file_sha256 for m in (body.maps.edit, body.maps.confidence)}
    assert view.models == (body.models[0].file_sha256,)
    assert view.ancestors == ()
    assert np.array_equal(decode_png(good.inputs.result_bytes), good.result_pixels)


def test_other_chunks_survive(good: Any, identity: Identity) -> None:
    plain = encode_png(
        good.result_pixels, icc=b"profile", exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0", text={"a": "b"}
    )
    body = good.manifest.body
    signed = c2pa_claim.embed(
        plain,
        body=body,
        manifest_text="{}",
        source_bytes=good.inputs.source_bytes,
        source_mime="image/png",
        maps={},
        identity=identity,
    )
    kept = [(name, data) for _, name, data in png_chunks(signed) if name != b"caBX"]
    assert kept == [(name, data) for _, name, data in png_chunks(plain)]


@pytest.mark.parametrize(
    ("kind", "mime"),
    [("JPEG", "image/jpeg"), ("TIFF", "image/tiff"), ("WEBP", "image/webp"), ("BMP", "image/bmp")],
)
def test_sources_of_every_format(embed: Embed, identity: Identity, kind: str, mime: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, kind)
    view = c2pa_claim.read(embed(stream.getvalue(), mime=mime), [identity.root])
    assert (view.problem, view.failures, view.credential_failures, view.ancestors) == (None, (), (), ())
    assert c2pa_claim.source_ancestors(stream.getvalue(), mime) == []


def test_unknown_signer_is_told_apart(good: Any, other_identity: Identity) -> None:
    for roots in ((), [other_identity.root]):
        view = c2pa_claim.read(good.inputs.result_bytes, roots)
        assert view.failures == ()
        assert view.credential_failures == ("signingCredential.untrusted",)


def test_changed_pixel(good: Any) -> None:
    view = c2pa_claim.read(damaged(good.inputs.result_bytes), [good.identity.root])
    assert "assertion.dataHash.mismatch" in view.failures
    assert view.binding_problem is not None


@pytest.mark.parametrize("change", ["trailing", "text chunk", "other claim chunk"])
def test_changed_bytes_around_the_pixels(good: Any, change: str) -> None:
    data = good.inputs.result_bytes
    extra = {"text chunk": b"tEXt", "other claim chunk": b"caBX"}.get(change)
    if extra is None:
        data += b"x"
    else:
        body = b"a\0b"
        chunk = struct.pack(">I", 3) + extra + body + struct.pack(">I", zlib.crc32(extra + body))
        data = data[:-12] + chunk + data[-12:]
    view = c2pa_claim.read(data, [good.identity.root])
    assert view.problem or view.binding_problem


def test_changed_record_in_the_claim(good: Any) -> None:
    data = good.inputs.result_bytes
    _, claim = claim_chunk(data)
    changed = claim.replace(b'\\"abstained\\":false', b'\\"abstained\\":true ').replace(
        b'"abstained":false', b'"abstained":true '
    )
    assert changed != claim
    view = c2pa_claim.read(with_claim(data, changed), [good.identity.root])
    assert "assertion.hashedURI.mismatch" in view.failures


def test_our_own_binding_is_computed_without_the_library(good: Any) -> None:
    """The library is given no say: only the hash and the exclusion from the claim are used."""
    data = good.inputs.result_bytes
    opened = c2pa_claim._open(data, "image/png", ())
    assert isinstance(opened, c2pa_claim._Opened)
    assertions = opened.store[0]["assertions"]
    assert DataHash(data, assertions).problem is None
    assert DataHash(damaged(data), assertions).problem is not None
    binding = assertions["c2pa.hash.data"]
    wider = {"start": 33, "length": len(data) - 33}
    for changed in (
        {**binding, "exclusions": [wider]},
        {**binding, "exclusions": []},
        {**binding, "exclusions": binding["exclusions"] * 2},
        {**binding, "alg": "md5"},
        {**binding, "hash": "b64''"},
    ):
        assert DataHash(data, {"c2pa.hash.data": changed}).problem is not None
    assert DataHash(data, {}).problem is not None
    assert DataHash(data, {**assertions, "c2pa.hash.boxes": {}}).problem is not None


def test_absent_claim(good: Any) -> None:
    view = c2pa_claim.read(encode_png(good.result_pixels))
    assert view.problem is not None
    assert view.problem[0] == "claim-absent"


@pytest.mark.parametrize("data", [b"", b"x", b"\x89PNG\r\n\x1a\n", bytes(100)])
def test_other_files(data: bytes) -> None:
    assert c2pa_claim.read(data).problem is not None


class TestAncestors:
    def test_intact_and_known(self, good: Any, embed: Embed, identity: Identity) -> None:
        source = good.inputs.result_bytes
        (recorded,) = c2pa_claim.source_ancestors(source, "image/png", [identity.root])
        assert recorded.verdict == "pass"
        (found,) = c2pa_claim.read(embed(source), [identity.root]).ancestors
        assert (found.label, found.verdict) == (recorded.label, "pass")

    def test_signer_not_known(self, good: Any, embed: Embed, other_identity: Identity) -> None:
        source = good.inputs.result_bytes
        (recorded,) = c2pa_claim.source_ancestors(source, "image/png")
        (found,) = c2pa_claim.read(embed(source, other_identity), [other_identity.root]).ancestors
        assert recorded.verdict == found.verdict == "unable"
        both = [other_identity.root, good.identity.root]
        (found,) = c2pa_claim.read(embed(source, other_identity), both).ancestors
        assert found.verdict == "pass"

    def test_broken_ancestor_fails_although_the_library_says_trusted(
        self, good: Any, embed: Embed, identity: Identity
    ) -> None:
        source = damaged(good.inputs.result_bytes)
        (recorded,) = c2pa_claim.source_ancestors(source, "image/png", [identity.root])
        assert recorded.verdict == "fail"
        result = embed(source)
        with (
            c2pa.Context.from_dict(c2pa_claim._settings([identity.root])) as context,
            c2pa.Reader("image/png", io.BytesIO(result), context=context) as reader,
        ):
            assert reader.get_validation_state() == "Trusted"
        view = c2pa_claim.read(result, [identity.root])
        assert view.failures == ()
        (found,) = view.ancestors
        assert found.verdict == "fail"
        assert "assertion.dataHash.mismatch" in found.codes

    def test_broken_grandparent(self, good: Any, embed: Embed, identity: Identity) -> None:
        parent = embed(damaged(good.inputs.result_bytes))
        recorded = c2pa_claim.source_ancestors(parent, "image/png", [identity.root])
        assert sorted(item.verdict for item in recorded) == ["fail", "pass"]
        view = c2pa_claim.read(embed(parent), [identity.root])
        assert {a.label: a.verdict for a in view.ancestors} == {i.label: i.verdict for i in recorded}

    def test_ancestor_changed_inside_the_result(self, good: Any, embed: Embed, identity: Identity) -> None:
        result = embed(good.inputs.result_bytes)
        _, claim = claim_chunk(result)
        first = claim.index(b'"abstained":false')  # ancestors are stored before the active claim
        changed = claim[:first] + b'"abstained":true ' + claim[first + 17 :]
        view = c2pa_claim.read(with_claim(result, changed), [identity.root])
        assert [ancestor.verdict for ancestor in view.ancestors] == ["fail"]

    def test_unreadable_claim_in_the_source(self, good: Any, embed: Embed, identity: Identity) -> None:
        _, claim = claim_chunk(good.inputs.result_bytes)
        source = with_claim(good.inputs.result_bytes, bytes(len(claim)))
        (recorded,) = c2pa_claim.source_ancestors(source, "image/png")
        assert (recorded.label, recorded.verdict) == ("unreadable claim", "fail")


def test_errors_of_the_identity_come_through(good: Any, embed: Embed, identity: Identity) -> None:
    class Broken(Identity):
        def sign(self, data: bytes) -> bytes:
            raise KeyStoreError("the token was pulled out")

    broken = Broken(identity.algorithm, identity.chain, identity.root, identity._key)
    with pytest.raises(KeyStoreError, match="pulled out"):
        embed(good.inputs.source_bytes, broken)


def test_refusals_of_the_library_are_sentences(good: Any, embed: Embed, identity: Identity) -> None:
    assert identity.root is not None
    self_signed = Identity(identity.algorithm, (identity.root,), None, identity._key)
    with pytest.raises(ManifestError, match="could not be written"):
        embed(good.inputs.source_bytes, self_signed)


def test_nothing_is_fetched_and_no_thumbnail_is_made(good: Any) -> None:
    settings = c2pa_claim._settings(())
    assert settings["verify"] == {"remote_manifest_fetch": False, "ocsp_fetch": False}
    opened = c2pa_claim._open(good.inputs.result_bytes, "image/png", ())
    assert isinstance(opened, c2pa_claim._Opened)
    assert not [label for label in opened.store[0]["assertions"] if "thumbnail" in label]
    created = json.dumps(opened.store[0]["claim.v2"]["created_assertions"])
    for label in (c2pa_claim.RECORD_LABEL, "c2pa.actions.v2", "c2pa.ingredient.v3"):
        assert label in created


def test_large_maps_are_named_by_their_hash(good: Any, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the one chunk that holds the claim would be too large for readers of PNG."""
    embedded = embed(good.inputs.source_bytes)
    monkeypatch.setattr(c2pa_claim, "EMBEDDED_MAPS_LIMIT", len(good.inputs.edit_map_bytes) - 1)
    named = embed(good.inputs.source_bytes)
    assert len(named) < len(embedded) - len(good.inputs.edit_map_bytes) // 2
    view = c2pa_claim.read(named)
    assert view.maps == c2pa_claim.read(embedded).maps == {"edit.png": sha256_hex(good.inputs.edit_map_bytes)}
    assert view.failures == ()
    assert view.binding_problem is None
    digest = sha256_hex(good.inputs.edit_map_bytes).encode()
    assert digest in named
    assert c2pa_claim.read(named.replace(digest, digest[::-1])).failures


def test_a_hash_of_a_map_that_is_known_is_not_made_again(
    good: Any, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_claim, "EMBEDDED_MAPS_LIMIT", 0)
    named = embed(good.inputs.source_bytes, map_hashes={"edit.png": "1" * 64, "other.png": "2" * 64})
    assert c2pa_claim.read(named).maps == {"edit.png": "1" * 64}


def test_embedded_maps_are_the_bytes(good: Any, embed: Embed) -> None:
    view = c2pa_claim.read(embed(good.inputs.source_bytes))
    assert view.maps == {"edit.png": sha256_hex(good.inputs.edit_map_bytes)}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_claim_raises_or_goes_unnoticed(good: Any, data: st.DataObject) -> None:
    """Bytes of the claim are changed and the check sum is mended, so that only the claim itself can tell."""
    _, claim = claim_chunk(good.inputs.result_bytes)
    changed = bytearray(claim)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(claim) - 1))] ^= data.draw(st.integers(1, 255))
    view = c2pa_claim.read(with_claim(good.inputs.result_bytes, bytes(changed)), [good.identity.root])
    if bytes(changed) != claim and not (view.problem or view.failures or view.binding_problem):
        whole = c2pa_claim.read(good.inputs.result_bytes, [good.identity.root])
        assert view == whole  # padding, which says nothing
