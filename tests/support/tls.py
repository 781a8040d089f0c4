"""TLS for the tests: certificates, and a server that carries bytes to one that has no TLS."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support import LONGEST_S


@dataclass(frozen=True)
class Certificates:
    """Two of 127.0.0.1, as PEM files with the key in them: the CA's, and one that signs itself."""

    ca: Path
    of_ca: Path
    self_signed: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them in this folder, by openssl."""

    def openssl(*words: str) -> None:
        command = ["openssl", *words]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    here = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    signs = "keyUsage=critical,keyCertSign,cRLSign"
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=The tests' CA", "-addext", signs)  # fmt: skip
    openssl("req", "-new", *new, "-keyout", "one.key", "-out", "one.csr", "-subj", "/CN=one")
    (folder / "one.ext").write_text(f"{here}\nauthorityKeyIdentifier=keyid\n", "utf-8")
    openssl("x509", "-req", "-in", "one.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out",
            "one.pem", "-days", "2", "-CAcreateserial", "-extfile", "one.ext")  # fmt: skip
    openssl("req", "-x509", *new, "-keyout", "own.key", "-out", "own.pem", "-days", "2",
            "-subj", "/CN=own", "-addext", here)  # fmt: skip
    for name in ("one", "own"):
        with (folder / f"{name}.pem").open("a") as pem:
            pem.write((folder / f"{name}.key").read_text("utf-8"))
    return Certificates(folder / "ca.pem", folder / "one.pem", folder / "own.pem")


class Front:
    """Carries bytes to a Valkey, over TLS if it has a certificate: the tests' Valkey has no TLS.

    What connects after `port_behind` is changed is carried to the other one.
    """

    def __init__(self, port_behind: int, certificate: Path | None = None) -> None:
        self.port_behind = port_behind
        self.port = 0
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(certificate)
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_open.wait(LONGEST_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._shut.set)
        self._thread.join(LONGEST_S)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._shut = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._is_open.set()
        await self._shut.wait()
        server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            behind, to_behind = await asyncio.open_connection("127.0.0.1", self.port_behind)
            ways = [
                asyncio.ensure_future(_pump(reader, to_behind)),
                asyncio.ensure_future(_pump(behind, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                to_behind.transport.abort()
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
