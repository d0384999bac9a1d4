"""`restore keys`: the identity that signs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore_cli.options import Force, Json, Quiet, Verbose, examples
from restore_cli.terminal import Terminal

if TYPE_CHECKING:
    from restore_manifests.keys import Identity

__all__ = ["Kind", "app"]

app = typer.Typer(help="Make, show or import the identity that signs manifests.", rich_markup_mode=None)

Unprotected = Annotated[
    bool, typer.Option("--unprotected", help="No passphrase: for tests and demonstrations only.")
]


class Kind(StrEnum):
    """Signature algorithms."""

    ES256 = "ES256"
    ES384 = "ES384"
    PS256 = "PS256"
    ED25519 = "Ed25519"


@app.command(epilog=examples('restore keys init --name "A. Examiner, Police Lab"'))
def init(
    name: Annotated[str, typer.Option(help="Who signs: shown to everybody who verifies.")],
    algorithm: Annotated[Kind, typer.Option(help="Signature algorithm.")] = Kind.ES256,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How long it is valid.")] = 1826,
    unprotected: Unprotected = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Make a key and a certificate chain that C2PA readers accept."""
    from restore_cli.passphrase import ask  # noqa: PLC0415
    from restore_manifests.keys import create_identity  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415

    home = restore_home()
    _check_vacant(home, force=force)
    identity = create_identity(
        home,
        name=name,
        algorithm=algorithm.value,
        passphrase=None if unprotected else ask("New passphrase", twice=True),
        unprotected=unprotected,
        days=days,
        force=force,
    )
    return _show(Terminal(json, quiet, verbose), _described(identity, home))


@app.command("show", epilog=examples("restore keys show --json"))
def show(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> int:
    """Show who signs, until when, and the root to hand to verifiers. Needs no passphrase."""
    from restore_sdk.home import restore_home  # noqa: PLC0415

    return _show(Terminal(json, quiet, verbose), _stored(restore_home()))


@app.command(
    "import",
    epilog=examples(
        "restore keys import lab-signer.p12",
        "restore keys import chain.pem --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token lab --key signer",
    ),
)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Key and certificates, PKCS#12; with --pkcs11, the chain as PEM."
        ),
    ],
    pkcs11: Annotated[
        Path | None, typer.Option(metavar="MODULE", help="The key stays in a token: its driver.")
    ] = None,
    token: Annotated[str, typer.Option(metavar="LABEL", help="Label of the token.")] = "",
    key: Annotated[str, typer.Option(metavar="LABEL", help="Label of the key in the token.")] = "",
    unprotected: Unprotected = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Take over a key and chain that an authority issued, from a file or, by PKCS#11, in a token."""
    from restore_cli.passphrase import ask  # noqa: PLC0415
    from restore_manifests.errors import UsageError  # noqa: PLC0415
    from restore_manifests.hsm import TokenPlace, use_token  # noqa: PLC0415
    from restore_manifests.keys import import_identity  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415

    home = restore_home()
    if pkcs11 is None and (token or key):
        raise UsageError(
            "--token and --key say where in a token a key is.", hint="Name its driver by --pkcs11."
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        what = "a PKCS#12 file" if pkcs11 is None else "a PEM file of certificates"
        raise UsageError(f"{file} cannot be read: {error.strerror}.", hint=f"Name {what}.") from error
    _check_vacant(home, force=force)
    if pkcs11 is not None:
        place = TokenPlace(str(pkcs11.absolute()), token, key)
        identity = use_token(home, place, data, pin=ask(f"PIN of the token {token}"), force=force)
    else:
        passphrase = None if unprotected else ask(f"Passphrase of {file.name}")
        identity = import_identity(home, data, passphrase, unprotected=unprotected, force=force)
    return _show(Terminal(json, quiet, verbose), _described(identity, home))


@app.command("rotate", epilog=examples("restore keys rotate"))
def rotate(
    name: Annotated[str | None, typer.Option(help="Who signs; default: as before.")] = None,
    algorithm: Annotated[Kind, typer.Option(help="Signature algorithm.")] = Kind.ES256,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How long it is valid.")] = 1826,
    unprotected: Unprotected = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Replace the signing key by a new one; with roots.pem, all roots so far, old records still verify."""
    from restore_cli.passphrase import ask  # noqa: PLC0415
    from restore_manifests.rotation import ROOTS_NAME, rotate_identity  # noqa: PLC0415
    from restore_sdk.home import restore_home  # noqa: PLC0415

    home = restore_home()
    _stored(home)  # before anybody has typed a passphrase twice
    identity = rotate_identity(
        home,
        name=name,
        algorithm=algorithm.value,
        passphrase=None if unprotected else ask("New passphrase", twice=True),
        unprotected=unprotected,
        days=days,
    )
    described = _described(identity, home)
    return _show(Terminal(json, quiet, verbose), {**described, "roots": str(home / "keys" / ROOTS_NAME)})


def _check_vacant(home: Path, *, force: bool) -> None:
    """Say that an identity is there before anybody has typed a passphrase twice."""
    from restore_manifests.errors import KeyStoreError  # noqa: PLC0415
    from restore_manifests.keys import identity_path  # noqa: PLC0415

    if not force and identity_path(home).exists():
        raise KeyStoreError(
            f"There already is a signing identity in {identity_path(home).parent}.",
            hint="Show it with: restore keys show; replace it for good with --force.",
        )


def _described(identity: Identity, home: Path) -> dict[str, Any]:
    return {
        "name": identity.name,
        "algorithm": identity.algorithm,
        "key_id": identity.key_id,
        "serial": f"{identity.chain[0].serial_number:x}",
        "not_after": identity.not_after.isoformat(),
        **_files(home),
    }


def _stored(home: Path) -> dict[str, Any]:
    """What the public certificates say; the key itself stays closed."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    from restore_manifests.canonical import sha256_hex  # noqa: PLC0415
    from restore_manifests.errors import KeyStoreError  # noqa: PLC0415
    from restore_manifests.keys import identity_path  # noqa: PLC0415
    from restore_manifests.signing import algorithm_of  # noqa: PLC0415

    path = identity_path(home)
    if not path.is_file():
        raise KeyStoreError(
            f"There is no signing identity in {path.parent}.", hint="Make one with: restore keys init"
        )
    try:
        leaf = x509.load_pem_x509_certificates(path.with_name("chain.pem").read_bytes())[0]
    except (OSError, ValueError) as error:
        raise KeyStoreError(
            f"The certificates in {path.with_name('chain.pem')} cannot be read.",
            hint="Import the identity again with: restore keys import --force",
        ) from error
    public = leaf.public_key()
    names = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return {
        "name": str(names[0].value) if names else "",
        "algorithm": algorithm_of(public),
        "key_id": sha256_hex(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        "serial": f"{leaf.serial_number:x}",
        "not_after": leaf.not_valid_after_utc.isoformat(),
        **_files(home),
    }


def _files(home: Path) -> dict[str, str | None]:
    from restore_manifests.keys import identity_path  # noqa: PLC0415

    path = identity_path(home)
    root = path.with_name("root.pem")
    return {
        "identity": str(path),
        "chain": str(path.with_name("chain.pem")),
        "root": str(root) if root.is_file() else None,
    }


def _show(terminal: Terminal, described: dict[str, Any]) -> int:
    terminal.document(described)
    terminal.table([(name, str(value)) for name, value in described.items() if value is not None])
    if described["root"]:
        file = "roots.pem" if "roots" in described else "root.pem"
        terminal.say(f"Give {file} to whoever verifies: restore verify RESULT MANIFEST --trust {file}")
    return 0
