"""The sandbox's own certificate authority, and TLS as the sinks serve it.

Alertmanager checks certificates in production and checks them here: it is told of this authority by `SSL_CERT_FILE`
(Go reads it in place of the system's bundle), never by switching the check off.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import trustme

from harness.errors import StackError
from harness.observe.channels import Certificate

NAMES = ("localhost", "127.0.0.1")
"""What the certificate is good for: a smarthost is written as an address, a person may write the name."""


def write_certificate(folder: Path) -> Certificate:
    """Makes a new authority and a certificate signed by it, and writes both into `folder` as PEM.

    The authority's own key is not kept: nothing else can ever be signed with it. The key of the certificate can be
    read by its owner only.

    Raises:
        StackError: the folder cannot be written.
    """
    authority = trustme.CA(organization_name="Tocsin sandbox")
    issued = authority.issue_cert(*NAMES)
    certificate = Certificate(folder / "sinks.pem", folder / "sinks.key", folder / "authority.pem")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate.authority.write_bytes(authority.cert_pem.bytes())
        certificate.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        certificate.key.touch(mode=0o600)
        certificate.key.chmod(0o600)
        certificate.key.write_bytes(issued.private_key_pem.bytes())
    except OSError as failed:
        raise StackError(
            "the certificates of the sandbox could not be written",
            expected=f"a folder that can be written at {folder}",
            seen=str(failed),
        ) from failed
    return certificate


def server_side(certificate: Certificate, refused: Callable[[str], None]) -> ssl.SSLContext:
    """TLS 1.2 or newer for a sink; `refused` is called with a sentence for every handshake that fails.

    Neither asyncio nor aiohttp tells anybody of a failed handshake, and a client that does not trust the authority is
    the very thing that somebody will look for.

    Raises:
        StackError: the certificate cannot be read.
    """

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as failed:
                refused(f"the TLS handshake failed: {_why(failed)}")
                raise

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate.chain, certificate.key)
    except (OSError, ssl.SSLError) as failed:
        raise StackError(
            "a sink cannot serve TLS",
            expected=f"a certificate at {certificate.chain} and its key at {certificate.key}",
            seen=str(failed),
        ) from failed
    context.sslobject_class = Watched
    return context


def _why(failed: ssl.SSLError) -> str:
    reason = (failed.reason or str(failed)).replace("_", " ").lower()
    if "unknown ca" in reason or "bad certificate" in reason:
        return f"the client does not trust the sandbox's authority ({reason})"
    if "http request" in reason:
        return f"the client spoke without TLS ({reason})"
    return reason
