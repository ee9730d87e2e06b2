"""Check the file of certificate authorities that a user gives."""

import ssl

from contact_activity.settings import SettingsError

_NAME = "CONSTANT_CONTACT_CA_BUNDLE"


def checked_ca_bundle(path: str | None) -> str | None:
    """Return the path if its file holds certificates; None for None.

    Raises `SettingsError` otherwise. Without this check every call would fail, with an error that does
    not name the file.
    """
    if path is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise SettingsError(f"{_NAME}={path!r} cannot be used: it holds no certificate in PEM form") from None
    except OSError as error:
        raise SettingsError(f"{_NAME}={path!r} cannot be read: {error.strerror}") from None
    if not context.cert_store_stats()["x509"]:
        raise SettingsError(f"{_NAME}={path!r} cannot be used: it holds no certificate")
    return path
