"""The record of a restoration: schema, canonical bytes, signatures, C2PA claim, log and pure verifier.

Names are resolved on first use, so that importing one module (`restore_manifests.errors`) loads no other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore_manifests.canonical import canonical_bytes, parse_json_strict, sha256_hex
    from restore_manifests.keys import Identity, create_identity, import_identity, load_identity
    from restore_manifests.log import TransparencyLog
    from restore_manifests.log_proof import IncludedAt, verify_inclusion
    from restore_manifests.pixels import decode_png, encode_png, pixels_sha256
    from restore_manifests.schema import Body, Manifest, manifest_bytes, parse_manifest
    from restore_manifests.signing import sign_manifest
    from restore_manifests.verifier import Check, Recomputation, RecordInputs, Report, Verdict, verify_record

__all__ = [
    "Body",
    "Check",
    "Identity",
    "IncludedAt",
    "Manifest",
    "Recomputation",
    "RecordInputs",
    "Report",
    "TransparencyLog",
    "Verdict",
    "canonical_bytes",
    "create_identity",
    "decode_png",
    "encode_png",
    "import_identity",
    "load_identity",
    "manifest_bytes",
    "parse_json_strict",
    "parse_manifest",
    "pixels_sha256",
    "sha256_hex",
    "sign_manifest",
    "verify_inclusion",
    "verify_record",
]

_MODULES = {
    "canonical": ("canonical_bytes", "parse_json_strict", "sha256_hex"),
    "keys": ("Identity", "create_identity", "import_identity", "load_identity"),
    "log": ("TransparencyLog",),
    "log_proof": ("IncludedAt", "verify_inclusion"),
    "pixels": ("decode_png", "encode_png", "pixels_sha256"),
    "schema": ("Body", "Manifest", "manifest_bytes", "parse_manifest"),
    "signing": ("sign_manifest",),
    "verifier": ("Check", "Recomputation", "RecordInputs", "Report", "Verdict", "verify_record"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
