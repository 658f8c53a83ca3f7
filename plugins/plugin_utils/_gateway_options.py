# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the inventory says about gateways and tokens. Pure but for keys and certificates, which follow from it.

Everything is read from a host's variables, as ``hostvars`` has them: a target's for its gateway, a workstation's for
its token.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _gateway, _identities, _tokens

PROVIDER = "gateway"
"""The key of a workstation's token among its credentials."""

NO_TLS, STUDIO_CA, GIVEN = "none", "studio_ca", "given"
TLS = (NO_TLS, STUDIO_CA, GIVEN)
MAKE_KEYS = "the playbook gateway_key makes it"

Variables = t.Mapping[str, t.Any]


class GatewayError(ValueError):
    """The inventory asks for what cannot be. The text names the variable, and holds no secret."""


def options(
    variables: Variables, now: datetime.datetime, deny: t.Mapping[str, t.Any] | None = None
) -> dict[str, t.Any]:
    """Return the option ``gateway`` of a target's module. It is empty where the inventory asks for no gateway's login.

    At NVIDIA there is no gateway, whatever all targets are asked for.

    ``deny`` are names and times that join the inventory's deny list.

    Raises GatewayError.
    """
    if _is_at("nvidia", variables):
        return {}
    target = str(variables.get("inventory_hostname") or "target")
    tls = str(variables.get("nim_gateway_tls") or NO_TLS)
    if tls not in TLS:
        raise GatewayError(f"{target}: nim_gateway_tls is {tls!r}; it must be one of {', '.join(TLS)}")
    limits = _mapping(variables, "nim_gateway_limits")
    found: dict[str, t.Any] = {"target": target, **{str(name): value for name, value in limits.items()}}
    if variables.get("nim_gateway_studio"):
        found["studio"] = str(variables["nim_gateway_studio"])
        found["public_keys"] = _public_keys(_mapping(variables, "nim_gateway_keys"))
        denied = {**_mapping(variables, "nim_gateway_denied"), **(deny or {})}
        found["denied"] = {str(name): _text(moment) for name, moment in denied.items()}
    # On ECS the load balancer speaks HTTPS, with a certificate of AWS's.
    if tls != NO_TLS and not _is_at("aws", variables):
        pair = _of_studio_ca(variables, now) if tls == STUDIO_CA else _given(variables)
        found["certificate"], found["private_key"] = pair
    return found if len(found) > 1 else {}


def _is_at(provider: str, variables: Variables) -> bool:
    given = variables.get("nim_provider")
    return given == provider if given else provider in (variables.get("group_names") or ())


def tokens(variables: Variables, workstations: t.Sequence[str], now: datetime.datetime) -> dict[str, dict[str, str]]:
    """Return the token of each workstation, with the root of the studio's authority if there is one.

    Without ``nim_gateway_studio`` there are none. Raises GatewayError.
    """
    studio = variables.get("nim_gateway_studio")
    if not studio:
        return {}
    keys = _mapping(variables, "nim_gateway_keys")
    if not keys.get("signing_key"):
        raise GatewayError(f"nim_gateway_keys has no signing_key; {MAKE_KEYS}")
    denied = {
        str(name): _gateway.unix_time(f"nim_gateway_denied[{name!r}]", moment)
        for name, moment in _mapping(variables, "nim_gateway_denied").items()
    }
    signing_key = str(keys["signing_key"])
    if keys.get("public_key") and _tokens.public_key(signing_key) != _public_key(keys, "public_key"):
        raise GatewayError(
            "nim_gateway_keys: public_key does not belong to signing_key, so no gateway would take the tokens; take "
            "out the one that is wrong"
        )
    made = _tokens.mint(
        signing_key,
        str(studio),
        workstations,
        now,
        days=_whole(variables, "nim_gateway_token_days", _tokens.DAYS),
        denied=denied,
    )
    root = {_tokens.CA_FIELD: str(keys["ca_certificate"])} if keys.get("ca_certificate") else {}
    return {name: {**token, **root} for name, token in made.items()}


def with_token(
    credentials: dict[str, dict[str, str]], variables: Variables, now: datetime.datetime
) -> dict[str, dict[str, str]]:
    """Return a workstation's credentials and its token, unless it was revoked. Raises GatewayError."""
    if _identities.is_revoked(_identities.records_of(variables).get(PROVIDER)):
        return credentials
    name = str(variables.get("inventory_hostname"))
    made = tokens(variables, [name], now)
    return {**credentials, PROVIDER: made[name]} if made else credentials


def _public_keys(keys: Variables) -> list[str]:
    if not keys.get("public_key"):
        raise GatewayError(f"nim_gateway_studio asks for tokens, but nim_gateway_keys has no public_key; {MAKE_KEYS}")
    return [_public_key(keys, name) for name in ("public_key", "previous_public_key") if keys.get(name)]


def _public_key(keys: Variables, name: str) -> str:
    return _tokens.check_public_key(f"nim_gateway_keys.{name}", str(keys[name]))


def _of_studio_ca(variables: Variables, now: datetime.datetime) -> tuple[str, str]:
    keys = _mapping(variables, "nim_gateway_keys")
    if not keys.get("ca_certificate") or not keys.get("ca_key"):
        raise GatewayError(f"nim_gateway_tls is {STUDIO_CA}, but nim_gateway_keys has no authority; {MAKE_KEYS}")
    return _ca.leaf(str(keys["ca_certificate"]), str(keys["ca_key"]), _names(variables), now)


def _given(variables: Variables) -> tuple[str, str]:
    pair = (variables.get("nim_gateway_certificate"), variables.get("nim_gateway_certificate_key"))
    if not all(pair):
        raise GatewayError(
            f"nim_gateway_tls is {GIVEN}, so nim_gateway_certificate and nim_gateway_certificate_key must be set"
        )
    certificate, key = (str(text) for text in pair)
    _ca.check_pair(certificate, key)
    return certificate, key


def _names(variables: Variables) -> list[str]:
    """Return by which names workstations call the gateway."""
    target = _mapping(variables, "nim_target")
    given = variables.get("nim_gateway_names") or []
    names = [given] if isinstance(given, str) else [str(name) for name in given]
    if target.get("endpoint_host") and str(target["endpoint_host"]) not in names:
        names.insert(0, str(target["endpoint_host"]))
    if not names and target.get("bind_address"):
        names.append(str(target["bind_address"]))
    if not names:
        raise GatewayError(
            f"{variables.get('inventory_hostname')}: a certificate needs nim_target.endpoint_host, the name or address "
            "by which workstations call the gateway"
        )
    return names


def _mapping(variables: Variables, name: str) -> Variables:
    found = variables.get(name) or {}
    if not isinstance(found, t.Mapping):
        raise GatewayError(f"{name} must be a mapping")
    return found


def _whole(variables: Variables, name: str, default: int) -> int:
    given = variables.get(name)
    if given in (None, ""):
        return default
    if not str(given).isdigit():
        raise GatewayError(f"{name} is {given!r}; it must be a whole number")
    return int(str(given))


def _text(moment: t.Any) -> str:
    return moment.isoformat() if isinstance(moment, datetime.datetime) else str(moment)
