"""What both sides of the network share: transfer syntaxes, TLS, silence, and pseudonyms of UIDs."""

from __future__ import annotations

import hashlib
import hmac
import logging
import ssl
import warnings
from collections.abc import Callable
from typing import Any

from veridical.apps.node.settings import NodeSettings
from veridical.errors import MissingExtra, SettingError

DEFLATED = "1.2.840.10008.1.2.1.99"
SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit, little endian
    "1.2.840.10008.1.2",  # implicit, little endian
    DEFLATED,
    "1.2.840.10008.1.2.2",  # explicit, big endian
    "1.2.840.10008.1.2.4.50",  # JPEG, baseline
    "1.2.840.10008.1.2.4.51",  # JPEG, extended
    "1.2.840.10008.1.2.4.57",  # JPEG, lossless
    "1.2.840.10008.1.2.4.70",  # JPEG, lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS, lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # HTJ2K, lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K, lossless, RPCL
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.5",  # RLE
)
"""Transfer syntaxes that are taken (PS3.6, table A-1); kept as they came."""


def quiet() -> None:
    """Silence the DICOM libraries: pynetdicom logs names of patients at its debug level, and
    warnings of pydicom quote values.

    Raises:
        MissingExtra: pynetdicom is not installed.
    """
    try:
        from pynetdicom import _config
    except ImportError as error:
        raise MissingExtra(
            "The node needs pynetdicom: pip install 'veridical[clinical]'."
        ) from error
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom", "dicomweb_client", "urllib3", "highdicom"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    warnings.simplefilter("ignore")


def pseudonyms(salt: str) -> Callable[[str], str]:
    """Return a function that gives every UID a name of its own for the record; without the salt,
    which stays in the queue, nobody can tell which UID it was.
    """

    def hashed(uid: str) -> str:
        return hmac.new(salt.encode(), uid.encode(), hashlib.sha256).hexdigest()[:16]

    return hashed


def server_context(settings: NodeSettings) -> ssl.SSLContext | None:
    """Return how the node speaks TLS with callers; None without a certificate."""
    return _context(settings, ssl.PROTOCOL_TLS_SERVER) if settings.node.certificate else None


def client_context(settings: NodeSettings) -> ssl.SSLContext:
    """Return how the node speaks TLS with peers."""
    return _context(settings, ssl.PROTOCOL_TLS_CLIENT)


def _context(settings: NodeSettings, protocol: Any) -> ssl.SSLContext:
    node, context = settings.node, ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if node.certificate:
            context.load_cert_chain(settings.beside(node.certificate), settings.beside(node.key))
        if node.authorities:
            context.load_verify_locations(settings.beside(node.authorities))
            context.verify_mode = ssl.CERT_REQUIRED
        elif protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f"The TLS files under [node] cannot be used: {error}. Give PEM files of certificate, "
            "its key, and the authorities."
        ) from error
    return context
