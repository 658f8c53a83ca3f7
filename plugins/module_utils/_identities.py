# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What is stored of workstations' identities, and what becomes of it in their configs. Pure.

A record is what is stored for one provider of one workstation. Its C(fields) are those of the workstation's config. The
secret ones among them are stored encrypted, everything else in clear, so that inventory tools can read it.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import KEYLESS_FIELD

Record = dict[str, t.Any]
Records = t.Mapping[str, t.Any]

OPEN_FIELDS = frozenset(
    {
        "Access Key ID",
        "Client ID (Application ID)",
        "Identity",
        "Project ID",
        "Region",
        "Resource Group",
        "Subscription ID",
        "Tenant ID",
        "Zone",
    }
)
"""The fields that are no secret. Whatever else a provider may return is taken for one."""

FIELDS: t.Mapping[str, tuple[str, ...]] = {
    "aws": ("Access Key ID", "Secret Access Key"),
    "azure": (
        "Subscription ID",
        "Tenant ID",
        "Client ID (Application ID)",
        "Client Secret",
        "Resource Group",
        "Region",
    ),
    "gcp": ("Project ID", "Service Account JSON", "Region", "Zone"),
}
"""The fields of each provider's key, which check mode has to know beforehand."""

NOT_MADE_YET = "(made by the real run)"
"""What check mode has in the place of a new key's id and secret."""

MADE_HERE = "made here"
"""Among what a workstation leaves behind: the identity that was made for it. Anything else there is a principal."""

FACTS = ("workstation_credentials_studio_identities", "workstation_credentials_identities")
"""What the role has found or made in this run. It counts more than the variables of the inventory."""

VARIABLES = ("nim_studio_identities", "nim_identities")
"""What is stored: the identities that all share, and those of one workstation."""


class IdentitiesError(ValueError):
    """What is stored, or a module's result, has the wrong form. The text says where, and holds no secret."""


def new_record(provider: str, result: t.Mapping[str, t.Any], old: t.Any = None, principal: str | None = None) -> Record:
    """Return the record after a run of a C(workstation_credential_<cloud>) module.

    C(old) is the record until now, if there is one. With a new key it is not C(delivered) yet. An identity that another
    one takes over from is among what it C(leaves): to be removed when the workstation has its new config.

    Raises IdentitiesError.
    """
    if provider not in FIELDS:
        raise IdentitiesError(f"provider is {provider!r}; it must be one of {', '.join(FIELDS)}")
    if "identity" not in result or "minted" not in result:
        raise IdentitiesError("this is not the result of a module workstation_credential_<cloud>")
    before = check_record(old) if old else {}
    leaves = _leaves(before, principal)
    rest = {"leaves": leaves} if leaves else {}
    if principal:
        own = {"identity": result["identity"], "principal": principal, "fields": {KEYLESS_FIELD: principal}}
        return {**own, **rest, "delivered": not leaves}
    record: Record = {"identity": result["identity"], "previous_key_id": result.get("previous_key_id"), **rest}
    if not result["minted"]:
        return {**before, **record}
    key = (result.get("key") or {}) if result.get("credentials") else {}
    fields = result.get("credentials") or dict.fromkeys(FIELDS[provider], NOT_MADE_YET)
    return {
        **record,
        "key_id": key.get("id") or NOT_MADE_YET,
        "created": key.get("created"),
        "expires": key.get("expires"),
        "delivered": False,
        "fields": {name: _text(value) for name, value in fields.items()},
    }


def _leaves(before: Record, principal: str | None) -> list[str]:
    """Return the identities that the workstation had and will not have any more."""
    found = list(before.get("leaves") or ())
    if before.get("principal"):
        found.append(before["principal"])
    elif before.get("key_id"):
        found.append(MADE_HERE)
    return sorted({*found} - {principal or MADE_HERE})


