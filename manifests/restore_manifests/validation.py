"""The result sheet of a laboratory's validation: what was tried, what was expected, what was found, signed.

    {"schema": "restore.validation/1", "body": {...}, "signature": {...}, "timestamps": ["MIIE...", ...]}

The signature is over the RFC 8785 form of {"body": ..., "schema": ...}; timestamps (RFC 3161 tokens, DER,
base64) are over that of {"body": ..., "schema": ..., "signature": ...}. Certificates and roots are judged as
for a manifest (signing.py).

Pure: bytes, trust and time in, a report out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from restore_manifests.canonical import canonical_bytes, parse_json_strict
from restore_manifests.checkpoint import decode_base64
from restore_manifests.errors import ManifestError
from restore_manifests.keys import Identity
from restore_manifests.report import Check, Report, Verdict, failed, passed, unable
from restore_manifests.revocation import Revocation, revoked_since
from restore_manifests.schema import Signature
from restore_manifests.signing import (
    Problem,
    chain_problem,
    common_name,
    leads_to_root,
    load_certificates,
    signature_problem,
)
from restore_manifests.timestamp import UNDECIDED, Stamp, verify_token

__all__ = [
    "KnownAnswer",
    "Sheet",
    "SheetBody",
    "SheetTrust",
    "parse_sheet",
    "sheet_bytes",
    "sign_sheet",
    "signed_bytes",
    "verify_sheet",
]

SCHEMA = "restore.validation/1"
_Line = Annotated[str, Field(max_length=1_000)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class KnownAnswer(_Model):
    """One trial: an input by its SHA-256 (None where it is made on the way), what must come out, what did."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=100)]
    about: _Line
    input_sha256: _Sha256 | None
    expected: _Line
    found: _Line
    verdict: Literal["pass", "fail", "unable"]

    @model_validator(mode="after")
    def _consistent(self) -> KnownAnswer:
        if (self.verdict == "pass") != (self.expected == self.found):
            raise ValueError("the verdict does not follow from what was expected and found")
        return self


class SheetBody(_Model):
    """What is signed. `created` is RFC 3339, UTC; `packages` names versions, None where one is absent."""

    created: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    tool_version: _Line
    machine: dict[_Line, _Line]
    packages: dict[_Line, _Line | None]
    model: dict[_Line, _Line]
    tests: Annotated[list[KnownAnswer], Field(min_length=1, max_length=1_000)]

    @property
    def verdict(self) -> Verdict:
        """The worst of the tests."""
        return Report(tuple(Check(t.id, Verdict(t.verdict), "", "") for t in self.tests)).verdict

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.created)

    @model_validator(mode="after")
    def _readable(self) -> SheetBody:
        _ = self.time
        if len({test.id for test in self.tests}) < len(self.tests):
            raise ValueError("two tests have one id")
        return self


class _SheetSignature(_Model):
    algorithm: Literal["ES256", "ES384", "PS256", "Ed25519"]
    certificates: Annotated[list[Annotated[str, Field(max_length=16_384)]], Field(min_length=1, max_length=8)]
    value: Annotated[str, Field(min_length=1, max_length=4_096)]


class Sheet(_Model):
    """The whole document."""

    schema_: Annotated[Literal["restore.validation/1"], Field(alias="schema")]
    body: SheetBody
    signature: _SheetSignature
    timestamps: Annotated[list[Annotated[str, Field(max_length=100_000)]], Field(max_length=16)]

    def stamped_bytes(self) -> bytes:
        """What a timestamp of the sheet is over."""
        return canonical_bytes(
            self.model_dump(mode="json", by_alias=True, include={"schema_", "body", "signature"})
        )


@dataclass(frozen=True)
class SheetTrust:
    """What a sheet is judged by. `now` is aware; `roots` is None where none were given."""

    now: datetime
    roots: Sequence[x509.Certificate] | None = None
    tsa_roots: Sequence[x509.Certificate] = ()
    revocations: Sequence[Revocation] = ()


def signed_bytes(body: SheetBody) -> bytes:
    """What the signature of a sheet is over."""
    return canonical_bytes({"schema": SCHEMA, "body": body.model_dump(mode="json")})


def sign_sheet(body: SheetBody, identity: Identity) -> Sheet:
    """The sheet, signed by the laboratory."""
    signature = _SheetSignature(
        algorithm=identity.algorithm,
        certificates=[f"{part}-----END CERTIFICATE-----\n" for part in _parts(identity.chain_pem)],
        value=base64.b64encode(identity.sign(signed_bytes(body))).decode(),
    )
    return Sheet.model_validate({"schema": SCHEMA, "body": body, "signature": signature, "timestamps": []})


