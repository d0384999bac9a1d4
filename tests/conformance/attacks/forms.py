"""Manifests that two readers could read in two ways, or that lead a reader astray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attacks.bench import Corpus, Scene

FORMS = Corpus("The form of the manifest, and names that mislead")
SCHEMA = ("manifest.schema",)
_FLAG = '"abstained": '


def _text(name: str, does: str, change: Callable[[str], str]) -> None:
    def forge(scene: Scene) -> None:
        text = scene.bundle.manifest.read_text(encoding="utf-8")
        changed = change(text)
        assert changed != text
        scene.bundle.manifest.write_bytes(changed.encode("utf-8", "surrogatepass"))

    FORMS.add(name, does, SCHEMA, forge)


def _named(name: str, does: str, value: str, *caught_by: str) -> None:
    def forge(scene: Scene) -> None:
        scene.bundle.change(lambda d: d["body"]["source"].__setitem__("name", value))

    FORMS.add(name, does, caught_by or SCHEMA, forge)


def _once(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


_text("schema-other-version", "says it follows a later schema", _once("manifest/1", "manifest/2"))
_text("schema-unnamed", "takes the schema's name out", _once('"schema": "restore.manifest/1",', ""))
_text("duplicate-member", "says a thing twice, differently", _once(_FLAG, f"{_FLAG}true, {_FLAG}"))
_text(
    "duplicate-member-escaped",
    "says it twice, once in escapes",
    _once(_FLAG, f'"abst\\u0061ined": true, {_FLAG}'),
)
_text("duplicate-body", "puts a second record before the first", _once('"body": {', '"body": {}, "body": {'))
_text("unknown-member", "adds a member to the record", _once(_FLAG, f'"verified": true, {_FLAG}'))
_text(
    "unknown-member-outside",
    "adds a member outside the record",
    _once('"schema"', '"verdict": "pass", "schema"'),
)
_text("homoglyph-member", "writes a member's name with a Cyrillic letter", _once('"prompt"', '"\u0440rompt"'))
_text("huge-integer", "gives a seed beyond what a double holds", _once('"seed": 0', f'"seed": {2**53}'))
_text("huge-digits", "gives a seed of a million digits", _once('"seed": 0', '"seed": 1' + "0" * 1_000_000))
_text(
    "huge-exponent",
    "gives a number that overflows",
    _once('"guidance_scale": 1.0', '"guidance_scale": 1e400'),
)
_text("nan", "gives a number that is none", _once('"guidance_scale": 1.0', '"guidance_scale": NaN'))
_text("infinity", "gives an infinite number", _once('"guidance_scale": 1.0', '"guidance_scale": -Infinity'))
_text("number-as-text", "writes a number as text", _once('"scale": 1', '"scale": "1"'))
_text("flag-as-number", "writes a flag as a number", _once('"strict": false', '"strict": 0'))
_text("fraction-for-count", "writes a whole number as a fraction", _once('"scale": 1', '"scale": 1.5'))
_text(
    "deep-nesting",
    "nests a finding 100,000 levels deep",
    _once('"findings": [', '"findings": [' + "[" * 100_000),
)
_text("too-many-values", "sends two million wrong steps", _once('"plan": [', '"plan": [' + "0," * 2_000_000))
_text("lone-surrogate", "puts half a character into the prompt", _once('"prompt": "', '"prompt": "\\ud800'))
_text("control-character", "puts a raw control character in a text", _once('"prompt": "', '"prompt": "\x07'))
_text("byte-order-mark", "puts a byte order mark in front", lambda text: "\ufeff" + text)
_text("second-document", "appends a second document", lambda text: text + "{}")
_text(
    "no-such-day",
    "dates the record to a day that never was",
    _once('"created": "20', '"created": "2026-02-30T00:00:00Z", "x": "20'),
)

_named("name-climbs", "names a source above the folder", "../outside/plate.png")
_named("name-absolute", "names a source by an absolute path", "/etc/hostname")
_named("name-backslash", "names a source above the folder, as Windows writes it", "..\\outside\\plate.png")
_named("name-drive-path", "names a source on another drive", "C:\\plate.png")
_named("name-nul", "hides an ending behind a zero byte", "plate.png\0.txt")
_named("name-dots", "names the folder above as the source", "..")
_named("name-space", "hides a name behind a trailing space", "plate.png ")
_named("name-device", "names a device of Windows as the source", "CON", "signature")
_named("name-stream", "names a hidden stream of Windows as the source", "plate.png:x", "signature")
_named("name-drive", "names a file in the current folder of a drive", "C:plate.png", "signature")
_named("name-homoglyph", "writes the source's name with a Cyrillic letter", "pl\u0430te.png", "signature")
_named("name-turned-round", "turns the end of a name round (U+202E)", "plate\u202egnp.exe", "signature")


@FORMS("hides the manifest of another bundle in UTF-16", *SCHEMA)
def other_encoding(scene: Scene) -> None:
    text = scene.bundle.manifest.read_text(encoding="utf-8")
    scene.bundle.manifest.write_bytes(text.encode("utf-16"))


@FORMS("sends an empty manifest", *SCHEMA)
def empty_manifest(scene: Scene) -> None:
    scene.bundle.manifest.write_bytes(b"")


@FORMS("writes an id of a model with a Cyrillic letter", "signature", "c2pa.agrees")
def homoglyph_model(scene: Scene) -> None:
    def change(document: dict[str, Any]) -> None:
        document["body"]["models"][0]["id"] = document["body"]["models"][0]["id"].replace("i", "\u0456")

    scene.bundle.change(change)


@FORMS("puts a link out of the folder in the place of the source", "source.file", exit_code=3)
def link_for_source(scene: Scene) -> None:
    target = scene.bundle.source.replace(scene.outside / "plate.png")
    scene.bundle.source.symlink_to(target)


@FORMS("puts a link out of the folder in the place of a map", "maps.edit", exit_code=3)
def link_for_map(scene: Scene) -> None:
    target = scene.bundle.edit.replace(scene.outside / "plate.edit.png")
    scene.bundle.edit.symlink_to(target)


@FORMS("puts a folder in the place of the source", "source.file", exit_code=3)
def folder_for_source(scene: Scene) -> None:
    scene.bundle.source.unlink()
    scene.bundle.source.mkdir()
