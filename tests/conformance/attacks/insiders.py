"""Forgeries by somebody who holds the laboratory's keys, and sources that bring claims of their own.

Whoever has the keys can sign whatever he likes. What recomputation can show is shown; for the rest the list
says honestly that the verifier passes it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from attacks.bench import Change, Corpus, Scene, forged_pixels, map_entry, with_pixels

from restore_manifests.c2pa_claim import source_ancestors
from restore_manifests.canonical import sha256_hex
from restore_manifests.pixels import decode_png, encode_png, pixels_sha256

INSIDERS = Corpus("Forgeries with the laboratory's own keys")
ANCESTORS = Corpus("Sources that bring claims")
PIXELS = ("recompute.pixels",)


def _record(name: str, does: str, change: Change, *caught_by: str, exit_code: int = 1) -> None:
    """One statement changed, everything then claimed, signed and logged anew."""
    INSIDERS.add(
        name,
        does,
        caught_by,
        lambda scene: scene.lab.remake(scene.bundle, change),
        exit_code=exit_code,
        recompute=True,
    )


_NOTHING = {"severity": "info", "message": "confirmed", "details": {}}


def _unsaid(body: dict[str, Any]) -> None:
    body["result"]["consistency"] = None
    body["findings"] = [one for one in body["findings"] if one["checker"] != "consistency"]


def _to(*path: str | int, value: Any) -> Change:
    def change(body: dict[str, Any]) -> None:
        place: Any = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value

    return change


def _painted(scene: Scene, more: Change | None = None) -> None:
    pixels = forged_pixels(scene.bundle.result.read_bytes())

    def change(body: dict[str, Any]) -> None:
        body["result"]["pixels_sha256"] = body["trace"][-1]["output_sha256"] = pixels_sha256(pixels)
        if more:
            more(body)

    scene.lab.remake(scene.bundle, change, encode_png(pixels))


@INSIDERS("draws a bar over the result and signs it as restored", *PIXELS, recompute=True)
def insider_paints(scene: Scene) -> None:
    _painted(scene)


@INSIDERS("does the same and takes back the promise that it repeats", *PIXELS, exit_code=3, recompute=True)
def insider_paints_and_promises_nothing(scene: Scene) -> None:
    _painted(scene, _to("models", 0, "arithmetic", value="tolerance"))


@INSIDERS("signs a blank edit map under that promise taken back", "maps.edit", recompute=True)
def insider_blank_edit_map_in_float(scene: Scene) -> None:
    _map(scene, "edit", 0, _to("models", 0, "arithmetic", value="tolerance"))


def _map(scene: Scene, kind: str, level: int, more: Change | None = None) -> None:
    path = scene.bundle.path(f"{kind}.png")
    path.write_bytes(encode_png(decode_png(path.read_bytes()) * 0 + level))

    def change(body: dict[str, Any]) -> None:
        map_entry(body["maps"][kind], path.read_bytes())
        if more:
            more(body)

    scene.lab.remake(scene.bundle, change)


@INSIDERS("signs the hash of other pixels than the result has", "result.pixels", *PIXELS, recompute=True)
def insider_pixel_hash(scene: Scene) -> None:
    def change(body: dict[str, Any]) -> None:
        body["result"]["pixels_sha256"] = ZEROS

    scene.lab.remake(scene.bundle, change)


@INSIDERS("signs an edit map that shows no change", "maps.edit", recompute=True)
def insider_blank_edit_map(scene: Scene) -> None:
    _map(scene, "edit", 0)


@INSIDERS("signs a confidence map that is sure of everything", "maps.confidence", recompute=True)
def insider_sure_of_everything(scene: Scene) -> None:
    _map(scene, "confidence", 1)


def _earlier(created: str) -> str:
    return f"{datetime.fromisoformat(created) - timedelta(minutes=4):%Y-%m-%dT%H:%M:%SZ}"


ZEROS = "0" * 64
_record(
    "insider-trace", "signs a trace of other pixels", _to("trace", 0, "input_sha256", value=ZEROS), *PIXELS
)
_record(
    "insider-abstention",
    "signs that the tool abstained where it did not, or the reverse",
    _to("abstained", value=lambda flag: not flag),
    *PIXELS,
)
_record(
    "insider-statistics",
    "signs statistics of a smaller edit",
    _to("maps", "edit", "statistics", "mean", value=0.01),
    *PIXELS,
)
_record(
    "insider-consistency",
    "signs that the result agrees better with the source",
    _to("result", "consistency", "residual_rms", value=0.0),
    *PIXELS,
)
_record(
    "insider-consistency-finding",
    "signs milder words about how the result agrees with the source",
    _to(
        "findings",
        value=lambda found: [
            {**one, "message": "confirmed"} if one["checker"] == "consistency" else one for one in found
        ],
    ),
    *PIXELS,
)
_record(
    "insider-consistency-unsaid",
    "leaves out how the result agrees with the source, as records of earlier versions do",
    _unsaid,
    exit_code=0,
)
_record(
    "insider-degradation",
    "signs an estimate that was not made",
    _to(
        "degradation", value=lambda d: {**d, "haze": {"value": 0.0, "low": 0.0, "high": 0.0, "unit": "share"}}
    ),
    *PIXELS,
)
_record(
    "insider-unknown-operation",
    "signs a plan with an operation that no version knows",
    _to("plan", 0, "operation", value="hallucinate"),
    *PIXELS,
    exit_code=3,
)
_record(
    "insider-endless-plan",
    "signs a plan that enlarges again and again, to exhaust the verifier",
    _to("plan", value=lambda p: [{"operation": "enlarge", "parameters": {"factor": 4}}] * 30 + p),
    *PIXELS,
    exit_code=3,
)
_record(
    "insider-restores-twice",
    "signs a plan that restores what is restored, in one size",
    _to("plan", value=lambda p: [{**p[0], "operation": "restore_small"}, *p]),
    *PIXELS,
    exit_code=3,
)
_record(
    "insider-other-program",
    "signs a plan of another program",
    _to("plan", 0, "parameters", "program_sha256", value=ZEROS),
    *PIXELS,
    exit_code=3,
)
_record(
    "insider-other-weights",
    "signs the hash of other weights",
    _to("models", 0, "file_sha256", value=ZEROS),
    "model.weights",
)
_record("insider-no-model", "signs that no model took part", _to("models", value=[]), *PIXELS, exit_code=3)


@INSIDERS("has the verifier run a network that lies in the bundle", *PIXELS, exit_code=3, recompute=True)
def insider_brings_a_network(scene: Scene) -> None:
    network = scene.outside / "evil.safetensors"
    network.write_bytes(scene.lab.home.joinpath("models", "tiny.safetensors").read_bytes())

    def change(body: dict[str, Any]) -> None:
        body["models"][0]["id"] = body["plan"][0]["parameters"]["model"] = str(network)

    scene.lab.remake(scene.bundle, change)


_record(
    "insider-prompt",
    "signs a prompt that nobody gave",
    _to("request", "prompt", value="sharper"),
    exit_code=0,
)
_record(
    "insider-backdates",
    "dates the record back within the certificate's validity",
    _to("created", value=_earlier),
    exit_code=0,
)
_record(
    "insider-guarantee",
    "signs a guarantee that nobody proved",
    _to("maps", "confidence", "guarantee", value="99 %"),
    *PIXELS,
)
_record(
    "insider-finding",
    "signs a finding that nobody made",
    _to("findings", value=lambda found: [*found, {**_NOTHING, "checker": "text"}]),
    exit_code=0,
)
_record(
    "insider-statement",
    "signs a result without the standing statement",
    _to("label", "statement", value=""),
    *PIXELS,
)
_record(
    "insider-decoder",
    "signs that another decoder read the source",
    _to("source", "decoder", "version", value="0.1"),
    exit_code=0,
)


@INSIDERS("leaves the confidence map out of everything", exit_code=0, recompute=True)
def insider_without_confidence_map(scene: Scene) -> None:
    bundle = scene.bundle
    document = bundle.document()
    document["body"]["maps"]["confidence"] = None
    bundle.change(lambda d: d["body"].__setitem__("maps", document["body"]["maps"]))
    maps = {bundle.edit.name: bundle.edit.read_bytes()}
    _remade_with_maps(scene, maps)
    bundle.confidence.unlink()


def _remade_with_maps(scene: Scene, maps: dict[str, bytes]) -> None:
    from restore_manifests.schema import body_bytes, manifest_bytes, parse_manifest  # noqa: PLC0415
    from restore_manifests.signing import sign_manifest  # noqa: PLC0415

    body = parse_manifest(scene.bundle.manifest.read_bytes()).body
    result = scene.lab.claim(scene.bundle, maps=maps)
    scene.bundle.result.write_bytes(result)
    signed = sign_manifest(body, result, scene.lab.identity, anchors=[scene.lab.log(body_bytes(body))])
    scene.bundle.manifest.write_bytes(manifest_bytes(signed))


@INSIDERS(
    "restores a picture that he painted before, as if it were the evidence", exit_code=0, recompute=False
)
def insider_paints_the_source(scene: Scene) -> None:
    _source(scene, encode_png(forged_pixels(scene.bundle.source.read_bytes())))


def _source(scene: Scene, data: bytes, listed: Callable[[list[Any]], list[Any]] = list) -> None:
    """A record about another source, its claims listed as `listed` gives them."""
    scene.bundle.source.write_bytes(data)
    found = [item.model_dump() for item in source_ancestors(data, "image/png")]

    def change(body: dict[str, Any]) -> None:
        pixels = decode_png(data)
        body["source"].update(
            file_sha256=sha256_hex(data), pixels_sha256=pixels_sha256(pixels), bytes=len(data)
        )
        body["ingredients"] = listed(found)

    scene.lab.remake(scene.bundle, change)


def _broken(scene: Scene) -> bytes:
    """A picture whose claim is another picture's."""
    data = scene.other.result.read_bytes()
    return with_pixels(data, forged_pixels(data))


