"""JSON that has one meaning and one byte form.

Reading is stricter than RFC 8259 allows (I-JSON, RFC 7493): UTF-8 without a mark, no duplicate member names,
no NaN, no number that a double cannot hold, bounded size and depth. Writing is RFC 8785 (JCS), whose bytes
are what is hashed, signed, embedded and logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any, NoReturn

from restore_manifests.errors import ManifestError

__all__ = [
    "MAX_DEPTH",
    "MAX_JSON_BYTES",
    "MAX_VALUES",
    "canonical_bytes",
    "parse_json_strict",
    "same_json",
    "sha256_hex",
]

MAX_JSON_BYTES = 8 * 1024 * 1024
"""A manifest is some ten kilobytes; anything near this is not one."""

MAX_VALUES = 100_000
"""A manifest has some hundred; each costs a reader a kilobyte of memory where all of them are refused."""

MAX_DEPTH = 32
"""The schema nests six deep; deeper input only serves to exhaust a parser's stack."""

_MAX_SAFE = 2**53 - 1  # RFC 7493 section 2.2: beyond it an integer is not the same number everywhere


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":")
)


_PLAIN = frozenset((str, bool, type(None)))
"""Types whose every value both writers write alike."""


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data` as 64 lower-case hexadecimal digits (FIPS 180-4)."""
    return hashlib.sha256(data).hexdigest()


def canonical_bytes(value: Any) -> bytes:
    """The RFC 8785 form of `value`, a tree of dict, list, str, int, float, bool and None.

    Raises ManifestError for what JSON cannot carry exactly: NaN, integers of 2**53 and more, lone surrogates,
    keys that are not text, other types.
    """
    with contextlib.suppress(_NotPlainError, UnicodeEncodeError):  # of half a surrogate pair
        return _ENCODER.encode(_plain(value, MAX_DEPTH)).encode()
    import rfc8785  # noqa: PLC0415

    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"The record cannot be written as canonical JSON: {error}.",
            hint="Numbers must be finite and below 2^53, and text must be valid Unicode.",
        ) from error


class _NotPlainError(Exception):
    """For the general, slower way."""


def _plain(value: Any, depth: int) -> Any:
    """`value`, such that Python's own encoder, which is faster by far, writes it as RFC 8785 does.

    That one sorts member names that are not ASCII otherwise (section 3.2.3: by UTF-16 units), and writes
    whole, tiny and huge floats otherwise (section 3.2.2.3). Whole ones become integers here; the rest, and
    all that RFC 8785 refuses, raises _NotPlainError.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict and depth:
        try:
            if not "".join(value).isascii():
                raise _NotPlainError
        except TypeError as error:  # a name that is not text
            raise _NotPlainError from error
        if not _PLAIN.issuperset(map(type, value.values())):
            value = {name: _plain(item, depth - 1) for name, item in value.items()}
        return value
    if kind is list and depth:
        return value if _PLAIN.issuperset(map(type, value)) else [_plain(item, depth - 1) for item in value]
    if kind is int and -_MAX_SAFE <= value <= _MAX_SAFE:
        return value
    if kind is float and -_MAX_SAFE <= value <= _MAX_SAFE:
        if value.is_integer():
            return int(value)  # the sign of a zero goes, as section 3.2.2.3 has it
        if 1e-4 <= abs(value) < 1e15:
            return value
    raise _NotPlainError


def same_json(one: Any, other: Any) -> bool:
    """Whether two trees, each read from JSON or dumped for it, have one RFC 8785 form.

    Raises ManifestError as `canonical_bytes` does, unless Python's encoder writes both alike.
    """
    with contextlib.suppress(ValueError):
        if _ENCODER.encode(one) == _ENCODER.encode(other):
            return True
    return canonical_bytes(one) == canonical_bytes(other)


def parse_json_strict(data: bytes, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read one JSON document that every conforming parser reads alike.

    Raises ManifestError for anything else, naming the first thing that is wrong.
    """
    if len(data) > max_bytes:
        _refuse(f"it is {len(data)} bytes long, more than the {max_bytes} allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start} is not UTF-8")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=lambda name: _refuse(f"{name} is not a JSON number"),
            parse_int=_integer,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        _refuse(f"{error.msg} in line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse(f"it nests deeper than {MAX_DEPTH} levels")
    _check_tree(value, texts="\\u" in text)  # UTF-8 itself cannot hold half a pair
    return value


def _refuse(reason: str) -> NoReturn:
    raise ManifestError(
        f"The JSON document cannot be relied on: {reason}.",
        hint="Use the file exactly as restore wrote it.",
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                _refuse(f"the member {name[:60]!a} appears twice in one object")
            seen.add(name)
    return members


def _integer(digits: str) -> int:
    # the length goes first: converting a million digits would itself be the attack
    if len(digits) > 17 or abs(number := int(digits)) > _MAX_SAFE:
        _refuse(f"the number {digits[:24]} is too large to be exact")
    return number


def _number(digits: str) -> float:
    if len(digits) > 64 or not abs(number := float(digits)) <= _MAX_SAFE:
        _refuse(f"the number {digits[:24]} is too large or too long to be exact")
    return number


def _check_tree(value: Any, *, texts: bool) -> None:
    """Refuse what is too deep or too much and, with `texts`, text that is none."""
    level = [value] if isinstance(value, _HOLDERS) else []
    if texts and isinstance(value, str):
        _check_text(value)
    count = 0
    for depth in range(1, MAX_DEPTH + 1):
        below: list[Any] = []
        held = 0
        for item in level:
            members = item.values() if isinstance(item, dict) else item
            held += len(item)
            below += [member for member in members if isinstance(member, _HOLDERS)]
            if texts:
                for text in (*item, *members):
                    if isinstance(text, str):
                        _check_text(text)
        if (count := count + held) > MAX_VALUES:
            _refuse(f"it holds more than {MAX_VALUES} values")
        if not held or (depth < MAX_DEPTH and not below):
            return
        level = below
    _refuse(f"it nests deeper than {MAX_DEPTH} levels")


_HOLDERS = (dict, list)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        _refuse("a text contains half of a surrogate pair, which is not a character")
