"""One picture restored, signed, logged and verified; then altered in every part, each alteration to be found.

Called in a process whose RESTORE_HOME is an empty folder of its own (see validation.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_manifests.errors import RestoreError
from restore_manifests.keys import create_identity
from restore_manifests.pixels import decode_png, encode_png
from restore_manifests.report import Report, Verdict

if TYPE_CHECKING:
    from restore_manifests.keys import Identity
    from restore_sdk.restoration import Restoration

__all__ = ["controls"]

Row = tuple[str, str, str, str]
"""Id, what is tried, what must come out, what did."""


def controls(folder: Path, picture: bytes, model: str | None) -> list[Row]:
    """The positive control and the negative ones, on a PNG `picture`, with files in `folder`.

    Raises RestoreError where the picture cannot be restored at all.
    """
    from restore_sdk.home import restore_home  # noqa: PLC0415
    from restore_sdk.restoration import restore  # noqa: PLC0415

    source = folder / "kit.png"
    source.write_bytes(picture)
    identity = create_identity(restore_home(), name="Self test", passphrase=None, unprotected=True)
    (root := folder / "root.pem").write_text(identity.root_pem or "", encoding="ascii")
    (done,) = restore(source, identity=identity, model=_installed(model))
    report = _verify(done, source, root, recompute=True)
    failing = ", ".join(c.id for c in report.checks if c.verdict is not Verdict.PASS)
    rows: list[Row] = [
        (
            "walk.untouched",
            f"One picture restored, signed, logged and made again: all {len(report.checks)} checks",
            "pass",
            report.verdict.value + (f" ({failing})" if failing else ""),
        )
    ]
    rows += _negative(done, source, root, identity)
    return rows


def _installed(model: str | None) -> str | None:
    """A model that is not shipped is brought into this process's own home."""
    from restore_sdk.models import import_model, list_models  # noqa: PLC0415

    if model is None or any(known["id"] == model for known in list_models()):
        return model
    return str(import_model(Path(model))["id"])


def _negative(done: Restoration, source: Path, root: Path, identity: Identity) -> Iterator[Row]:
    alterations: list[tuple[str, str, Path, Callable[[bytes], bytes], str]] = [
        (
            "result-pixel",
            "One pixel of the result changed by one level",
            done.result,
            _pixel,
            "result.pixels",
        ),
        ("result-byte", "One byte put after the end of the result", done.result, _longer, "result.file"),
        ("record", "One number of the signed record changed", done.manifest, _seed, "signature"),
        ("seal", "The hash of the result in its seal changed", done.manifest, _seal, "signature"),
        ("source", "One byte put after the end of the source", source, _longer, "source.file"),
        ("edit-map", "One pixel of the edit map changed", done.edit_map, _pixel, "maps.edit"),
        ("log-proof", "One hash of the log proof changed", done.manifest, _proof, "log.checkpoint"),
    ]
    if done.confidence_map is not None:
        told = "One pixel of the confidence map changed"
        alterations.append(("confidence-map", told, done.confidence_map, _pixel, "maps.confidence"))
    for name, about, path, change, expected in alterations:
        before = path.read_bytes()
        path.write_bytes(change(before))
        try:
            yield (f"walk.{name}", about, f"fail {expected}", _found(done, source, root, expected))
        finally:
            path.write_bytes(before)
    other = create_identity(root.parent / "other", name="Somebody", passphrase=None, unprotected=True)
    (stranger := root.with_name("other.pem")).write_text(other.root_pem or "", encoding="ascii")
    found = _found(done, source, stranger, "signer.trust")
    yield ("walk.signer", f"{identity.name} judged by a root of somebody else", "fail signer.trust", found)


def _found(done: Restoration, source: Path, root: Path, expected: str) -> str:
    """`fail <id>` if that check fails, else what the verdict was."""
    try:
        report = _verify(done, source, root, recompute=False)
    except RestoreError as error:
        return error.message
    failing = [check.id for check in report.checks if check.verdict is Verdict.FAIL]
    return (
        f"fail {expected}" if expected in failing else f"{report.verdict.value} {', '.join(failing)}".strip()
    )


def _verify(done: Restoration, source: Path, root: Path, *, recompute: bool) -> Report:
    from restore_sdk.verification import verify  # noqa: PLC0415

    return verify(done.result, done.manifest, source=source, trust=root, recompute=recompute)


def _pixel(data: bytes) -> bytes:
    pixels = decode_png(data).copy()
    pixels.flat[0] ^= 1
    return encode_png(pixels)


def _longer(data: bytes) -> bytes:
    return data + b"\0"


def _changed(data: bytes, change: Callable[[Any], None]) -> bytes:
    document = json.loads(data)
    change(document)
    return json.dumps(document).encode()


def _seed(data: bytes) -> bytes:
    def change(document: Any) -> None:
        document["body"]["request"]["seed"] += 1

    return _changed(data, change)


def _seal(data: bytes) -> bytes:
    def change(document: Any) -> None:
        digest = document["files"]["result"]["sha256"]
        document["files"]["result"]["sha256"] = ("0" if digest[0] != "0" else "1") + digest[1:]

    return _changed(data, change)


def _proof(data: bytes) -> bytes:
    """In a log of one entry the only hash is the root, which the log signed."""

    def change(document: Any) -> None:
        anchor = document["anchors"][0]
        lines = anchor["proof"].split("\n")
        at = lines.index("", 2) + 3  # after the blank line: origin, size, root
        lines[at] = ("A" if lines[at][0] != "A" else "B") + lines[at][1:]
        anchor["proof"] = "\n".join(lines)

    return _changed(data, change)
