# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The identity of one workstation in one cloud: look, decide, carry out. The clouds differ in the calls alone."""

from __future__ import annotations

import abc
import random
import time
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.budgetguard.techops.plugins.module_utils._keys import hide_json
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    MissingLibraryError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation_key import (
    Key,
    KeyLostError,
    Plan,
    Wish,
    check_workstation,
    plan,
)

ROUNDS = 6
"""How often is looked again after another run changed the same thing."""


@dataclass(frozen=True)
class Observed:
    """What there is of an identity.

    C(id) is its name in the cloud, None while there is none. C(lacks) are the steps that would make it, or its rights,
    what they should be; C(leftovers) those that would remove it and everything of its own but its keys.
    """

    id: str | None
    keys: tuple[Key, ...] = ()
    lacks: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Minted:
    """A new key. C(fields) are those of the workstation's config; this is the only time that they can be had."""

    key: Key
    fields: t.Mapping[str, str] = field(repr=False)


class IdentityProvider(abc.ABC):
    """One cloud. Every method raises ProviderError, or ConflictError where looking again may help."""

    most_keys: int
    """How many keys an identity may have."""

    done: t.Sequence[str] = ()
    """The steps that were carried out since the last look, so that they are told where a later one fails."""

    @abc.abstractmethod
    def observe(self) -> Observed:
        """Return what there is. Changes nothing."""

    @abc.abstractmethod
    def settle(self, seen: Observed) -> str:
        """Carry out what C(seen) lacks and return the identity's name. What somebody else made meanwhile is taken."""

    @abc.abstractmethod
    def mint(self, identity: str) -> Minted:
        """Make a key."""

    @abc.abstractmethod
    def delete_key(self, identity: str, key_id: str) -> None:
        """Delete a key. One that is not there any more is no error."""

    @abc.abstractmethod
    def remove(self, seen: Observed) -> None:
        """Carry out the leftovers, after all keys were deleted. What is gone already is no error."""


IDENTITY: dict[str, dict[str, t.Any]] = {
    "workstation": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "key_id": {"type": "str", "no_log": False},
    "previous_key_id": {"type": "str", "no_log": False},
    "rotate": {"type": "bool", "default": False},
    "max_age_days": {"type": "int"},
    "delivered": {"type": "bool", "default": False},
    "principal": {"type": "str"},
}
"""The options that all modules of this kind share. The doc fragment C(workstation_credential) describes them."""


@dataclass
class Account:
    """What was done, for the module's result."""

    steps: list[str] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    identity: str | None = None
    keys: tuple[Key, ...] = ()
    minted: Minted | None = None
    warnings: tuple[str, ...] = ()


Connect = t.Callable[[str], IdentityProvider]
"""Opens a cloud for one workstation. It gets the workstation's name in the form that names in the cloud allow."""


