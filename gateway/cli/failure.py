"""Why there was no answer, in words for whoever typed the address: what failed, and what to try."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Final

import aiohttp

#: How the system's errors stand in the texts of those that are several at once: a name has several addresses, each was tried.
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


def failure_in_words(failure: Exception, seconds_max: float) -> str:
    """One clause on a request that had `seconds_max` and no answer. Nothing of the library that sent it shows."""
    if isinstance(failure, TimeoutError):
        return f"there was no answer within {seconds_max:g} s; is it a gateway that listens there, and is the way to it open?"
    if isinstance(failure, aiohttp.ClientSSLError):
        return (
            f"TLS failed ({_reason(_of_tls(failure))}); is it https there, with a certificate that this machine trusts?"
        )
    if isinstance(failure, aiohttp.ClientConnectorError):
        return _not_connected(failure.os_error)
    if isinstance(failure, aiohttp.ClientResponseError):
        return "what came back is not HTTP; is it a gateway that listens there?"
    if isinstance(failure, aiohttp.ClientPayloadError):
        return "the answer broke off; try again"
    if isinstance(failure, aiohttp.InvalidURL):
        return "that is no address of a web service"
    return (
        "the connection was closed before an answer came; is it a gateway that listens there, and did it go on running?"
    )


def _of_tls(failure: aiohttp.ClientSSLError) -> OSError:
    """A certificate that was refused stands elsewhere than all else that goes wrong."""
    certificate = getattr(failure, "certificate_error", None)
    return certificate if isinstance(certificate, OSError) else failure.os_error


def _not_connected(failure: OSError) -> str:
    if isinstance(failure, socket.gaierror):
        return "no machine of that name was found; is the address right?"
    if _number(failure) == errno.ECONNREFUSED:
        return "nothing listens there; start the gateway (`gateway serve`), or is the address another one?"
    return f"there is no connection ({_reason(failure)}); is the address right, and the way to it open?"


def _number(failure: OSError) -> int | None:
    told = _ERRNO.findall(str(failure))
    return int(told[0]) if told else failure.errno


def _reason(failure: OSError) -> str:
    number = _number(failure)
    reason = getattr(failure, "reason", None) or getattr(failure, "verify_message", None)
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return os.strerror(number).lower() if number else "no reason was given"
