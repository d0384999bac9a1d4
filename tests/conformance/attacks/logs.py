"""The proof that the record was logged."""

from __future__ import annotations

from attacks.bench import Corpus, Laboratory, Scene, bump_base64, change_proof, set_anchors

from restore_manifests.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from restore_manifests.merkle import leaf_hash
from restore_manifests.schema import LogAnchor, body_bytes, parse_manifest

LOGS = Corpus("The transparency log")
INCLUSION, CHECKPOINT = ("log.inclusion",), ("log.checkpoint",)


def _record(scene: Scene) -> bytes:
    return body_bytes(parse_manifest(scene.bundle.manifest.read_bytes()).body)


def _anchor(scene: Scene) -> LogAnchor:
    (anchor,) = parse_manifest(scene.bundle.manifest.read_bytes()).anchors
    assert isinstance(anchor, LogAnchor)
    return anchor


def _lines(text: str) -> tuple[list[str], str]:
    head, _, note = text.partition("\n\n")
    return head.split("\n"), note


@LOGS("says that the record is another entry, in the manifest", *INCLUSION)
def log_other_index(scene: Scene) -> None:
    set_anchors(scene.bundle, _anchor(scene).model_copy(update={"index": 0}))


@LOGS("says that the log was longer, in the manifest", *INCLUSION)
def log_other_size(scene: Scene) -> None:
    set_anchors(scene.bundle, _anchor(scene).model_copy(update={"tree_size": 1_000_000}))


@LOGS("says that the record is another entry, in the proof", *INCLUSION)
def log_other_index_in_proof(scene: Scene) -> None:
    index = _anchor(scene).index
    change_proof(scene.bundle, lambda text: text.replace(f"index {index}", "index 0"))


@LOGS("names an entry beyond the end of the log", *INCLUSION)
def log_index_beyond(scene: Scene) -> None:
    index = _anchor(scene).index
    change_proof(scene.bundle, lambda text: text.replace(f"index {index}", "index 4294967296"))


@LOGS("writes the entry's number in another form", *INCLUSION)
def log_index_form(scene: Scene) -> None:
    index = _anchor(scene).index
    change_proof(scene.bundle, lambda text: text.replace(f"index {index}", f"index 0{index}"))


@LOGS("leaves out the last step of the path", *INCLUSION)
def log_path_truncated(scene: Scene) -> None:
    def cut(text: str) -> str:
        lines, note = _lines(text)
        return "\n".join(lines[:-1]) + "\n\n" + note

    change_proof(scene.bundle, cut)


@LOGS("adds a step to the path", *INCLUSION)
def log_path_longer(scene: Scene) -> None:
    def add(text: str) -> str:
        lines, note = _lines(text)
        return "\n".join([*lines, lines[-1]]) + "\n\n" + note

    change_proof(scene.bundle, add)


@LOGS("changes a hash of the path", *INCLUSION)
def log_path_changed(scene: Scene) -> None:
    def change(text: str) -> str:
        lines, note = _lines(text)
        return "\n".join([*lines[:-1], bump_base64(lines[-1])]) + "\n\n" + note

    change_proof(scene.bundle, change)


@LOGS("takes the proof of another record in the same log", *INCLUSION)
def log_path_of_another(scene: Scene) -> None:
    (anchor,) = parse_manifest(scene.other.manifest.read_bytes()).anchors
    assert isinstance(anchor, LogAnchor)
    set_anchors(scene.bundle, anchor)


@LOGS("replays the proof of the older restoration", *INCLUSION)
def log_proof_replayed(scene: Scene) -> None:
    (anchor,) = parse_manifest(scene.older.manifest.read_bytes()).anchors
    assert isinstance(anchor, LogAnchor)
    set_anchors(scene.bundle, anchor)


@LOGS("presents an inner node of the tree as the record", *INCLUSION)
def log_inner_node(scene: Scene) -> None:
    """The hash of a leaf has a prefix of its own (RFC 9162, section 2.1.1), so none is an inner node."""

    def change(text: str) -> str:
        lines, note = _lines(text)
        return "\n".join([lines[0], "index 0", *lines[3:]]) + "\n\n" + note

    change_proof(scene.bundle, change)


@LOGS("changes the root in the checkpoint", *CHECKPOINT)
def log_root_changed(scene: Scene) -> None:
    def change(text: str) -> str:
        lines, note = _lines(text)
        origin, size, root, *rest = note.split("\n")
        return "\n".join(lines) + "\n\n" + "\n".join([origin, size, bump_base64(root), *rest])

    change_proof(scene.bundle, change)


