"""Walking a claim store (crJSON), whatever shape hostile bytes gave it, and judging its earlier claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Ancestor", "ancestors_of", "as_dict", "as_list", "codes_of", "ingredients_of", "judge"]

_UNKNOWN_SIGNER = (
    "signingCredential.untrusted",
    "signingCredential.expired",
    "claimSignature.outsideValidity",
)


@dataclass(frozen=True)
class Ancestor:
    """An earlier claim in the store: its label, our verdict, and the codes that led to it."""

    label: str
    verdict: Literal["pass", "fail", "unable"]
    codes: tuple[str, ...] = ()


def ancestors_of(store: list[Any]) -> tuple[Ancestor, ...]:
    """Every claim but the active one, judged by what is recorded and now found where it is an ingredient."""
    deltas: dict[str, tuple[list[str], list[str]]] = {}
    for delta in map(as_dict, as_list(as_dict(store[0]).get("ingredientDeltas"))):
        found = as_dict(delta.get("validationDeltas"))
        deltas[str(delta.get("ingredientAssertionURI"))] = (
            codes_of(found, "failure"),
            codes_of(found, "success"),
        )
    judged: dict[str, Ancestor] = {}
    for depth, manifest in enumerate(map(as_dict, store)):
        for label, item in ingredients_of(as_dict(manifest.get("assertions"))):
            reference = item.get("activeManifest") or item.get("c2pa_manifest")
            uri = f"self#jumbf=/c2pa/{manifest.get('label')}/c2pa.assertions/{label}"
            failures, successes = deltas.get(uri, ([], []))
            if reference is None:
                if failures:  # a part without a claim of its own, but with something wrong
                    judged[uri] = Ancestor(uri, "fail", tuple(failures))
                continue
            recorded = as_dict(as_dict(item.get("validationResults")).get("activeManifest"))
            old = [str(as_dict(s).get("code")) for s in as_list(item.get("validationStatus"))]
            before = [*codes_of(recorded, "failure"), *(code for code in old if not _is_success(code))]
            nested = [
                code
                for delta in map(
                    as_dict, as_list(as_dict(item.get("validationResults")).get("ingredientDeltas"))
                )
                for code in codes_of(as_dict(delta.get("validationDeltas")), "failure")
            ]
            trusted = "signingCredential.trusted"
            known = trusted in successes or (depth == 0 and trusted in codes_of(recorded, "success"))
            if known:
                before = [code for code in before if code != "signingCredential.untrusted"]
            name = str(as_dict(reference).get("url")).rpartition("/")[2]
            ancestor = judge(name, [*before, *nested, *failures], known=known)
            if name not in judged or judged[name].verdict == "pass" or ancestor.verdict == "fail":
                judged[name] = ancestor
    for manifest in map(as_dict, store[1:]):
        name = str(manifest.get("label"))
        judged.setdefault(name, Ancestor(name, "unable", ("not-referred-to",)))
    return tuple(judged.values())


def judge(label: str, codes: list[str], *, known: bool) -> Ancestor:
    if hard := [code for code in codes if code not in _UNKNOWN_SIGNER]:
        return Ancestor(label, "fail", tuple(hard))
    if codes or not known:
        return Ancestor(label, "unable", tuple(codes) or ("signingCredential.untrusted",))
    return Ancestor(label, "pass")


def ingredients_of(assertions: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for label, item in assertions.items():
        if label.startswith("c2pa.ingredient"):
            yield label, as_dict(item)


def _is_success(code: str) -> bool:
    return code.endswith((".match", ".validated", ".trusted", ".accessible", ".insideValidity"))


def codes_of(results: dict[str, Any], kind: str) -> list[str]:
    return [str(as_dict(item).get("code")) for item in as_list(results.get(kind))]


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
