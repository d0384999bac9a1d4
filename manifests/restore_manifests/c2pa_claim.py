"""The C2PA claim inside a result: written with the library, read with the library, judged by ourselves.

The library calls a file "Trusted" although an ancestor in it is broken, so its state is never used: the
verdict comes from the single findings, from each ancestor's, and from our own computation of the hard binding
(C2PA 2.2, section 18.5). The claim carries the record as one RFC 8785 text, because numbers do not survive
every reader. Nothing is ever fetched. The library is imported on use; it takes a tenth of a second.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

from restore_manifests.canonical import sha256_hex
from restore_manifests.claim_store import (
    Ancestor,
    ancestors_of,
    as_dict,
    as_list,
    codes_of,
    ingredients_of,
    judge,
)
from restore_manifests.data_hash import DataHash
from restore_manifests.errors import ManifestError
from restore_manifests.schema import Body, Ingredient
from restore_manifests.signing import ACCEPTED_EKU

if TYPE_CHECKING:
    from cryptography import x509

    from restore_manifests.keys import Identity

__all__ = ["EMBEDDED_MAPS_LIMIT", "RECORD_LABEL", "ClaimView", "embed", "read", "source_ancestors"]

RECORD_LABEL = "org.restore.run"
EMBEDDED_MAPS_LIMIT = 4 << 20
"""Bytes of maps that a claim takes in: readers of PNG refuse large chunks, libpng by default above 8 MB."""
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_PNG = "image/png"
_ABSENT = "claim-absent"
_MARKS = (b"jumb", b"caBX", b"c2pa")  # one of them is in every file that carries a claim
# what is said about the signer, not about the content; the verifier judges it under signer.trust
_CREDENTIAL = ("signingCredential.", "timeStamp.", "claimSignature.outsideValidity")
_REQUIRED = ("claimSignature.validated", "assertion.dataHash.match")


@dataclass(frozen=True)
class ClaimView:
    """What the claim inside a result says, and what is wrong with it.

    `problem` is a (code, sentence) pair where there is no claim to speak of; all else is then empty.
    """

    problem: tuple[str, str] | None = None
    failures: tuple[str, ...] = ()
    """Codes of the active claim that concern content, not the signer."""
    credential_failures: tuple[str, ...] = ()
    binding: DataHash | None = field(default=None, repr=False, compare=False)
    """The hard binding, to be computed by ourselves."""
    record_text: str | None = None
    record_problem: str | None = None
    source_types: tuple[str, ...] = ()
    maps: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every component, by its title: of its bytes where they are embedded, else as stated."""
    models: tuple[str, ...] = ()
    """SHA-256 that the claim gives for the weights that took part."""
    signer_serial: int | None = None
    ancestors: tuple[Ancestor, ...] = ()

    @property
    def binding_problem(self) -> str | None:
        """Why our own computation of the hard binding does not hold; None if it does."""
        return None if self.binding is None else self.binding.problem


def embed(
    png_bytes: bytes,
    *,
    body: Body,
    manifest_text: str,
    source_bytes: bytes,
    source_mime: str,
    maps: Mapping[str, bytes],
    identity: Identity,
    map_hashes: Mapping[str, str] | None = None,
) -> bytes:
    """`png_bytes` with a signed claim inside; pixels and other chunks stay as they are.

    `manifest_text` is the RFC 8785 text of `body`; `maps` holds the map files (PNG) by recorded name. Maps of
    more than `EMBEDDED_MAPS_LIMIT` bytes together are named by their hash instead of being embedded:
    `map_hashes` gives it (SHA-256, by name) as far as the caller has made it from these bytes. The source
    becomes the parent ingredient with the claims it carries, if readable; the weights become inputs
    with their hash. Raises ManifestError if the library refuses, or whatever the identity raises while
    signing.
    """
    import c2pa  # noqa: PLC0415

    failed: list[BaseException] = []

    def sign(data: bytes) -> bytes:
        try:
            return identity.sign(data)
        except BaseException as error:  # the library swallows what its callback raises
            failed.append(error)
            raise

    algorithm = c2pa.C2paSigningAlg[identity.algorithm.upper()]
    signed = io.BytesIO()
    try:
        with (
            c2pa.Context.from_dict(_settings(())) as context,
            c2pa.Builder(json.dumps(_definition(body, manifest_text)), context=context) as builder,
        ):
            parent = {"title": body.source.name, "relationship": "parentOf", "label": "source"}
            try:
                builder.add_ingredient(json.dumps(parent), source_mime, io.BytesIO(source_bytes))
            except c2pa.C2paError:  # a broken claim in the evidence must not stop its restoration
                builder.add_ingredient(
                    json.dumps(parent), "application/octet-stream", io.BytesIO(source_bytes)
                )
            _add_maps(builder, maps, map_hashes or {})
            for model in body.models:
                weights = {
                    "title": model.id,
                    "relationship": "inputTo",
                    "data_types": [{"type": "c2pa.types.model"}],
                    "metadata": {"sha256": model.file_sha256},
                }
                builder.add_ingredient(json.dumps(weights), "application/octet-stream", io.BytesIO())
            with c2pa.Signer.from_callback(sign, algorithm, identity.chain_pem, None) as signer:
                builder.sign(signer, _PNG, io.BytesIO(png_bytes), signed)
    except c2pa.C2paError as error:
        if failed:
            raise failed[0] from error
        raise ManifestError(
            f"The C2PA claim could not be written: {str(error)[:200]}.",
            hint="An identity made by 'restore keys init' is known to work.",
        ) from error
    return signed.getvalue()


