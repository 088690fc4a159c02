"""A trust store for a Java that was unpacked and never set up: the certificates that the host itself trusts."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import ssl
import warnings
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def trust_store(target: Path) -> str:
    """Writes the certificates that this host trusts as Java reads them, and returns the password of the file.

    They are those of `SSL_CERT_FILE`, else the system's, else certifi's. One that cannot be read is left out.

    Raises:
        OSError: the bundle cannot be read, or the file cannot be written.
    """
    candidates = (
        os.environ.get("SSL_CERT_FILE"),
        ssl.get_default_verify_paths().cafile,
        "/etc/ssl/certs/ca-certificates.crt",
    )
    bundle = next((Path(one) for one in candidates if one and Path(one).is_file()), Path(certifi.where()))
    found: list[x509.Certificate] = []
    with warnings.catch_warnings():
        # Old roots whose serial number is none: not ours to judge, and Java takes them.
        warnings.simplefilter("ignore")
        for pem in _CERTIFICATE.findall(bundle.read_bytes()):
            with contextlib.suppress(ValueError):
                found.append(x509.load_pem_x509_certificate(pem))
    password = secrets.token_hex(8)
    entries = [PKCS12Certificate(one, f"{number}".encode()) for number, one in enumerate(found)]
    target.write_bytes(serialize_java_truststore(entries, BestAvailableEncryption(password.encode())))
    return password
