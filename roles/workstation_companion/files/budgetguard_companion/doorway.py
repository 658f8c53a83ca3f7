# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may change something by way of ComfyUI's server. Pure.

ComfyUI has no login. As long as it listens on this workstation alone, the artist's own browser is the only one that
gets here, and what has to be kept out are pages of strangers in that browser. When it listens on the network, the token
that the role has put beside the key is asked for, too.
"""

from __future__ import annotations

import hmac
import ipaddress
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

CALLER_HEADER = "X-BudgetGuard-Token"


class DoorError(Exception):
    """A request is not let in. C(reason) is a word for programs, the text for the artist."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class Caller:
    """What is known of a request."""

    headers: t.Mapping[str, str]
    content_type: str
    peer: str | None
    listens: t.Sequence[str]
    """The addresses that ComfyUI listens on. Nothing where it does not say."""


def check(caller: Caller, token: str) -> None:
    """Raise DoorError if the caller may change nothing.

    :arg token: what the role has put on this workstation; empty if there is none.
    """
    host = caller.headers.get("Host", "")
    origin = caller.headers.get("Origin")
    # Browsers tell where a page is from. A program of the artist's own does not, and no page can leave it out.
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise DoorError("strange_page", "This request comes from a page of somebody else, so it was refused.")
    if caller.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise DoorError("strange_page", "This request comes from a page of somebody else, so it was refused.")
    if caller.content_type != "application/json":
        raise DoorError("not_json", "The request must be JSON (Content-Type: application/json).")
    if not needs_token(caller, host):
        return
    if not token:
        raise DoorError(
            "no_token_file",
            "ComfyUI can be reached from the network, and this workstation has no token for that: call your TechOps "
            "technician.",
        )
    given = caller.headers.get(CALLER_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        wrong = "That token is not right." if given else "ComfyUI can be reached from the network."
        raise DoorError("token_needed", f"{wrong} Type the token of this workstation in, to start and stop NIMs.")


def needs_token(caller: Caller, host: str) -> bool:
    """Say whether anybody but this workstation could be calling. Where it cannot be known, so it is."""
    names = [*caller.listens, caller.peer or "", urlsplit(f"//{host}").hostname or ""]
    return not caller.listens or not all(is_loopback(name) for name in names)


def is_loopback(name: str) -> bool:
    """Say whether a name or address is this machine's own."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
