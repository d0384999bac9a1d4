"""Canonical JSON against RFC 8785's own vectors, and strict reading against what must be refused."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from restore_manifests.canonical import MAX_DEPTH, canonical_bytes, parse_json_strict, same_json, sha256_hex
from restore_manifests.errors import ManifestError

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
RFC = VECTORS / "rfc8785"
REFUSED = sorted((VECTORS / "json-refused").iterdir())

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("name", ["section-3.2.2", "section-3.2.3"])
def test_rfc_examples(name: str) -> None:
    value = json.loads((RFC / f"{name}.json").read_text("utf-8"))
    assert canonical_bytes(value) == (RFC / f"{name}.canonical").read_bytes()


@pytest.mark.parametrize("line", (RFC / "appendix-b.txt").read_text().splitlines())
def test_rfc_numbers(line: str) -> None:
    bits, text = line.split()
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_bytes(number).decode() == text


@given(values)
def test_the_fast_way_writes_what_the_library_writes(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


def test_numbers_at_the_edges_of_the_fast_way() -> None:
    edges = [0.0, -0.0, 1e-4, 1e15, 2.0**53 - 1, 2.0**53, 1e21, 1e-6, 1e-7, 0.5, 1 / 3, 123456789012345.6]
    for edge in edges:
        for number in (edge, -edge, math.nextafter(edge, math.inf), math.nextafter(edge, -math.inf)):
            assert canonical_bytes([number]) == rfc8785.dumps([number]), number
    for text in ('\x7f\x1f\0\b\f\n\r\t"\\/', "\u2028\u2029", "\U0001f600"):
        assert canonical_bytes({"a": text}) == rfc8785.dumps({"a": text})
    for names in (["\ufb33", "\U0001f600"], ["a", "B", "_", "1", ""]):
        assert canonical_bytes(dict.fromkeys(names)) == rfc8785.dumps(dict.fromkeys(names))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_ambiguous_json_is_refused(path: Path) -> None:
    with pytest.raises(ManifestError):
        parse_json_strict(path.read_bytes())


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2_000, 200_000])
def test_depth_bombs_are_refused(opening: bytes, depth: int) -> None:
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    with pytest.raises(ManifestError, match="deeper"):
        parse_json_strict(opening * depth + b"0" + closing * depth)


def test_depth_up_to_the_limit_is_read() -> None:
    text = b"[" * (MAX_DEPTH - 1) + b"0" + b"]" * (MAX_DEPTH - 1)
    assert canonical_bytes(parse_json_strict(text)) == text


def test_size_is_bounded() -> None:
    with pytest.raises(ManifestError, match="101 bytes"):
        parse_json_strict(b" " * 100 + b"1", max_bytes=100)


@pytest.mark.parametrize("digits", ["1" * 5_000, "-" + "1" * 5_000, "0." + "1" * 5_000])
def test_number_bombs_are_refused(digits: str) -> None:
    with pytest.raises(ManifestError, match="to be exact"):
        parse_json_strict(digits.encode())


def test_negative_integers_keep_their_sign() -> None:
    assert parse_json_strict(b"[-5, -9007199254740991, 9007199254740991]") == [-5, 1 - 2**53, 2**53 - 1]


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {1: 2}, {"\ud800": 1}, b"x", {1, 2}])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(ManifestError):
        canonical_bytes(value)


def test_recursion_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ManifestError):
        canonical_bytes(loop)


@given(values)
def test_canonical_form_reads_back_and_is_stable(value: object) -> None:
    data = canonical_bytes(value)
    again = parse_json_strict(data)
    assert again == value
    assert canonical_bytes(again) == data


@given(values)
def test_white_space_and_order_do_not_matter(value: object) -> None:
    loose = json.dumps(value, indent=3, sort_keys=True).encode()
    assert canonical_bytes(parse_json_strict(loose)) == canonical_bytes(value)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = parse_json_strict(data)
    except ManifestError as error:
        assert error.message.endswith(".")
    else:
        assert canonical_bytes(value)


def test_sha256() -> None:
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(values, values)
def test_same_json_is_equality_of_the_canonical_form(one: object, other: object) -> None:
    assert same_json(one, other) == (canonical_bytes(one) == canonical_bytes(other))
    assert same_json(one, one)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0.0, -0.0, True),
        ([], {}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ],
)
def test_same_json_tells_values_not_spellings(one: object, other: object, same: bool) -> None:
    assert same_json([one], [other]) is same


def test_a_name_that_comes_again_among_many_is_refused_at_once() -> None:
    names = ",".join(f'"{number}":0' for number in range(90_000))
    with pytest.raises(ManifestError, match="appears twice"):
        parse_json_strict(f'{{{names},"89999":1}}'.encode())


def test_half_a_pair_is_refused_wherever_it_stands() -> None:
    for text in (r'"\ud800"', r'{"\udc00": 1}', r'[[{"a": ["\ud800x"]}]]'):
        with pytest.raises(ManifestError, match="surrogate"):
            parse_json_strict(text.encode())
    assert parse_json_strict(rb'"\ud83d\ude00"') == "\U0001f600"
