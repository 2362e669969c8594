"""Which dask schedulers are trusted: whoever answers there, or listens on the way, can run code as the user.

dask pickles what it sends, in both directions, and a plain connection neither says who answers nor hides what is sent.
So a scheduler has to be on this machine, or to be reached by TLS with certificates, unless the user says otherwise.
"""

import ipaddress
from urllib.parse import urlsplit

from svformer.common.errors import InputError

SECURE = ("tls", "wss", "inproc")


def require_trusted(address: str) -> None:
    """Raise `InputError` for the address of a scheduler on another machine that is reached without TLS."""
    protocol, _, place = address.rpartition("://")
    if protocol in SECURE or _is_here(place):
        return
    raise InputError(
        f"--scheduler {address}: a plain connection to another machine, over which others can run code as you; "
        "allowed: tls://HOST:8786 with certificates (docs/security.md), an address of this machine "
        "(127.0.0.1, localhost), or --insecure inside a network that you trust"
    )


def _is_here(place: str) -> bool:
    """Whether HOST:PORT names this machine, and nothing but it."""
    try:
        host = urlsplit(f"//{place}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