@ANCESTORS("hands in evidence whose claim does not hold", "c2pa.ancestors")
def ancestor_broken(scene: Scene) -> None:
    _source(scene, _broken(scene))


@ANCESTORS("does so, and the record keeps silent about it", "c2pa.ancestors")
def ancestor_concealed(scene: Scene) -> None:
    _source(scene, _broken(scene), lambda found: [])


@ANCESTORS("does so, and the record says that the claim held", "c2pa.ancestors")
def ancestor_whitewashed(scene: Scene) -> None:
    _source(scene, _broken(scene), lambda found: [{**item, "verdict": "pass"} for item in found])


@ANCESTORS("records a claim that the source never carried", "c2pa.ancestors")
def ancestor_invented(scene: Scene) -> None:
    invented = {"label": "urn:c2pa:3f2b8c1e-5d4a-4b6c-8d7e-9f0a1b2c3d4e", "verdict": "pass"}
    _source(scene, scene.bundle.source.read_bytes(), lambda found: [invented])


@ANCESTORS("records a claim twice, broken and then whole", "c2pa.ancestors")
def ancestor_twice(scene: Scene) -> None:
    def listed(found: list[Any]) -> list[Any]:
        return [{**found[0], "verdict": "fail"}, {**found[0], "verdict": "pass"}]

    _source(scene, scene.other.result.read_bytes(), listed)


@ANCESTORS("hands in evidence signed by a stranger of the same name", "c2pa.ancestors", exit_code=3)
def ancestor_of_a_stranger(scene: Scene) -> None:
    _source(scene, scene.stranger.claim(scene.other))


@ANCESTORS("writes the lines of other checks into the name of a claim", "c2pa.ancestors")
def ancestor_forges_lines(scene: Scene) -> None:
    label = "x\npass    signer.trust  The signer is known.\x1b[2K\u202e"
    _source(scene, scene.bundle.source.read_bytes(), lambda found: [{"label": label, "verdict": "fail"}])


@ANCESTORS("cuts the claim out of the evidence after it was restored", "source.file")
def ancestor_cut_out(scene: Scene) -> None:
    from attacks.bench import without_claim  # noqa: PLC0415

    _source(scene, scene.other.result.read_bytes())
    scene.bundle.source.write_bytes(without_claim(scene.bundle.source.read_bytes()))
