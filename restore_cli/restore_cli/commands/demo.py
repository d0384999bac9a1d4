"""`restore demo`: the whole walk on a picture that the package makes, then one changed pixel."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore_cli.options import Force, Json, Quiet, Verbose
from restore_cli.terminal import Progress, Terminal

if TYPE_CHECKING:
    from restore_manifests.report import Report
    from restore_sdk.restoration import Restoration
    from restore_sdk.sample import SampleKind

__all__ = ["change_one_pixel", "demo"]

_HOME = "identity-and-log"
KINDS: tuple[SampleKind, ...] = ("photo", "plate", "document")


@dataclass(frozen=True)
class _Picture:
    """One picture on its way: what was done to it, its bundle and the verdict on it."""

    source: Path
    damage: str
    restoration: Restoration
    report: Report
    sheet: Path

    def to_json(self) -> dict[str, Any]:
        return {
            "source": str(self.source),
            "damage": self.damage,
            **self.restoration.to_json(),
            **self.report.to_json(),
            "contact_sheet": str(self.sheet),
        }


@dataclass(frozen=True)
class _Walk:
    pictures: tuple[_Picture, ...]
    tampered: Path
    report: Report
    """On the copy with the changed pixel."""


def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A new folder for everything that the demo writes.")
    ] = Path("restore-demo"),
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Restore, verify, change one pixel, see verification fail.

    The pictures are made by the package; the identity goes with the folder.
    """
    from restore_manifests.errors import UsageError  # noqa: PLC0415

    terminal = Terminal(json, quiet, verbose)
    with contextlib.suppress(NotADirectoryError):
        if directory.exists() and not force and any(directory.iterdir()):
            raise UsageError(
                f"{directory} is not empty.", hint="Name a new folder, or write into this one with --force."
            )
    with _settled(directory), terminal.progress() as progress:
        walk = _walk(directory, progress)
    failures = [check for check in walk.report.checks if check.verdict.value == "fail"]
    terminal.document(
        {
            "pictures": [picture.to_json() for picture in walk.pictures],
            "tampered": {"result": str(walk.tampered), **walk.report.to_json()},
        }
    )
    for picture in walk.pictures:
        terminal.say(f"{picture.source}: {picture.damage}")
        terminal.say(
            f"  restored in {picture.restoration.seconds:.1f} s, verified: {picture.report.verdict.value}"
        )
        terminal.say(f"  before, after and maps: {picture.sheet}\n")
    terminal.say("What was verified, for the last of them:\n")
    last = walk.pictures[-1].report
    terminal.table([(check.verdict.value, check.id, check.message) for check in last.checks])
    terminal.say(f"\nThen one pixel of a copy of it was changed by one level: {walk.tampered}\n")
    terminal.table([(check.verdict.value, check.id, check.message) for check in failures])
    reports = [picture.report for picture in walk.pictures]
    caught = "result.pixels" in {check.id for check in failures}
    terminal.say(
        f"\nAs restored: {', '.join(report.verdict.value for report in reports)}; "
        f"changed: {walk.report.verdict.value}."
    )
    worst = next((code for code in (1, 3) if code in {report.exit_code for report in reports}), 0)
    return worst or (0 if caught else 1)


def _walk(directory: Path, progress: Progress) -> _Walk:
    from restore_manifests.keys import create_identity  # noqa: PLC0415
    from restore_manifests.pixels import encode_png  # noqa: PLC0415
    from restore_sdk.restoration import restore  # noqa: PLC0415
    from restore_sdk.sample import sample_picture  # noqa: PLC0415
    from restore_sdk.verification import verify  # noqa: PLC0415

    home = directory.absolute() / _HOME
    identity = create_identity(
        home, name="Demo, not for evidence", passphrase=None, unprotected=True, force=True
    )
    root = home / "keys" / "root.pem"
    pictures = []
    with _home(home):  # the demo's records must not end up in the user's own log
        for kind in KINDS:
            source = directory / f"{kind}.png"
            _, degraded, damage = sample_picture(kind, 0)
            source.write_bytes(encode_png(degraded))
            (done,) = restore(source, identity=identity, force=True, progress=progress)
            progress(f"verifying {done.result.name}", 1.0)
            report = verify(done.result, done.manifest, trust=root)
            pictures.append(_Picture(source, damage, done, report, _sheet(source, done, report)))
        tampered = directory / "tampered" / done.result.name
        tampered.parent.mkdir(exist_ok=True)
        for path in filter(None, (source, done.manifest, done.edit_map, done.confidence_map)):
            shutil.copy2(path, tampered.parent)
        tampered.write_bytes(change_one_pixel(done.result.read_bytes()))
        second = verify(tampered, tampered.with_name(done.manifest.name), trust=root, recompute=False)
    return _Walk(tuple(pictures), tampered, second)


def _sheet(source: Path, done: Restoration, report: Report) -> Path:
    import numpy as np  # noqa: PLC0415

    from restore_manifests.pixels import decode_png  # noqa: PLC0415
    from restore_sdk.maps import contact_sheet  # noqa: PLC0415

    paths = filter(None, (source, done.result, done.edit_map, done.confidence_map))
    before, after, edit, confidence = (decode_png(path.read_bytes()) for path in paths)
    target = source.with_suffix(".sheet.png")
    contact_sheet(
        before,
        after,
        edit.astype(np.uint8),
        confidence.astype(np.uint8),
        f"{source.name}, verified: {report.verdict.value}",
        confidence_legend=("90 % interval, 8-bit levels", "0", "127.5 or more"),
    ).save(target)
    return target


def change_one_pixel(png: bytes) -> bytes:
    """`png` with the middle sample changed by one level, and everything else in the file as it was."""
    from restore_manifests.pixels import decode_png, encode_png, png_chunks  # noqa: PLC0415

    pixels = decode_png(png).copy()
    pixels[pixels.shape[0] // 2, pixels.shape[1] // 2] ^= 1
    changed = encode_png(pixels)
    parts, written = [png[:8]], False
    for start, name, body in png_chunks(png):
        if name != b"IDAT":
            parts.append(png[start : start + len(body) + 12])
        elif not written:
            written = True
            parts += [
                changed[at : at + len(data) + 12] for at, kind, data in png_chunks(changed) if kind == name
            ]
    return b"".join(parts)


@contextlib.contextmanager
def _home(home: Path) -> Iterator[None]:
    before = os.environ.get("RESTORE_HOME")
    os.environ["RESTORE_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["RESTORE_HOME"]
        else:
            os.environ["RESTORE_HOME"] = before


@contextlib.contextmanager
def _settled(directory: Path) -> Iterator[None]:
    """Make the folder; if the demo does not come to its end, a folder that it made goes again."""
    from restore_manifests.errors import StorageError  # noqa: PLC0415

    new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be made: {error.strerror}.", hint="Name another folder."
        ) from error
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(directory, ignore_errors=True)
        raise