@LOGS("makes the log larger in the checkpoint", *CHECKPOINT)
def log_size_changed(scene: Scene) -> None:
    def change(text: str) -> str:
        lines, note = _lines(text)
        origin, _, *rest = note.split("\n")
        return "\n".join(lines) + "\n\n" + "\n".join([origin, "4096", *rest])

    change_proof(scene.bundle, change)


@LOGS("takes the signature off the checkpoint", *CHECKPOINT)
def log_unsigned(scene: Scene) -> None:
    change_proof(scene.bundle, lambda text: text[: text.rindex("\u2014")])


@LOGS("flips a bit in the checkpoint's signature", *CHECKPOINT)
def log_signature_bit(scene: Scene) -> None:
    def change(text: str) -> str:
        head, _, blob = text.rstrip("\n").rpartition(" ")
        return f"{head} {bump_base64(blob, 20)}\n"

    change_proof(scene.bundle, change)


@LOGS("logs the record in a log of his own", *CHECKPOINT)
def log_of_a_stranger(scene: Scene) -> None:
    set_anchors(scene.bundle, scene.stranger.log(b"something", _record(scene)))


@LOGS("logs the record in a log with the same name and his own key", *CHECKPOINT)
def log_of_the_same_name(scene: Scene) -> None:
    home = scene.outside / "log-home"
    twin = Laboratory(home, scene.stranger.identity, _anchor(scene).origin)
    set_anchors(scene.bundle, twin.log(b"something", _record(scene)))


@LOGS("names the right key beside a checkpoint of his own log of that name", *CHECKPOINT)
def log_of_the_same_name_under_the_right_key(scene: Scene) -> None:
    anchor = _anchor(scene)
    twin = Laboratory(scene.outside / "log-home", scene.stranger.identity, anchor.origin)
    forged = twin.log(b"something", _record(scene))
    set_anchors(scene.bundle, forged.model_copy(update={"public_key": anchor.public_key}))


@LOGS("signs a checkpoint for a tree of one entry with a key of his own", *CHECKPOINT)
def log_tree_of_one(scene: Scene) -> None:
    key = SigningKey.generate(_anchor(scene).origin)
    note = sign_checkpoint(Checkpoint(key.name, 1, leaf_hash(_record(scene))), key)
    forged = LogAnchor(
        type="tlog-proof",
        origin=key.name,
        index=0,
        tree_size=1,
        public_key=key.verifier.encode(),
        proof=f"c2sp.org/tlog-proof@v1\nindex 0\n\n{note}",
    )
    set_anchors(scene.bundle, forged)


@LOGS("gives the log another name in the manifest", *CHECKPOINT)
def log_other_origin(scene: Scene) -> None:
    set_anchors(scene.bundle, _anchor(scene).model_copy(update={"origin": "trusted.example/log"}))


@LOGS("gives the log another name in the checkpoint", *CHECKPOINT)
def log_other_origin_in_the_checkpoint(scene: Scene) -> None:
    origin = _anchor(scene).origin
    change_proof(scene.bundle, lambda text: text.replace(f"\n\n{origin}\n", "\n\ntrusted.example/log\n"))


@LOGS("spoils the log's key in the manifest", *CHECKPOINT)
def log_key_spoilt(scene: Scene) -> None:
    anchor = _anchor(scene)
    set_anchors(scene.bundle, anchor.model_copy(update={"public_key": anchor.public_key[:-2]}))


@LOGS("empties the proof", *CHECKPOINT)
def log_proof_emptied(scene: Scene) -> None:
    change_proof(scene.bundle, lambda text: "")


@LOGS("takes the proof out of the manifest", "log.inclusion", "log.checkpoint", exit_code=3)
def log_stripped(scene: Scene) -> None:
    set_anchors(scene.bundle)


@LOGS("adds a second proof that disagrees with the first", *INCLUSION)
def log_two_proofs(scene: Scene) -> None:
    anchor = _anchor(scene)
    (second,) = parse_manifest(scene.other.manifest.read_bytes()).anchors
    assert isinstance(second, LogAnchor)
    set_anchors(scene.bundle, anchor, second)


@LOGS("adds a second proof from a log of his own", *CHECKPOINT)
def log_two_logs(scene: Scene) -> None:
    set_anchors(scene.bundle, _anchor(scene), scene.stranger.log(_record(scene)))


@LOGS("adds seventeen proofs", "manifest.schema")
def log_many_proofs(scene: Scene) -> None:
    set_anchors(scene.bundle, *[_anchor(scene)] * 17)