def run_identity(module: AnsibleModule, connect: Connect) -> t.NoReturn:
    """Carry out a C(workstation_credential_<cloud>) module and leave with its result."""
    hide_json(module)
    result = attempt(connect, module.params, module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


def attempt(connect: Connect, params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Bring an identity to what the options say, and return the module's result, also where that has failed."""
    account = Account()
    try:
        result = bring_identity(connect, params, check_mode, account)
    except MissingLibraryError as exc:
        return {"failed": True, "msg": missing_required_lib(exc.package), "exception": exc.import_error}
    except (KeyLostError, ProviderError, ValueError) as exc:
        done = f"Done before that: {'; '.join(account.steps)}." if account.steps else "Nothing was changed."
        return {"failed": True, "msg": f"{params['workstation']}: {str(exc).rstrip('.')}. {done}"}
    return {**result, **({"warnings": list(account.warnings)} if account.warnings else {})}


def bring_identity(
    connect: Connect, params: t.Mapping[str, t.Any], check_mode: bool, account: Account
) -> dict[str, t.Any]:
    """Bring an identity to what the options say, and return the module's result. C(account) is kept up to date.

    Raises KeyLostError, ProviderError, and ValueError for options that cannot be meant.
    """
    _carry_out(connect(check_options(params)), params, check_mode, account)
    return _result(account, params["key_id"])


def check_options(params: t.Mapping[str, t.Any]) -> str:
    """Return the workstation's name for the cloud. Raises ValueError where the options contradict each other."""
    workstation = check_workstation(params["workstation"])
    if params["max_age_days"] is not None and params["max_age_days"] < 1:
        raise ValueError(f"max_age_days is {params['max_age_days']}; it must be 1 or more")
    if params["delivered"] and not params["key_id"] and not params["principal"]:
        raise ValueError("delivered needs key_id, the key that the workstation holds now")
    if params["delivered"] and params["rotate"]:
        raise ValueError("delivered and rotate are two phases; the second comes after the workstation got the new key")
    if params["principal"] and params["key_id"]:
        raise ValueError("key_id goes with an identity that is made here; principal is one that has no key")
    return workstation


def _carry_out(provider: IdentityProvider, params: t.Mapping[str, t.Any], check_mode: bool, account: Account) -> None:
    act = _revoke if params["state"] == "absent" else _provide
    for rest in reversed(range(ROUNDS)):
        try:
            act(provider, params, check_mode, account)
        except ProviderError as exc:
            account.steps += [step for step in provider.done if step not in account.steps]
            if not rest or not isinstance(exc, ConflictError):
                raise
            time.sleep(random.uniform(0.2, 1.5))
        else:
            return


def _provide(provider: IdentityProvider, params: t.Mapping[str, t.Any], check_mode: bool, account: Account) -> None:
    seen = provider.observe()
    account.identity, account.keys, account.warnings = seen.id, seen.keys, seen.warnings
    account.plan = todo = _keys_to_do(provider, seen, params)
    if check_mode:
        account.steps += [*seen.lacks, *(_delete_step(key) for key in todo.delete), *(["create key"] * todo.mint)]
        return
    if seen.lacks:
        account.identity = provider.settle(seen)
        account.steps += seen.lacks
    _delete(provider, account, todo.delete)
    if todo.mint:
        account.minted = provider.mint(str(account.identity))
        account.keys = (*account.keys, account.minted.key)
        account.steps.append(f"create key {account.minted.key.id}")


def _keys_to_do(provider: IdentityProvider, seen: Observed, params: t.Mapping[str, t.Any]) -> Plan:
    if params["principal"]:
        return Plan()
    wish = Wish(
        stored=params["key_id"],
        previous=params["previous_key_id"],
        rotate=params["rotate"],
        max_age_days=params["max_age_days"],
        delivered=params["delivered"],
    )
    return plan(seen.keys, wish, datetime.now(timezone.utc), provider.most_keys)


def _revoke(provider: IdentityProvider, params: t.Mapping[str, t.Any], check_mode: bool, account: Account) -> None:
    seen = provider.observe()
    account.identity, account.keys, account.warnings = seen.id, seen.keys, seen.warnings
    keys = [] if params["principal"] else [key.id for key in seen.keys]
    account.plan = Plan(delete=tuple(keys))
    if check_mode:
        account.steps += [*(_delete_step(key) for key in keys), *seen.leftovers]
        return
    _delete(provider, account, keys)
    if seen.leftovers:
        provider.remove(seen)
        account.steps += seen.leftovers
    account.identity = None


def _delete(provider: IdentityProvider, account: Account, keys: t.Iterable[str]) -> None:
    for key_id in keys:
        provider.delete_key(str(account.identity), key_id)
        account.keys = tuple(key for key in account.keys if key.id != key_id)
        account.steps.append(_delete_step(key_id))


def _delete_step(key_id: str) -> str:
    return f"delete key {key_id}"


def _result(account: Account, stored: str | None) -> dict[str, t.Any]:
    """Build the module's return value. Only C(credentials) is secret."""
    current = account.minted.key.id if account.minted else stored
    own = next((key for key in account.keys if key.id == current), None)
    result: dict[str, t.Any] = {
        "changed": bool(account.steps),
        "steps": account.steps,
        "identity": account.identity,
        "minted": account.plan.mint,
        "reason": account.plan.reason,
        "key": None if own is None else _describe(own),
        "previous_key_id": account.plan.previous,
        "other_keys": [key.id for key in account.keys if key.id != current],
        "diff": {"before": "", "after": "".join(f"{step}\n" for step in account.steps)},
    }
    if account.minted is not None:
        result["credentials"] = dict(account.minted.fields)
    return result


def _describe(key: Key) -> dict[str, str | None]:
    return {
        "id": key.id,
        "created": _moment(key.created),
        "expires": None if key.expires is None else _moment(key.expires),
    }


def _moment(time_: datetime) -> str:
    return time_.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
