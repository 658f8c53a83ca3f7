# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clouds and a store in memory, for the phases of workstations' identities."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import typing as t
from datetime import datetime, timezone

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities, _identity
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation_key import Key
from ansible_collections.budgetguard.techops.plugins.plugin_utils._identity_phases import (
    CLOUDS,
    Identities,
    NotKeptError,
    Wish,
)

CREATED = datetime(2026, 11, 28, tzinfo=timezone.utc)
MOMENT = "2026-11-29T02:00:00Z"
DEFAULTS = {name: option.get("default") for name, option in _identity.IDENTITY.items()}


class Killed(BaseException):
    """The run ends here, whatever it was about to do."""


@dataclasses.dataclass
class Accounts:
    """The identities and keys of one cloud. C(refuses) is what its API says to everything."""

    identities: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    rights: set[str] = dataclasses.field(default_factory=set)
    refuses: str = ""
    dead: set[str] = dataclasses.field(default_factory=set)
    warning: str = ""


class MemoryProvider(_identity.IdentityProvider):
    """One workstation in one cloud."""

    most_keys = 3

    def __init__(self, accounts: Accounts, name: str, principal: str | None, ids: t.Iterator[str]) -> None:
        self._accounts = accounts
        self._name = name
        self._principal = principal
        self._ids = ids

    def observe(self) -> _identity.Observed:
        """Look."""
        if self._accounts.refuses:
            raise ProviderError(self._accounts.refuses)
        accounts, principal = self._accounts, self._principal
        there = principal in accounts.rights if principal else self._name in accounts.identities
        keys = () if self._principal else sorted(self._accounts.identities.get(self._name, ()))
        return _identity.Observed(
            id=(self._principal or f"id of {self._name}") if there else None,
            keys=tuple(Key(key, CREATED) for key in keys),
            lacks=() if there else ("create it",),
            leftovers=("remove it",) if there else (),
            warnings=(self._accounts.warning,) if self._accounts.warning else (),
        )

    def settle(self, seen: _identity.Observed) -> str:
        """Make it."""
        if self._principal:
            self._accounts.rights.add(self._principal)
            return self._principal
        self._accounts.identities.setdefault(self._name, set())
        return f"id of {self._name}"

    def mint(self, identity: str) -> _identity.Minted:
        """Make a key."""
        key = next(self._ids)
        self._accounts.identities[self._name].add(key)
        return _identity.Minted(Key(key, CREATED), {"Access Key ID": key, "Secret Access Key": f"secret of {key}"})

    def delete_key(self, identity: str, key_id: str) -> None:
        """Delete a key."""
        self._accounts.identities[self._name].discard(key_id)

    def remove(self, seen: _identity.Observed) -> None:
        """Remove it."""
        if self._principal:
            self._accounts.rights.discard(self._principal)
        else:
            del self._accounts.identities[self._name]


class World:
    """Three clouds and a store. Every call is noted in C(calls); the run is killed before the call C(kill_at)."""

    def __init__(self) -> None:
        self.clouds = {provider: Accounts() for provider in CLOUDS}
        self.own: dict[str, t.Any] = {}
        self.shared: dict[str, t.Any] = {}
        self.store_refuses = ""
        self.calls: list[str] = []
        self.kill_at: int | None = None
        self.ids = (f"KEY{number}" for number in itertools.count(1))

    def identities(self, **wish: t.Any) -> Identities:
        """Return what is to be done for one workstation in all clouds."""
        asked = Wish(**{"workstation": "ws-01", "providers": CLOUDS, **wish})
        return Identities(asked, MemoryHands(self, asked.check_mode), self.own, self.shared)

    def provide(self, **wish: t.Any) -> Identities:
        """Carry out the first phase."""
        found = self.identities(**wish)
        found.provide({})
        return found

    def deliver(self, **wish: t.Any) -> Identities:
        """Carry out the second phase of a workstation that has its config."""
        found = self.identities(**wish)
        found.deliver(["ws-01"], lambda _provider: ["ws-01"])
        return found

    def keys(self, name: str = "ws-01") -> dict[str, list[str]]:
        """Return the keys that there are, by cloud."""
        return {provider: sorted(cloud.identities.get(name, ())) for provider, cloud in self.clouds.items()}

    def stored(self) -> dict[str, list[str]]:
        """Return the keys that are stored, by cloud."""
        return {provider: [record["key_id"]] for provider, record in self.own.items()}

    def state(self) -> t.Any:
        """Return a copy of all that there is."""
        return copy.deepcopy((self.clouds, self.own, self.shared))

    def count(self, call: str) -> None:
        """Note a call, or kill the run before it."""
        if self.kill_at is not None and len(self.calls) >= self.kill_at:
            raise Killed
        self.calls.append(call)


class MemoryHands:
    """What reaches the world."""

    def __init__(self, world: World, check_mode: bool) -> None:
        self._world = world
        self._check_mode = check_mode

    def bring(self, provider: str, options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Do what the module of the cloud does, with this cloud."""
        self._world.count(f"bring {provider}")
        params = {**DEFAULTS, **options}
        cloud = self._world.clouds[provider]

        def connect(name: str) -> MemoryProvider:
            return MemoryProvider(cloud, name, params["principal"], self._world.ids)

        result = _identity.attempt(connect, params, self._check_mode)
        self._world.count(f"answer of {provider}")
        return result

    def try_out(self, provider: str, fields: t.Mapping[str, t.Any], seconds: float) -> str:
        """Log in."""
        self._world.count(f"try {provider} {seconds:g}")
        key = fields["Access Key ID"]
        cloud = self._world.clouds[provider]
        there = any(key in keys for keys in cloud.identities.values()) and key not in cloud.dead
        return "" if there else f"refuses {key}"

    def keep(self, provider: str, record: dict[str, t.Any], shared: bool) -> bool:
        """Write a record."""
        self._world.count(f"keep {provider}")
        if self._world.store_refuses:
            raise NotKeptError(self._world.store_refuses)
        _identities.parts(record)
        place = self._world.shared if shared else self._world.own
        changed = place.get(provider) != record
        if not self._check_mode:
            place[provider] = record
        return changed

    def forget(self, provider: str) -> bool:
        """Remove a record."""
        self._world.count(f"forget {provider}")
        if not self._check_mode:
            del self._world.own[provider]
        return True

    def now(self) -> str:
        """Return a moment."""
        return MOMENT
