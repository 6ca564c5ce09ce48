"""
The certificate authority of the emulated API.

Elliptic-curve keys (P-256): made in a millisecond and cheap per handshake. The
authority's private key is discarded after it has signed one certificate, so that a
trusted demo CA cannot sign another.
"""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES: Final = ("localhost", "127.0.0.1", "::1")
LIFETIME: Final = timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: what the server presents and what a client must trust."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """TLS for the server's side, offering HTTP/1.1 only."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate_file, self.key_file)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that trusts this authority and no other."""
        return ssl.create_default_context(cafile=self.ca_file)


def ensure_certificate(directory: Path) -> Certificate:
    """Use the certificate in `directory` if there is one, so that a restart keeps it."""
    found = _files(directory)
    if all(p.exists() for p in (found.ca_file, found.certificate_file, found.key_file)):
        return found
    return make_certificate(directory)


def make_certificate(
    directory: Path,
    *,
    names: Sequence[str] = NAMES,
    starts: timedelta = -timedelta(hours=1),
    lifetime: timedelta = LIFETIME,
) -> Certificate:
    """
    Make an authority and one server certificate signed by it.

    Args:
        directory: where the PEM files go; made when missing.
        names: DNS names and IP addresses that the certificate is for.
        starts: begin of validity, counted from now.
        lifetime: length of validity; negative together with `starts` in the past
            gives an expired certificate.
    """
    directory.mkdir(parents=True, exist_ok=True)
    begin = datetime.now(UTC) + starts
    end = begin + lifetime
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("Emulated Flownally CA")
    ca = _builder(ca_name, ca_name, ca_key.public_key(), begin, end)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_key_usage(signs_certificates=True), critical=True)
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = ca.add_extension(ca_id, critical=False)

    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _builder(_name(names[0]), ca_name, key.public_key(), begin, end)
    leaf = leaf.add_extension(
        x509.SubjectAlternativeName([_general_name(name) for name in names]),
        critical=False,
    )
    leaf = leaf.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    leaf = leaf.add_extension(_key_usage(signs_certificates=False), critical=True)
    leaf = leaf.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id),
        critical=False,
    )

    made = _files(directory)
    pem = serialization.Encoding.PEM
    made.ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    made.certificate_file.write_bytes(
        leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem)
    )
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # 0600 from the first byte: a chmod after the write would leave a gap.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(made.key_file, flags, 0o600), "wb") as out:
        out.write(private)
    return made


def _files(directory: Path) -> Certificate:
    """Name the three files."""
    return Certificate(
        directory / "ca.pem", directory / "server.pem", directory / "server-key.pem"
    )


def _name(common_name: str) -> x509.Name:
    """Make a subject of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    """Return an IP address or a DNS name for a certificate."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    """Start a certificate."""
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=end,
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Say what a key is for (RFC 5280, 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
