"""Files of the bundle exchanged, changed, taken away, or put together from several bundles."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from attacks.bench import (
    Corpus,
    Scene,
    chunk,
    claim_of,
    flip,
    forged_pixels,
    with_claim,
    with_pixels,
    without_claim,
)

from restore_manifests.pixels import decode_png, encode_png

FILES = Corpus("Files exchanged or changed")
_REMOTE = (
    b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF "
    b"xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description "
    b"xmlns:dcterms='http://purl.org/dc/terms/' dcterms:provenance='http://192.0.2.1/claim.c2pa'/>"
    b"</rdf:RDF></x:xmpmeta>"
)
RESULT = ("result.file", "result.pixels", "c2pa.binding")


def _result(scene: Scene) -> bytes:
    return scene.bundle.result.read_bytes()


@FILES("draws a bar over the restored picture and keeps its claim", *RESULT)
def result_painted(scene: Scene) -> None:
    data = _result(scene)
    scene.bundle.result.write_bytes(with_pixels(data, forged_pixels(data)))


@FILES("changes one sample of the result by one level", *RESULT)
def result_one_level(scene: Scene) -> None:
    pixels = decode_png(_result(scene)).copy()
    pixels[0, 0, 0] ^= 1
    scene.bundle.result.write_bytes(with_pixels(_result(scene), pixels))


@FILES("puts the result of another bundle in its place", "result.file", "result.pixels", "c2pa.agrees")
def result_of_another(scene: Scene) -> None:
    scene.bundle.result.write_bytes(scene.other.result.read_bytes())


@FILES("compresses the same pixels anew, claim kept", "result.file", "c2pa.binding")
def result_compressed_anew(scene: Scene) -> None:
    data = _result(scene)
    again = encode_png(decode_png(data), level=9)
    scene.bundle.result.write_bytes(again[:33] + chunk(b"caBX", claim_of(data)) + again[33:])


@FILES("saves the result again in another program", "result.file", "c2pa.binding")
def result_saved_again(scene: Scene) -> None:
    picture = cv2.imdecode(_array(_result(scene)), cv2.IMREAD_UNCHANGED)
    scene.bundle.result.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


@FILES("delivers a JPEG under the result's name", *RESULT)
def result_as_jpeg(scene: Scene) -> None:
    picture = cv2.imdecode(_array(_result(scene)), cv2.IMREAD_UNCHANGED)
    scene.bundle.result.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


@FILES("appends bytes behind the result's end", *RESULT)
def result_trailing_bytes(scene: Scene) -> None:
    scene.bundle.result.write_bytes(_result(scene) + b"PK\x03\x04")


@FILES("cuts the result off", *RESULT)
def result_truncated(scene: Scene) -> None:
    scene.bundle.result.write_bytes(_result(scene)[:-40])


def _insert(name: str, does: str, kind: bytes, body: bytes, *caught_by: str) -> None:
    def forge(scene: Scene) -> None:
        data = _result(scene)
        place = 33 if kind != b"tEXt" else len(data) - 12
        scene.bundle.result.write_bytes(data[:place] + chunk(kind, body) + data[place:])

    FILES.add(name, does, caught_by, forge)


_insert(
    "result-text-chunk", "adds a text chunk", b"tEXt", b"Comment\0original", "result.file", "c2pa.binding"
)
_insert(
    "result-gamma-chunk",
    "adds a chunk that makes viewers show it darker",
    b"gAMA",
    b"\0\1\x86\xa0",
    "result.file",
    "c2pa.binding",
)
_insert(
    "result-animated",
    "adds an animation that viewers would play",
    b"acTL",
    b"\0\0\0\2\0\0\0\0",
    *RESULT,
)
_insert(
    "result-transparent",
    "adds a colour that viewers leave out",
    b"tRNS",
    b"\0\0\0\0\0\0",
    *RESULT,
)
_insert(
    "result-remote-claim",
    "points to a claim on a server of his",
    b"iTXt",
    _REMOTE,
    "result.file",
    "c2pa.binding",
)


@FILES("takes the claim out and points to one on a server of his", "result.file", "c2pa.binding")
def claim_moved_to_a_server(scene: Scene) -> None:
    data = without_claim(_result(scene))
    scene.bundle.result.write_bytes(data[:33] + chunk(b"iTXt", _REMOTE) + data[33:])


@FILES("exchanges the two maps", "maps.edit", "maps.confidence")
def maps_exchanged(scene: Scene) -> None:
    edit, confidence = scene.bundle.edit.read_bytes(), scene.bundle.confidence.read_bytes()
    scene.bundle.edit.write_bytes(confidence)
    scene.bundle.confidence.write_bytes(edit)


@FILES("puts the edit map of another bundle in its place", "maps.edit")
def edit_map_of_another(scene: Scene) -> None:
    scene.bundle.edit.write_bytes(scene.other.edit.read_bytes())


@FILES("puts the confidence map of another bundle in its place", "maps.confidence")
def confidence_map_of_another(scene: Scene) -> None:
    scene.bundle.confidence.write_bytes(scene.other.confidence.read_bytes())


@FILES("delivers an edit map that shows no change", "maps.edit")
def edit_map_blank(scene: Scene) -> None:
    scene.bundle.edit.write_bytes(encode_png(decode_png(scene.bundle.edit.read_bytes()) * 0))


@FILES("keeps the map's values and adds a caption to its file", "maps.confidence")
def map_with_caption(scene: Scene) -> None:
    pixels = decode_png(scene.bundle.confidence.read_bytes())
    scene.bundle.confidence.write_bytes(encode_png(pixels, text={"Title": "calibrated"}))


@FILES("keeps the map's values and compresses them anew", "maps.edit")
def map_compressed_anew(scene: Scene) -> None:
    scene.bundle.edit.write_bytes(encode_png(decode_png(scene.bundle.edit.read_bytes()), level=9))


@FILES("flips one bit of a map", "maps.confidence")
def map_bit(scene: Scene) -> None:
    flip(scene.bundle.confidence)


@FILES("takes a map away", "maps.edit", exit_code=3)
def map_missing(scene: Scene) -> None:
    scene.bundle.edit.unlink()


@FILES("changes the source and leaves the rest", "source.file", "source.pixels")
def source_painted(scene: Scene) -> None:
    scene.bundle.source.write_bytes(encode_png(forged_pixels(scene.bundle.source.read_bytes())))


@FILES("saves the source again, pixels kept", "source.file")
def source_saved_again(scene: Scene) -> None:
    pixels = decode_png(scene.bundle.source.read_bytes())
    scene.bundle.source.write_bytes(encode_png(pixels, level=9, text={"Comment": "original"}))


@FILES("presents another picture as the source", "source.file", "source.pixels")
def source_of_another(scene: Scene) -> None:
    scene.bundle.source.write_bytes(scene.other.source.read_bytes())


@FILES("takes the source away", "source.file", exit_code=3)
def source_missing(scene: Scene) -> None:
    scene.bundle.source.unlink()


@FILES("puts the manifest of another bundle beside the result", "result.file", "result.pixels", "c2pa.agrees")
def manifest_of_another(scene: Scene) -> None:
    scene.bundle.manifest.write_bytes(scene.other.manifest.read_bytes())


@FILES("puts an older manifest of the same source beside the new result", "result.file", "c2pa.agrees")
def manifest_replayed(scene: Scene) -> None:
    scene.bundle.manifest.write_bytes(scene.older.manifest.read_bytes())


@FILES("puts the older result of the same source beside the new manifest", "result.file", "c2pa.agrees")
def result_replayed(scene: Scene) -> None:
    scene.bundle.result.write_bytes(scene.older.result.read_bytes())


@FILES("puts the seal of an older record over the new one", "signature", "result.file")
def seal_replayed(scene: Scene) -> None:
    older = scene.older.document()

    def change(document: dict[str, object]) -> None:
        document["files"] = older["files"]
        signatures = document["signatures"]
        assert isinstance(signatures, list)
        signatures[1] = older["signatures"][1]

    scene.bundle.change(change)


@FILES("takes the claim out of the result", "result.file", "c2pa.binding")
def claim_removed(scene: Scene) -> None:
    scene.bundle.result.write_bytes(without_claim(_result(scene)))


@FILES("puts the claim of another bundle into the result", "result.file", "c2pa.binding", "c2pa.agrees")
def claim_of_another(scene: Scene) -> None:
    claim = claim_of(scene.other.result.read_bytes())
    scene.bundle.result.write_bytes(with_claim(_result(scene), claim))


def _array(data: bytes) -> Any:
    return np.frombuffer(data, np.uint8)
