# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A small certificate authority of the studio, for gateways that have no other certificate. Pure.

A gateway's certificate and its key follow from the authority's key, the gateway's names and a window of time. So every
run gives the same until the next window begins, and only the authority's own key is ever stored. Whoever has that key
can make certificates anyway. The authority signs with RSA, whose signatures of PKCS #1 v1.5 are not random.

A window is two thirds of a certificate's life, so a schedule has a third of it to bring the new one.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._tokens import window_start

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    # _tokens.missing_library() tells; whoever uses this asks it first.
    pass

CA_YEARS = 10
LEAF_DAYS = 90
_DAY_SECONDS = 86400
_RSA_BITS = 3072
_LEAF_KEY_INFO = b"budgetguard gateway certificate v1:"

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""How many keys the curve has (NIST SP 800-186)."""


class CaError(ValueError):
    """No certificate can be made of this. The text never holds a key."""


def new_ca(studio: str, now: datetime.datetime) -> tuple[str, str]:
    """Return the certificate of a new authority, and its key, both as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, studio[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, "BudgetGuard gateways"),
        ]
    )
    start = now.replace(microsecond=0)
    builder = (
        _builder(name, name, key.public_key(), key.public_key(), x509.random_serial_number())
        .not_valid_before(start - datetime.timedelta(hours=1))
        .not_valid_after(start + datetime.timedelta(days=365 * CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    )
    return _pem(builder.sign(key, SHA256())), _key_pem(key)


def leaf(
    ca_certificate: str, ca_key: str, names: t.Sequence[str], now: datetime.datetime, days: int = LEAF_DAYS
) -> tuple[str, str]:
    """Return the certificate for a gateway with these names or IP addresses, and its key, both as PEM.

    Raises CaError.
    """
    if not names:
        raise CaError("a certificate needs the name or the IP address by which workstations call the gateway")
    authority, signer = _authority(ca_certificate, ca_key)
    life = days * _DAY_SECONDS
    start = window_start("\0".join(names), int(now.timestamp()), life * 2 // 3)
    mark = "\0".join([*names, str(start), str(days)]).encode()
    key = _derived_key(signer, mark)
    begins = datetime.datetime.fromtimestamp(start, datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    serial = int.from_bytes(hashlib.sha256(mark).digest()[:16], "big") >> 1 or 1
    builder = (
        _builder(subject, authority.subject, key.public_key(), signer.public_key(), serial)
        .not_valid_before(max(begins, authority.not_valid_before_utc))
        .not_valid_after(min(begins + datetime.timedelta(days=days), authority.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if authority.not_valid_after_utc <= now:
        raise CaError("the studio's certificate authority has ended; the playbook gateway_key makes a new one")
    return _pem(builder.sign(signer, SHA256())), _key_pem(key)


def check_pair(certificate: str, private_key: str) -> tuple[x509.Certificate, t.Any]:
    """Return a certificate and a key, given as PEM, that belong together. Raises CaError."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise CaError("the gateway's certificate is not PEM (BEGIN CERTIFICATE)") from None
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (TypeError, ValueError):
        raise CaError("the key of the gateway's certificate is not PEM without a password") from None
    if _public_bytes(found.public_key()) != _public_bytes(key.public_key()):
        raise CaError("the key does not belong to the gateway's certificate; the server's certificate comes first")
    return found, key


def _authority(ca_certificate: str, ca_key: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    try:
        certificate, key = check_pair(ca_certificate, ca_key)
    except CaError as error:
        raise CaError(f"the studio's certificate authority cannot be used: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CaError("the studio's certificate authority has no RSA key; the playbook gateway_key makes one")
    return certificate, key


def _derived_key(signer: rsa.RSAPrivateKey, mark: bytes) -> ec.EllipticCurvePrivateKey:
    secret = signer.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # With 16 bytes more than the number has, no key is more likely than another.
    derived = HKDF(algorithm=SHA256(), length=48, salt=None, info=_LEAF_KEY_INFO + mark).derive(secret)
    return ec.derive_private_key(int.from_bytes(derived, "big") % (P256_ORDER - 1) + 1, ec.SECP256R1())


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: t.Any, issuer_key: t.Any, serial: int
) -> x509.CertificateBuilder:
    # Python 3.13 and later refuse certificates without these two key identifiers.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES})


def _public_bytes(key: t.Any) -> bytes:
    found: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