def _add_maps(builder: Any, maps: Mapping[str, bytes], known: Mapping[str, str]) -> None:
    whole = sum(map(len, maps.values())) <= EMBEDDED_MAPS_LIMIT
    for number, (name, data) in enumerate(maps.items()):
        component: dict[str, Any] = {"title": name, "relationship": "componentOf"}
        if not whole:
            component["metadata"] = {"sha256": known.get(name) or sha256_hex(data)}
            builder.add_ingredient(json.dumps(component), "application/octet-stream", io.BytesIO())
            continue
        identifier = f"map-{number}.png"  # a name from outside could be read as an address
        builder.add_resource(identifier, io.BytesIO(data))
        component["data"] = {"format": _PNG, "identifier": identifier}
        builder.add_ingredient(json.dumps(component), _PNG, io.BytesIO(data))


def read(png_bytes: bytes, roots: Sequence[x509.Certificate] = ()) -> ClaimView:
    """The claim inside a PNG, judged finding by finding. Never raises on the bytes; never fetches."""
    opened = _open(png_bytes, _PNG, roots)
    if isinstance(opened, tuple):
        return ClaimView(problem=opened)
    store, parts = opened.store, opened.parts
    active = as_dict(store[0])
    assertions = as_dict(active.get("assertions"))
    codes = _failures(as_dict(active.get("validationResults")))
    record, record_problem = _record(active, assertions)
    certificate = as_dict(as_dict(active.get("signature")).get("certificateInfo"))
    return ClaimView(
        failures=tuple(code for code in codes if not code.startswith(_CREDENTIAL)),
        credential_failures=tuple(code for code in codes if code.startswith(_CREDENTIAL)),
        binding=DataHash(png_bytes, assertions),
        record_text=record,
        record_problem=record_problem,
        source_types=tuple(
            str(action["digitalSourceType"]).removeprefix(_SOURCE_TYPES)
            for label, assertion in assertions.items()
            if label.startswith("c2pa.actions")
            for action in map(as_dict, as_list(as_dict(assertion).get("actions")))
            if "digitalSourceType" in action
        ),
        maps=parts,
        models=tuple(
            str(as_dict(item.get("metadata")).get("sha256"))
            for _, item in ingredients_of(assertions)
            if item.get("relationship") == "inputTo"
        ),
        signer_serial=_serial(certificate.get("serialNumber")),
        ancestors=ancestors_of(store),
    )


def source_ancestors(
    source_bytes: bytes, mime: str, roots: Sequence[x509.Certificate] = ()
) -> list[Ingredient]:
    """The claims that a source brings along, for the record; empty if it has none.

    Never raises on the bytes.
    """
    opened = _open(source_bytes, mime, roots)
    if isinstance(opened, tuple):
        # a file that is odd in itself, or of a format without claims, is not one with a broken claim
        if opened[0] == _ABSENT or not any(mark in source_bytes for mark in _MARKS):
            return []
        return [Ingredient(label="unreadable claim", verdict="fail")]
    own = as_dict(opened.store[0])
    found = judge(str(own.get("label")), _failures(as_dict(own.get("validationResults"))), known=True)
    return [Ingredient(label=a.label[:1000], verdict=a.verdict) for a in (found, *ancestors_of(opened.store))]


def _settings(roots: Sequence[x509.Certificate]) -> dict[str, Any]:
    trust = {"trust_config": "\n".join(ACCEPTED_EKU)}
    if roots:
        trust["trust_anchors"] = "".join(root.public_bytes(Encoding.PEM).decode() for root in roots)
    return {
        # both are on by default: an audit would call out to whoever wrote the file
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "trust": trust,
        "builder": {
            "thumbnail": {"enabled": False},
            # otherwise they count as gathered from elsewhere, not as the signer's own statement
            "created_assertion_labels": [RECORD_LABEL, "c2pa.actions", "c2pa.ingredient"],
        },
    }


def _definition(body: Body, manifest_text: str) -> dict[str, Any]:
    agent = {"name": body.tool.name, "version": body.tool.version}
    opened = {"action": "c2pa.opened", "softwareAgent": agent, "parameters": {"ingredientIds": ["source"]}}
    enhanced = {
        "action": "c2pa.enhanced",
        "when": body.created,
        "softwareAgent": agent,
        "digitalSourceType": _SOURCE_TYPES + body.label.digital_source_type,
        "description": body.label.statement,
    }
    return {
        "claim_generator_info": [agent],
        "title": body.result.name,
        "format": _PNG,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, enhanced]}},
            {"label": RECORD_LABEL, "data": {"manifest": manifest_text}},
        ],
    }


