"""`restore demo`: the whole walk on a picture that the package makes, then one changed pixel."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore_cli.options import Force, Json, Quiet, Verbose
from restore_cli.terminal import Progress, Terminal

if TYPE_CHECKING:
    from restore_manifests.report import Report
    from restore_sdk.restoration import Restoration

__all__ = ["change_one_pixel", "demo"]

_HOME = "identity-and-log"


@dataclass(frozen=True)
class _Walk:
    source: Path
    restoration: Restoration
    first: Report
    tampered: Path
    second: Report
    sheet: Path


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

    The picture is made by the package, the identity is thrown away with the folder.
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
    failures = [check for check in walk.second.checks if check.verdict.value == "fail"]
    terminal.document(
        {
            **walk.restoration.to_json(),
            "source": str(walk.source),
            "contact_sheet": str(walk.sheet),
            **walk.first.to_json(),
            "tampered": {"result": str(walk.tampered), **walk.second.to_json()},
        }
    )
    terminal.say(f"Restored {walk.source} in {walk.restoration.seconds:.1f} s. Verified:\n")
    terminal.table([(check.verdict.value, check.id, check.message) for check in walk.first.checks])
    terminal.verdict(walk.first.verdict.value, "is the verdict.")
    terminal.say(f"\nThen one pixel of a copy was changed by one level: {walk.tampered}\n")
    terminal.table([(check.verdict.value, check.id, check.message) for check in failures])
    terminal.verdict(walk.second.verdict.value, "is the verdict.")
    terminal.say(f"\nBefore, after and maps: {walk.sheet}")
    caught = walk.second.exit_code == 1 and "result.pixels" in {check.id for check in failures}
    return walk.first.exit_code or (0 if caught else 1)


def _walk(directory: Path, progress: Progress) -> _Walk:
    from restore_sdk.sample import write_sample  # noqa: PLC0415

    from restore_cli.contact_sheet import contact_sheet  # noqa: PLC0415
    from restore_manifests.keys import create_identity  # noqa: PLC0415
    from restore_sdk.restoration import restore  # noqa: PLC0415
    from restore_sdk.verification import verify  # noqa: PLC0415

    home = directory.absolute() / _HOME
    identity = create_identity(
        home, name="Demo, not for evidence", passphrase=None, unprotected=True, force=True
    )
    root = home / "keys" / "root.pem"
    source = write_sample(directory / "demo.png")
    with _home(home):  # the demo's record must not end up in the user's own log
        (done,) = restore(source, identity=identity, force=True, progress=progress)
        progress("verifying", 0.5)
        first = verify(done.result, done.manifest, trust=root)
        tampered = directory / "tampered" / done.result.name
        tampered.parent.mkdir(exist_ok=True)
        tampered.write_bytes(change_one_pixel(done.result.read_bytes()))
        progress("verifying the changed copy", 0.8)
        second = verify(tampered, done.manifest, trust=root, recompute=False)
    failing = next((check.message for check in second.checks if check.id == "result.pixels"), "")
    captions = [
        f"As restored: {first.verdict.value}.",
        f"One pixel changed: {second.verdict.value}. {failing}",
    ]
    sheet = directory / "contact-sheet.png"
    contact_sheet(source, done.result, done.edit_map, done.confidence_map, captions).save(sheet)
    return _Walk(source, done, first, tampered, second, sheet)


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
