# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Who may reach a NIM: the same words and the same refusals on every cloud.

A NIM has no login of its own, so whoever reaches its port uses the GPU.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

WIDEST_PREFIX = {4: 8, 6: 16}
"""The shortest prefix that still counts as a studio's own network."""


_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class ExposureError(ValueError):
    """The endpoint would be open to more people than was allowed in so many words."""


def check_exposure(
    scheme: str,
    allowed_cidrs: t.Sequence[str] | None,
    tls: bool,
    allow_public: bool = False,
    allow_plain_http: bool = False,
) -> tuple[str, ...]:
    """Return the allowed networks in canonical form, sorted.

    Raises :class:`ExposureError` with everything that is wrong.
    """
    problems: list[str] = []
    networks: set[str] = set()
    if not allowed_cidrs:
        problems.append(
            "allowed_cidrs is empty; a NIM has no login, so name the studio's networks, for example [10.20.0.0/16]"
        )
    for text in allowed_cidrs or ():
        try:
            network = ipaddress.ip_network(text)
        except ValueError as exc:
            problems.append(f"allowed_cidrs: {text!r} is not a network in CIDR form such as 10.20.0.0/16 ({exc})")
            continue
        if network.prefixlen < WIDEST_PREFIX[network.version] and not allow_public:
            problems.append(
                f"allowed_cidrs: {text} lets almost everybody in; narrow it to /{WIDEST_PREFIX[network.version]} "
                "or longer, or say allow_public: true"
            )
        networks.add(str(network))
    if scheme == "public" and not tls and not allow_plain_http:
        problems.append(
            "scheme is public and there is no certificate, so pictures and prompts would cross the internet in clear; "
            "give a certificate, use scheme internal, or say allow_plain_http: true"
        )
    if problems:
        raise ExposureError("\n".join(problems))
    return tuple(sorted(networks))


def endpoint_host_problem(host: str | None) -> str | None:
    """Return why a host cannot be published as it is, None where it can or there is none."""
    if host is None or _HOST.fullmatch(host):
        return None
    return (
        f"endpoint_host is {host!r}; it must be a name without scheme, port and path, for example nims.studio.example"
    )
