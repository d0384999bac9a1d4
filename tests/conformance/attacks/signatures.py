"""Signatures and the certificates behind them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from attacks.bench import NAME, Corpus, Holder, Scene, bump_base64, holder, issue, own_identity
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from restore_manifests.keys import Identity
from restore_manifests.schema import parse_manifest

SIGNATURES = Corpus("Signatures and certificates")


def _signatures(scene: Scene, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    scene.bundle.change(lambda document: change(document["signatures"]))


def _own(name: str, does: str, *caught_by: str, **options: Any) -> None:
    """Signed anew by a stranger whose certificate calls him the laboratory, with one fault."""
    SIGNATURES.add(
        name,
        does,
        caught_by,
        lambda scene: scene.lab.seal(scene.bundle, own_identity(**options)),
    )


_own(
    "stranger-of-the-same-name",
    "signs with his own key under the laboratory's name",
    "signer.trust",
    "c2pa.agrees",
)
_own("certificate-expired", "signs with a certificate that had expired", "signature", days=(-60, -1))
_own("certificate-early", "signs with a certificate that is not valid yet", "signature", days=(1, 60))
_own("certificate-for-servers", "signs with a web server's certificate", "signature", eku="1.3.6.1.5.5.7.3.1")
_own("certificate-for-code", "signs with a certificate for code", "signature", eku="1.3.6.1.5.5.7.3.3")
_own("certificate-for-anything", "signs with a certificate for any purpose", "signature", eku="2.5.29.37.0")
_own("certificate-without-purpose", "signs with a certificate that names no purpose", "signature", eku=None)
_own("certificate-authority", "signs with a certificate authority's certificate", "signature", ca=True)
_own(
    "certificate-without-issuer-key", "signs with a certificate without issuer key id", "signature", aki=False
)
_own(
    "certificate-weak-rsa",
    "signs with an RSA key of 1,024 bits",
    "signature",
    leaf_kind="weak-rsa",
    algorithm="PS256",
)
_own(
    "certificate-critical-extension",
    "signs with a certificate limited in a way that is not understood",
    "signature",
    critical=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\0"),
)


def _pem(*certificates: x509.Certificate) -> list[str]:
    return [certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates]


def _with_chain(scene: Scene, chain: list[str]) -> None:
    def change(signatures: list[dict[str, Any]]) -> None:
        for signature in signatures:
            signature["certificates"] = chain

    _signatures(scene, change)


def _issued(holder_: Holder) -> x509.Certificate:
    assert holder_.certificate is not None
    return holder_.certificate


@SIGNATURES("signs with a certificate that he issued to himself", "signer.trust")
def certificate_self_signed(scene: Scene) -> None:
    signer = holder(NAME)
    leaf = issue(signer, signer)
    scene.lab.seal(scene.bundle, Identity("ES256", (leaf,), leaf, signer.key))


@SIGNATURES("shows the laboratory's certificate over his own signatures", "signature")
def certificate_borrowed(scene: Scene) -> None:
    genuine = scene.bundle.document()["signatures"][0]["certificates"]
    scene.stranger.seal(scene.bundle)
    _with_chain(scene, genuine)


@SIGNATURES("shows his own certificate over the laboratory's signatures", "signature")
def certificate_over_foreign_signatures(scene: Scene) -> None:
    _with_chain(scene, _pem(*scene.stranger.identity.chain))


@SIGNATURES("puts the root before the signer in the chain", "signature")
def chain_out_of_order(scene: Scene) -> None:
    root = scene.lab.identity.root
    assert root is not None
    _with_chain(scene, _pem(root, *scene.lab.identity.chain))


@SIGNATURES("appends the laboratory's root to a chain of his own", "signature")
def chain_to_a_foreign_root(scene: Scene) -> None:
    root = scene.lab.identity.root
    assert root is not None
    scene.stranger.seal(scene.bundle)
    _with_chain(scene, _pem(*scene.stranger.identity.chain, root))


@SIGNATURES("has the laboratory's own signer issue him a certificate", "signature")
def chain_through_a_leaf(scene: Scene) -> None:
    lab = scene.lab.identity
    below, signer = Holder(NAME, lab._key), holder("Examiner")
    leaf = issue(below, signer)
    scene.lab.seal(scene.bundle, Identity("ES256", (leaf, *lab.chain), lab.root, signer.key))


@SIGNATURES("signs below an authority that may have no authorities below it", "signature")
def chain_too_long(scene: Scene) -> None:
    root, middle, signer = holder("Root"), holder("Middle"), holder(NAME)
    issue(root, root, ca=True, path_length=0)
    issue(root, middle, ca=True)
    issue(middle, signer)
    chain = (_issued(signer), _issued(middle), _issued(root))
    scene.lab.seal(scene.bundle, Identity("ES256", chain, chain[-1], signer.key))


@SIGNATURES("sends nine certificates", "manifest.schema")
def chain_of_nine(scene: Scene) -> None:
    _with_chain(scene, _pem(*[scene.lab.identity.chain[0]] * 9))


@SIGNATURES("hides a remark in the certificate's text", "signature")
def certificate_with_remark(scene: Scene) -> None:
    chain = ["Trusted by the court\n" + text for text in _pem(*scene.lab.identity.chain)]
    _with_chain(scene, chain)


@SIGNATURES("sends noise for a certificate", "signature")
def certificate_noise(scene: Scene) -> None:
    text = base64.b64encode(bytes(range(200))).decode()
    _with_chain(scene, [f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"])


@SIGNATURES("takes all signatures out", "signature")
def signatures_emptied(scene: Scene) -> None:
    _signatures(scene, lambda signatures: signatures.clear())


@SIGNATURES("leaves the record's signature and takes out the seal's", "signature")
def signature_of_the_seal_missing(scene: Scene) -> None:
    _signatures(scene, lambda signatures: signatures.pop())


@SIGNATURES("adds a signature of his own beside the laboratory's", "signature")
def signature_added(scene: Scene) -> None:
    genuine = scene.bundle.document()["signatures"]
    scene.stranger.seal(scene.bundle)
    _signatures(scene, lambda signatures: signatures.extend(genuine))


@SIGNATURES("leaves the record's signature and signs the seal himself", "signature")
def signature_of_two(scene: Scene) -> None:
    genuine = scene.bundle.document()["signatures"][0]
    scene.stranger.seal(scene.bundle)
    _signatures(scene, lambda signatures: signatures.__setitem__(0, genuine))


@SIGNATURES("signs the record twice and the seal not at all", "signature")
def signature_scope_twice(scene: Scene) -> None:
    _signatures(scene, lambda signatures: signatures.__setitem__(1, signatures[0]))


@SIGNATURES("exchanges the signatures of record and seal", "signature")
def signatures_exchanged(scene: Scene) -> None:
    def change(signatures: list[dict[str, Any]]) -> None:
        one, two = signatures
        one["value"], two["value"] = two["value"], one["value"]

    _signatures(scene, change)


@SIGNATURES("takes the signatures of another bundle", "signature")
def signatures_of_another(scene: Scene) -> None:
    theirs = scene.other.document()["signatures"]
    _signatures(scene, lambda signatures: signatures.__setitem__(slice(None), theirs))


@SIGNATURES("calls the signature one of another algorithm", "signature")
def algorithm_mismatch(scene: Scene) -> None:
    _signatures(scene, lambda signatures: signatures[0].__setitem__("algorithm", "Ed25519"))


@SIGNATURES("calls for a weaker algorithm that there is not", "manifest.schema")
def algorithm_none(scene: Scene) -> None:
    _signatures(scene, lambda signatures: signatures[0].__setitem__("algorithm", "none"))


@SIGNATURES("signs by Ed25519 and calls it ES256", "signature")
def algorithm_confused(scene: Scene) -> None:
    root, signer = holder(NAME), holder(NAME, "ed25519")
    issue(root, root, ca=True)
    leaf = issue(root, signer)
    scene.lab.seal(scene.bundle, Identity("ES256", (leaf,), root.certificate, signer.key))


@SIGNATURES("flips one bit of a signature", "signature")
def signature_bit(scene: Scene) -> None:
    _signatures(
        scene, lambda signatures: signatures[1].__setitem__("value", bump_base64(signatures[1]["value"]))
    )


@SIGNATURES("sends a signature of zeroes (r = s = 0)", "signature")
def signature_of_zeroes(scene: Scene) -> None:
    _signatures(scene, lambda s: s[0].__setitem__("value", base64.b64encode(bytes(64)).decode()))


@SIGNATURES("writes the same signature in another form of base64", "signature")
def signature_form(scene: Scene) -> None:
    _signatures(scene, lambda s: s[0].__setitem__("value", s[0]["value"] + "\n"))


@SIGNATURES(
    "changes the record and signs it with a stolen key of another laboratory", "signer.trust", "log.inclusion"
)
def signed_by_another_laboratory(scene: Scene) -> None:
    scene.bundle.change(lambda d: d["body"]["request"].__setitem__("prompt", "make it sharper"))
    document = parse_manifest(scene.bundle.manifest.read_bytes())
    assert document.body.request.prompt
    scene.stranger.seal(scene.bundle)
