"""The public test files of C2PA, judged by us as their names say.

Names follow the collection's own key: `C` is a claim by the collection's signer, `A` a picture without one,
`I` an ingredient, `X` a picture changed afterwards by software that knows no claims. `E-...` names a fault of
the claim, `IE-...` one of an ingredient's claim, `E-uri-CIE-...` both in the ingredient's: `dat` the data,
`sig` the signature, `clm` the reference to an earlier claim, `uri` an assertion that does not fit its hash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509

from restore_manifests.c2pa_claim import read, source_ancestors

EXPLAINED = {
    "CACAICAICICA": "The oldest of its four claims is the ingredient of an ingredient. The library checks "
    "the signer of direct ingredients only, and what nobody checked is `unable` here, never `pass`.",
}
"""Files that hold a claim less well judged than their name promises, with the reason."""


def name_of(path: Path) -> str:
    return path.stem.split("-", 2)[2]


def expected(name: str, *, root_given: bool) -> str | None:
    """The worst verdict that the name promises; None for a picture without a claim."""
    if "E-" in name or name.startswith("X"):
        return "fail"
    if not name.startswith("C"):
        return None
    return "unable" if not root_given or name in EXPLAINED else "pass"


def judged(path: Path, roots: Sequence[x509.Certificate] = ()) -> list[str]:
    return [item.verdict for item in source_ancestors(path.read_bytes(), "image/jpeg", roots)]


def worst(verdicts: list[str]) -> str | None:
    return next((v for v in ("fail", "unable", "pass") if v in verdicts), None)


@pytest.fixture
def public(shared_data: Path) -> dict[str, Path]:
    found = {name_of(path): path for path in sorted((shared_data / "dev" / "c2pa_public").glob("*/*.jpg"))}
    assert len(found) >= 20
    return found


@pytest.fixture
def root(public: dict[str, Path]) -> x509.Certificate:
    """The collection's root, which its files carry at the end of the signer's chain."""
    data = public["CA"].read_bytes()
    for start in (match.start() for match in re.finditer(b"\x30\x82", data)):
        size = 4 + int.from_bytes(data[start + 2 : start + 4], "big")
        try:
            found = x509.load_der_x509_certificate(data[start : start + size])
        except ValueError:
            continue
        if found.subject == found.issuer and "C2PA Test Root CA" in found.subject.rfc4514_string():
            return found
    raise AssertionError("the collection's root is not in its file")


@pytest.mark.parametrize("root_given", [False, True])
def test_public_files_are_judged_as_their_names_say(
    public: dict[str, Path], root: x509.Certificate, root_given: bool
) -> None:
    disagree = {}
    for name, path in public.items():
        found = worst(judged(path, [root] if root_given else []))
        if found != (promised := expected(name, root_given=root_given)):
            disagree[name] = f"{found}, its name says {promised}"
            print(name, disagree[name])
    assert not disagree


def test_the_fault_is_found_in_the_claim_that_has_it(public: dict[str, Path], root: x509.Certificate) -> None:
    for name, path in public.items():
        if expected(name, root_given=True) != "fail":
            continue
        outer, *earlier = judged(path, [root])
        if "IE-" in name:
            assert outer == "pass", name
            assert "fail" in earlier, name
        else:
            assert outer == "fail", name


def test_what_is_explained_is_the_oldest_claim_alone(public: dict[str, Path], root: x509.Certificate) -> None:
    for name in EXPLAINED:
        *younger, oldest = judged(public[name], [root])
        assert set(younger) == {"pass"}
        assert oldest == "unable"


def test_none_of_them_is_taken_for_a_result(public: dict[str, Path], root: x509.Certificate) -> None:
    """A result is a PNG that holds our record; a JPEG with a good claim never reads as one."""
    for name, path in public.items():
        view = read(path.read_bytes(), [root])
        assert view.problem or view.binding_problem, name
        assert view.record_text is None, name