def sheet_bytes(sheet: Sheet) -> bytes:
    """`sheet` as it is stored: indented UTF-8 JSON."""
    document = sheet.model_dump(mode="json", by_alias=True)
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_sheet(data: bytes) -> Sheet:
    """Raises ManifestError with the first reason why `data` is no result sheet."""
    try:
        return Sheet.model_validate(parse_json_strict(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise ManifestError(
            f"The result sheet does not follow {SCHEMA}: {place[:120]!a}: {first['msg']}.",
            hint="Use the sheet exactly as restore selftest --sheet wrote it.",
        ) from error


def verify_sheet(data: bytes, trust: SheetTrust) -> Report:
    """Every check of a sheet; what is wrong with it is in the report, never an exception.

    `sheet.schema`, `signature`, `signer.trust`, `timestamp` (absent where there is none), `sheet.results`.
    """
    try:
        sheet = parse_sheet(data)
    except ManifestError as error:
        return Report((failed("sheet.schema", "sheet-form", error.message),))
    checks = [passed("sheet.schema", f"The sheet can be read and follows {SCHEMA}.")]
    signature = Signature(scope="body", **sheet.signature.model_dump())
    try:
        chain = load_certificates(signature)
    except ManifestError as error:
        return Report((*checks, failed("signature", "certificate-form", error.message)))
    stamps = [_stamp(sheet, token, trust) for token in sheet.timestamps]
    checks.append(_signature(sheet.body, signature, chain))
    checks.append(_signer_trust(sheet.body, chain, trust, _earliest(stamps)))
    checks.extend(_timestamp(sheet.body, stamps))
    return Report((*checks, _results(sheet.body)))


def _signature(body: SheetBody, signature: Signature, chain: Sequence[x509.Certificate]) -> Check:
    problem = signature_problem(signature, signed_bytes(body), chain[0]) or chain_problem(chain, body.time)
    if problem is not None and problem.code == "signature-mismatch":
        message = "The sheet was changed after it was signed, or another key signed it."
        return failed("signature", problem.code, message)
    if problem is not None:
        return failed("signature", problem.code, problem.message)
    return passed("signature", f"The sheet was signed by {common_name(chain[0])} and not changed since.")


def _signer_trust(
    body: SheetBody, chain: Sequence[x509.Certificate], trust: SheetTrust, stamped: datetime | None
) -> Check:
    name, signer = "signer.trust", common_name(chain[0])
    proven = stamped is not None and chain_problem(chain, stamped) is None
    since = revoked_since(chain, trust.revocations)
    if since is not None and proven and stamped is not None and stamped < since:
        since = None
    if since is not None:
        message = f"The certificate of {signer} was revoked on {since:%Y-%m-%d}."
        if body.time >= since:
            return failed(name, "certificate-revoked", message)
        return unable(name, "certificate-revoked-since", f"{message} No timestamp shows that this is older.")
    if trust.roots is None:
        message = f"The laboratory calls itself {signer}; no trust root was given to confirm it."
        return unable(name, "root-missing", message)
    if not leads_to_root(chain, trust.roots, body.time):
        message = f"The laboratory {signer} is not vouched for by any trust root that was given."
        return failed(name, "root-other", message)
    if trust.now > chain[0].not_valid_after_utc and not proven:
        message = f"The certificate of {signer} has expired since, and no timestamp shows that this is older."
        return unable(name, "certificate-expired", message)
    return passed(name, f"The laboratory {signer} is vouched for by a trust root that was given.")


def _stamp(sheet: Sheet, text: str, trust: SheetTrust) -> Stamp | Problem:
    try:
        token = decode_base64(text)
    except ValueError:
        return Problem("timestamp-form", "The timestamp is not in its plain base64 form.")
    return verify_token(token, sheet.stamped_bytes(), [*(trust.roots or ()), *trust.tsa_roots], trust.now)


def _earliest(stamps: Iterable[Stamp | Problem]) -> datetime | None:
    return min((stamp.time for stamp in stamps if isinstance(stamp, Stamp)), default=None)


def _timestamp(body: SheetBody, stamps: Sequence[Stamp | Problem]) -> Iterable[Check]:
    problems = [stamp for stamp in stamps if isinstance(stamp, Problem)]
    good = [stamp for stamp in stamps if isinstance(stamp, Stamp)]
    if broken := next((problem for problem in problems if problem.code not in UNDECIDED), None):
        yield failed("timestamp", broken.code, broken.message)
    elif good:
        first = min(good, key=lambda stamp: stamp.time)
        if first.time < body.time:
            message = f"{first.authority} stamped the sheet before the time at which it says it was made."
            yield failed("timestamp", "timestamp-before", message)
        else:
            message = (
                f"{first.authority} confirms that the sheet existed on {first.time:%Y-%m-%d %H:%M:%S} UTC."
            )
            yield passed("timestamp", message)
    elif problems:
        yield unable("timestamp", problems[0].code, problems[0].message)


def _results(body: SheetBody) -> Check:
    wrong = [test.id for test in body.tests if test.verdict != "pass"]
    if body.verdict is Verdict.PASS:
        return passed("sheet.results", f"All {len(body.tests)} tests found what was expected.")
    message = (
        f"{len(wrong)} of {len(body.tests)} tests did not find what was expected: {', '.join(wrong[:8])}."
    )
    make: Any = failed if body.verdict is Verdict.FAIL else unable
    check: Check = make("sheet.results", "tests", message)
    return check


def _parts(pem: str) -> list[str]:
    return [part.lstrip("\n") for part in pem.split("-----END CERTIFICATE-----") if part.strip()]
