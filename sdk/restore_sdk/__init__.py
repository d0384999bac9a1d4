"""Forensic, verifiable image restoration for other programs.

    from restore_sdk import audit, restore, verify

Names are resolved on first use: importing the package loads neither torch nor a decoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore_manifests.errors import RestoreError
    from restore_manifests.keys import Identity, create_identity, load_identity
    from restore_manifests.report import Check, Report, Verdict
    from restore_sdk.audit_report import write_report
    from restore_sdk.audit_tree import AuditReport, audit
    from restore_sdk.evaluation import evaluate
    from restore_sdk.home import restore_home
    from restore_sdk.restoration import Restoration, restore
    from restore_sdk.training import train
    from restore_sdk.verification import verify

__all__ = [
    "AuditReport",
    "Check",
    "Identity",
    "Report",
    "Restoration",
    "RestoreError",
    "Verdict",
    "audit",
    "create_identity",
    "evaluate",
    "load_identity",
    "restore",
    "restore_home",
    "train",
    "verify",
    "write_report",
]

_MODULES = {
    "restore_manifests.errors": ("RestoreError",),
    "restore_manifests.keys": ("Identity", "create_identity", "load_identity"),
    "restore_manifests.report": ("Check", "Report", "Verdict"),
    "restore_sdk.audit_report": ("write_report",),
    # not `audit`: the import system would put a module of that name in the place of the function
    "restore_sdk.audit_tree": ("AuditReport", "audit"),
    "restore_sdk.evaluation": ("evaluate",),
    "restore_sdk.home": ("restore_home",),
    "restore_sdk.restoration": ("Restoration", "restore"),
    "restore_sdk.training": ("train",),
    "restore_sdk.verification": ("verify",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
