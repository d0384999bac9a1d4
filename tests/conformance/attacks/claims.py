"""The C2PA claim inside the result: damaged, doubled, exchanged, signed anew."""

from __future__ import annotations

from typing import Any

from attacks.bench import (
    Corpus,
    Holder,
    Scene,
    chunk,
    claim_of,
    forged_pixels,
    holder,
    issue,
    with_claim,
    with_pixels,
)

from restore_manifests.keys import Identity
from restore_manifests.pixels import encode_png
from restore_manifests.schema import parse_manifest

CLAIMS = Corpus("The C2PA claim")
BROKEN = ("result.file", "c2pa.binding")


def _write(scene: Scene, claim: bytes) -> None:
    scene.bundle.result.write_bytes(with_claim(scene.bundle.result.read_bytes(), claim))


def _claim(scene: Scene) -> bytes:
    return claim_of(scene.bundle.result.read_bytes())


def _replaced(name: str, does: str, old: bytes, new: bytes, *more: str) -> None:
    """Change bytes inside the claim box, check sum of the chunk mended."""
    assert len(old) == len(new)

    def forge(scene: Scene) -> None:
        claim = _claim(scene)
        assert old in claim, old
        _write(scene, claim.replace(old, new))

    CLAIMS.add(name, does, (*BROKEN, *more), forge)


_replaced(
    "claim-record-changed",
    "changes the record inside the claim",
    b'"strict":false',
    b'"strict":true ',
    "c2pa.agrees",
)
_replaced(
    "claim-label-changed",
    "relabels the result in the claim",
    b"algorithmicallyEnhanced",
    b"algorithmicallyEnlarged",
)
_replaced("claim-action-changed", "changes what was done in the claim", b"c2pa.enhanced", b"c2pa.cropped!")
_replaced(
    "claim-record-renamed",
    "renames the record in the claim",
    b"org.restore.run",
    b"org.restore.ruin"[:15],
    "c2pa.agrees",
)


@CLAIMS("flips one bit in the claim's signature", *BROKEN)
def claim_signature_bit(scene: Scene) -> None:
    claim = bytearray(_claim(scene))
    claim[-20] ^= 1  # the signature is the end of the last box
    _write(scene, bytes(claim))


@CLAIMS("flips one bit in the room left empty behind the claim's signature", "result.file")
def claim_padding_bit(scene: Scene) -> None:
    claim = bytearray(_claim(scene))
    claim[-600] ^= 1
    assert claim[-640:-600] == bytes(40)
    _write(scene, bytes(claim))


@CLAIMS("cuts the claim's box off", *BROKEN)
def claim_truncated(scene: Scene) -> None:
    _write(scene, _claim(scene)[:-100])


@CLAIMS("empties the claim's box", *BROKEN)
def claim_emptied(scene: Scene) -> None:
    _write(scene, b"")


@CLAIMS("fills the claim's box with noise", *BROKEN)
def claim_noise(scene: Scene) -> None:
    claim = _claim(scene)
    _write(scene, claim[:40] + bytes(i * 131 % 251 for i in range(len(claim) - 40)))


@CLAIMS("puts the claim into the result a second time", *BROKEN)
def claim_twice(scene: Scene) -> None:
    data = scene.bundle.result.read_bytes()
    box = chunk(b"caBX", _claim(scene))
    scene.bundle.result.write_bytes(data[:33] + box + data[33:])


@CLAIMS("adds the claim of another bundle as a second box", *BROKEN)
def claim_second_of_another(scene: Scene) -> None:
    data = scene.bundle.result.read_bytes()
    box = chunk(b"caBX", claim_of(scene.other.result.read_bytes()))
    scene.bundle.result.write_bytes(data[:-12] + box + data[-12:])


@CLAIMS("moves the claim behind the image data", *BROKEN)
def claim_moved(scene: Scene) -> None:
    data = scene.bundle.result.read_bytes()
    box = chunk(b"caBX", _claim(scene))
    bare = data.replace(box, b"")
    scene.bundle.result.write_bytes(bare[:-12] + box + bare[-12:])