@dataclass(frozen=True)
class _Opened:
    store: list[Any]
    """Manifests of the store as crJSON, the active one first; plain json() corrupts lists of integers."""
    parts: dict[str, str]


def _open(data: bytes, mime: str, roots: Sequence[x509.Certificate]) -> _Opened | tuple[str, str]:
    import c2pa  # noqa: PLC0415

    try:
        with (
            _reading(tuple(roots)) as context,
            c2pa.Reader(mime, io.BytesIO(data), context=context) as reader,
        ):
            store = as_list(json.loads(reader.crjson()).get("manifests"))
            active = _alone(store) or as_dict(reader.get_active_manifest()).get("label")
            store = sorted(store, key=lambda m: as_dict(m).get("label") != active)
            if not store or as_dict(store[0]).get("label") != active:
                return "claim-unreadable", "the claim store names no active claim"
            return _Opened(store, _parts(reader, as_dict(as_dict(store[0]).get("assertions"))))
    except (
        Exception
    ) as error:  # on a damaged store the library also trips in its own code (KeyError and more)
        absent = isinstance(error, c2pa.C2paError) and "ManifestNotFound" in f"{type(error).__name__} {error}"
        return (_ABSENT, "it carries no C2PA claim") if absent else ("claim-unreadable", str(error)[:200])


@contextlib.contextmanager
def _reading(roots: tuple[x509.Certificate, ...]) -> Iterator[Any]:
    """A context to read with; it holds settings only, so readers of the same trust share it, one by one."""
    idle = _idle_contexts(roots)
    try:
        context = idle.pop()
    except IndexError:
        import c2pa  # noqa: PLC0415

        context = c2pa.Context.from_dict(_settings(roots))
    yield context
    idle.append(context)  # not after an error: whatever happened to it, nobody else is to meet it


@lru_cache(maxsize=8)
def _idle_contexts(roots: tuple[x509.Certificate, ...]) -> deque[Any]:  # noqa: ARG001 - the key
    return deque(maxlen=4)


def _alone(store: list[Any]) -> str | None:
    """The label of a store's only claim, if the library says that it validated that one's signature.

    Then it is the active claim, and the store need not be written and read a second time to be told so.
    """
    if len(store) != 1:
        return None
    claim = as_dict(store[0])
    label = claim.get("label")
    validated = [
        as_dict(one).get("url")
        for one in as_list(as_dict(claim.get("validationResults")).get("success"))
        if as_dict(one).get("code") == "claimSignature.validated"
    ]
    return label if validated == [f"self#jumbf=/c2pa/{label}/c2pa.signature"] else None


def _parts(reader: Any, assertions: dict[str, Any]) -> dict[str, str]:
    import c2pa  # noqa: PLC0415

    found: dict[str, str] = {}
    for _, item in ingredients_of(assertions):
        if item.get("relationship") != "componentOf":
            continue
        title, stream = str(item.get("dc:title")), io.BytesIO()
        label = str(as_dict(item.get("data")).get("url")).rpartition("/")[2]
        uri = as_dict(assertions.get(label)).get("identifier")
        if uri is None:
            digest = str(as_dict(item.get("metadata")).get("sha256"))
        else:
            try:
                reader.resource_to_stream(str(uri), stream)
            except c2pa.C2paError:
                continue
            digest = sha256_hex(stream.getvalue())
        # a second component of the same title would hide the first
        found[title if title not in found else f"{title} (again)"] = digest
    return found


def _record(active: dict[str, Any], assertions: dict[str, Any]) -> tuple[str | None, str | None]:
    labels = [label for label in assertions if label.startswith(RECORD_LABEL)]
    if labels != [RECORD_LABEL]:
        return None, f"the claim holds {len(labels)} records instead of one"
    created = as_list(as_dict(active.get("claim.v2")).get("created_assertions"))
    if not any(str(as_dict(item).get("url")).endswith(f"/{RECORD_LABEL}") for item in created):
        return None, "the record in the claim is not a statement of the claim's signer"
    data = as_dict(assertions[RECORD_LABEL])
    if list(data) != ["manifest"] or not isinstance(data["manifest"], str):
        return None, "the record in the claim is not one text"
    return data["manifest"], None


def _failures(results: dict[str, Any]) -> list[str]:
    """Failure codes of an active claim; what must have been checked and was not counts as failed."""
    found, passed = codes_of(results, "failure"), codes_of(results, "success")
    if not found:
        found += [f"{code} is missing" for code in _REQUIRED if code not in passed]
    return found


def _serial(text: object) -> int | None:
    try:
        return int(str(text), 16)
    except ValueError:
        return None