def delivered_record(record: t.Any, holders: t.Iterable[str], expected: t.Iterable[str]) -> Record:
    """Return the record after C(holders) were found to hold its key.

    Those that had it before count, too. It is delivered once all C(expected) have it; until then their names are kept.
    """
    found = check_record(record)
    have = {*holders, *(found.get("holders") or ())}
    rest = {name: value for name, value in found.items() if name != "holders"}
    if have >= set(expected):
        # What came before is gone by then.
        settled = {name: value for name, value in rest.items() if name != "leaves"}
        return {**settled, "delivered": True, **({"previous_key_id": None} if "previous_key_id" in settled else {})}
    return {**rest, "delivered": False, "holders": sorted(have)}


def check_record(record: t.Any) -> Record:
    """Return a record as plain data. Raises IdentitiesError."""
    if not isinstance(record, t.Mapping):
        raise IdentitiesError(f"a stored identity is a {type(record).__name__}; it must be a mapping")
    fields = record.get("fields", {})
    if not isinstance(fields, t.Mapping):
        raise IdentitiesError("the fields of a stored identity must be a mapping of names to texts")
    return {**record, "fields": {str(name): _text(value) for name, value in fields.items()}}


def parts(record: t.Any) -> tuple[Record, Record]:
    """Return what of a record is stored in clear, and what is stored encrypted."""
    found = check_record(record)
    fields = found["fields"]
    clear = {name: value for name, value in fields.items() if name in OPEN_FIELDS}
    secret = {name: value for name, value in fields.items() if name not in OPEN_FIELDS}
    shown = {**found, "fields": clear} if "fields" in record else dict(record)
    return shown, {"fields": secret} if secret else {}


def credentials(variables: t.Mapping[str, t.Any]) -> dict[str, dict[str, str]]:
    """Return the credentials of a workstation's config, of all its variables.

    What was made for it counts more than what all share, and that more than what TechOps gave it by hand. A provider
    that was revoked has none, wherever they came from.
    """
    given = _mapping(_variable(variables, "nim_workstation_credentials"))
    result = {name: {**fields} for name, fields in given.items() if isinstance(fields, t.Mapping)}
    for provider, record in records_of(variables).items():
        if is_revoked(record):
            result.pop(provider, None)
        else:
            result[provider] = check_record(record)["fields"]
    return result


def records_of(variables: t.Mapping[str, t.Any]) -> Record:
    """Return all identities that a workstation uses, by provider."""
    shared, own = (_one_of(variables, *names) for names in zip(FACTS, VARIABLES))
    return {**shared, **own}


def own_records(variables: t.Mapping[str, t.Any]) -> Records:
    """Return the identities that are one workstation's own, by provider."""
    return _one_of(variables, FACTS[1], VARIABLES[1])


def _one_of(variables: t.Mapping[str, t.Any], *names: str) -> Records:
    return next((_mapping(_variable(variables, name)) for name in names if name in variables), {})


def _variable(variables: t.Mapping[str, t.Any], name: str) -> t.Any:
    return variables.get(name)


def to_deliver(records: t.Any) -> list[str]:
    """Return the providers whose stored key the workstation is not known to hold, or that leave an identity behind."""
    return sorted(
        provider
        for provider, record in _mapping(records).items()
        if isinstance(record, t.Mapping)
        and not is_revoked(record)
        and (record.get("key_id") or record.get("leaves"))
        and not record.get("delivered")
    )


def is_revoked(record: t.Any) -> bool:
    """Return whether an identity was revoked, and so must not be made again by a schedule."""
    return isinstance(record, t.Mapping) and bool(record.get("revoked"))


def without(variables: Records, absent: t.Iterable[str]) -> Record:
    """Return a copy of variables without those named in C(absent), or without entries of them (C(variable.entry))."""
    result = {name: dict(value) if isinstance(value, dict) else value for name, value in variables.items()}
    for dotted in absent:
        name, *entries = dotted.split(".", 1)
        if not entries:
            result.pop(name, None)
        elif isinstance(result.get(name), dict):
            result[name].pop(entries[0], None)
    return result


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    if value is None:
        return {}
    if not isinstance(value, t.Mapping):
        raise IdentitiesError(f"expected a mapping by provider, found a {type(value).__name__}")
    return value


def _text(value: t.Any) -> str:
    """Return a field's text. Older Ansible turns a text that looks like JSON into data."""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)