@CLAIMS("puts in a claim that the same laboratory made of the same record at another time", "result.file")
def claim_twin(scene: Scene) -> None:
    """A right claim for exactly these bytes, but not the one that was sealed."""
    scene.bundle.result.write_bytes(scene.lab.claim(scene.bundle))


@CLAIMS("has the claim signed by a stranger of the same name", "result.file", "signer.trust", "c2pa.agrees")
def claim_of_a_stranger(scene: Scene) -> None:
    scene.bundle.result.write_bytes(scene.stranger.claim(scene.bundle))


@CLAIMS(
    "has the claim signed by a stranger whose certificate has the laboratory's serial number",
    "result.file",
    "signer.trust",
)
def claim_of_a_stranger_with_that_serial(scene: Scene) -> None:
    root, signer = _same_names(scene)
    issue(root, root, ca=True, eku=None)
    leaf = issue(root, signer, serial=scene.lab.identity.chain[0].serial_number)
    identity = Identity("ES256", (leaf,), root.certificate, signer.key)
    scene.bundle.result.write_bytes(scene.stranger.claim(scene.bundle, identity=identity))


@CLAIMS("paints over the result and has a stranger claim and seal it", "signer.trust", "result.pixels")
def claim_and_seal_of_a_stranger(scene: Scene) -> None:
    data = scene.bundle.result.read_bytes()
    forged = encode_png(forged_pixels(data))
    scene.bundle.result.write_bytes(scene.stranger.claim(scene.bundle, forged))
    scene.stranger.seal(scene.bundle)


@CLAIMS("makes everything anew, consistently, with his own keys", "signer.trust", "log.checkpoint")
def everything_by_a_stranger(scene: Scene) -> None:
    data = scene.bundle.result.read_bytes()
    pixels = forged_pixels(data)

    def change(body: dict[str, Any]) -> None:
        from restore_manifests.pixels import pixels_sha256  # noqa: PLC0415

        body["result"]["pixels_sha256"] = pixels_sha256(pixels)

    scene.stranger.remake(scene.bundle, change, encode_png(pixels))


@CLAIMS("embeds another map than the record names", "result.file", "c2pa.agrees")
def claim_with_other_maps(scene: Scene) -> None:
    maps = {scene.bundle.edit.name: scene.other.edit.read_bytes()}
    scene.bundle.result.write_bytes(scene.lab.claim(scene.bundle, maps=maps))


@CLAIMS("embeds the record of an older restoration", "result.file", "c2pa.agrees")
def claim_with_older_record(scene: Scene) -> None:
    from restore_manifests.schema import body_bytes  # noqa: PLC0415

    older = parse_manifest(scene.older.manifest.read_bytes()).body
    text = body_bytes(older).decode()
    scene.bundle.result.write_bytes(scene.lab.claim(scene.bundle, manifest_text=text))


@CLAIMS("embeds the same record in another form", "result.file", "c2pa.agrees")
def claim_with_spaced_record(scene: Scene) -> None:
    import json  # noqa: PLC0415

    text = json.dumps(scene.bundle.document()["body"], indent=1)
    scene.bundle.result.write_bytes(scene.lab.claim(scene.bundle, manifest_text=text))


@CLAIMS("embeds a record that ends in the middle", "result.file", "c2pa.agrees")
def claim_with_half_a_record(scene: Scene) -> None:
    scene.bundle.result.write_bytes(scene.lab.claim(scene.bundle, manifest_text='{"id":'))


@CLAIMS("paints over the result and takes the claim's hash for granted", *BROKEN, "result.pixels")
def claim_kept_pixels_changed(scene: Scene) -> None:
    data = scene.bundle.result.read_bytes()
    scene.bundle.result.write_bytes(with_pixels(data, forged_pixels(data)[::-1].copy()))


def _same_names(scene: Scene) -> tuple[Holder, Holder]:
    return holder("Test Laboratory root"), holder("Test Laboratory")
