"""Timestamp authorities made with `openssl ts` and served on this machine."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

# The extended key usage has to be critical; the token carries the authority's certificate only, because
# OpenSSL 3.0 writes a set of several in an order that DER does not allow.
CONFIG = """\
[tsa]
dir = {folder}
serial = $dir/serial
crypto_device = builtin
signer_cert = $dir/tsa.pem
signer_key = $dir/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""


@dataclass(frozen=True)
class Authority:
    """A timestamp authority: its folder, its root, and its address."""

    folder: Path
    root_pem: str
    url: str = ""

    def reply(self, query: bytes) -> bytes:
        """A TimeStampResp."""
        asked, answer = self.folder / "query.tsq", self.folder / "answer.tsr"
        asked.write_bytes(query)
        _openssl(self.folder, f"ts -reply -config tsa.cnf -section tsa -queryfile {asked} -out {answer}")
        return answer.read_bytes()

    def answer(self, path: str, query: bytes) -> tuple[int, bytes]:
        """What the server says: one path for each way in which an authority can go wrong."""
        if path == "/":
            return 200, self.reply(query)
        if path == "/other":
            other = self.folder / "other.tsq"
            _openssl(self.folder, f"ts -query -digest {'ab' * 32} -sha256 -cert -out {other}")
            return 200, self.reply(other.read_bytes())
        wrong = {
            "/refused": bytes.fromhex("30053003020102"),
            "/garbage": b"<html>moved</html>",
            "/huge": bytes(3 << 20),
        }
        return (200, wrong[path]) if path in wrong else (500, b"down")


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> Authority:
    folder.mkdir(parents=True)
    (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    (folder / "req.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    extension = "-config req.cnf"
    _openssl(
        folder,
        f"req -x509 {key} {extension} -days 3650 -subj /CN={name}-root -keyout root.key -out plain.pem",
    )
    _openssl(folder, f"req -new -key root.key {extension} -subj /CN={name}-root -out root.csr")
    _openssl(
        folder,
        "x509 -req -in root.csr -signkey root.key -days 3650 -extfile tsa.cnf -extensions root -out root.pem",
    )
    _openssl(folder, f"req -new {key} {extension} -subj /CN={name} -keyout tsa.key -out tsa.csr")
    _openssl(
        folder,
        "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -set_serial 7 -days 30 "
        "-extfile tsa.cnf -extensions leaf -out tsa.pem",
    )
    return Authority(folder, (folder / "root.pem").read_text())


def served(authority: Authority) -> Iterator[Authority]:
    """The authority with its address, for as long as the iterator stands still."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/timestamp-query"
            status, body = authority.answer(self.path, query)
            if self.path == "/elsewhere":
                self.send_response(302)
                self.send_header("Location", "/")
            else:
                self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the client had read enough

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Authority(authority.folder, authority.root_pem, f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
            thread.join()
