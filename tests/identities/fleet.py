# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks after the identities of many workstations in one process, as the role workstation_credentials does.

What the role's action does for one workstation is done here for many, in threads: an identity is brought to what it
should be, its record is written into the vars file of its workstation, and once that holds all new keys the old ones
are deleted. A run of Ansible would start some processes for each, which is too slow for hundreds of identities in a
test.

Run as ``python -m tests.identities.fleet``, with an `Order` as JSON on standard input.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.budgetguard.techops.plugins.action.vaulted_vars import Change, RunVault
from ansible_collections.budgetguard.techops.plugins.module_utils import _identities
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import attempt
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _aws_identity,
    _azure_identity,
    _gcp_identity,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _vault_file
from ansible_collections.budgetguard.techops.plugins.plugin_utils._identity_phases import CLOUDS, Identities, Wish

VARIABLE = "nim_identities"
PASSWORD = "a vault password for tests"

CONNECT: dict[str, t.Callable[[t.Mapping[str, t.Any], str], t.Any]] = {
    "aws": _aws_identity.connect,
    "azure": _azure_identity.connect,
    "gcp": _gcp_identity.connect,
}

Record = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Order:
    """What a process is to do."""

    folder: str
    workstations: list[str]
    #: Of each cloud's module.
    options: dict[str, dict[str, t.Any]]
    threads: int
    #: See `Reaper`; None lets the process live.
    die_after: int | None = None


def share_sessions() -> None:
    """Let each thread log in to a cloud once and keep its clients, which takes longer to make than all calls with them.

    A module of Ansible is a process of its own, and makes them each time.
    """
    for module, name in (
        (_aws_identity, "AwsSession"),
        (_azure_identity, "AzureSession"),
        (_gcp_identity, "GcpSession"),
    ):
        setattr(module, name, _once_per_thread(getattr(module, name)))


def _once_per_thread(make: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    made = threading.local()

    def session(options: t.Mapping[str, t.Any]) -> t.Any:
        if not hasattr(made, "session"):
            made.session = make(options)
        return made.session

    return session


class Store:
    """The vars files of the workstations, written as the action vaulted_vars writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._vault = RunVault(VaultLib([("default", VaultSecret(PASSWORD.encode()))]), None)

    def path(self, workstation: str) -> Path:
        """Return where the file of a workstation is."""
        return self._folder / "host_vars" / workstation / "budgetguard_identities.yml"

    def read(self, workstation: str) -> dict[str, Record]:
        """Return the records of a workstation by cloud, as they are in the file."""
        path = self.path(workstation)
        if not path.exists():
            return {}
        found: dict[str, Record] = _vault_file.read(path.read_text(encoding="utf-8"), str(path))[VARIABLE]
        return found

    def keep(self, workstation: str, cloud: str, record: Record) -> None:
        """Write one record."""
        clear, secret = _identities.parts(record)
        Change({VARIABLE: {cloud: clear}}, {VARIABLE: {cloud: secret}}).make(self.path(workstation), self._vault)

    def opened(self, value: t.Any) -> t.Any:
        """Return a record, or a value in one, decrypted as Ansible does it."""
        if isinstance(value, dict):
            return {name: self.opened(item) for name, item in value.items()}
        return self._vault.decrypt(value) if isinstance(value, _vault_file.Ciphertext) else value


class Reaper:
    """Kills the process once so many keys were made, at a moment at which one of each cloud is not stored yet."""

    def __init__(self, die_after: int | None) -> None:
        self._die_after = die_after
        self._lock = threading.Lock()
        self._made = 0
        self._held: set[str] = set()

    def key_was_made(self, cloud: str) -> None:
        """Count a key. Does not return for those that shall be lost."""
        if self._die_after is None:
            return
        with self._lock:
            self._made += 1
            if self._made < self._die_after or cloud in self._held:
                return
            self._held.add(cloud)
            if self._held == set(CLOUDS):
                os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()


class Fleet:
    """The workstations and what is known of their identities."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._store = Store(Path(order.folder))
        self._reaper = Reaper(order.die_after)

    def look_after_all(self) -> None:
        """Look after all workstations. Raises what went wrong with the first."""
        with ThreadPoolExecutor(self._order.threads) as pool:
            for _done in pool.map(self._look_after, range(len(self._order.workstations))):
                pass

    def _look_after(self, number: int) -> None:
        """Look after one workstation. Each begins with another cloud, so that all are busy from the start."""
        workstation, first = self._order.workstations[number], number % len(CLOUDS)
        hands = Hands(self._order, self._store, self._reaper, workstation)
        wish = Wish(workstation, (*CLOUDS[first:], *CLOUDS[:first]))
        identities = Identities(wish, hands, self._store.opened(self._store.read(workstation)), {})
        identities.provide({})
        identities.deliver([workstation], lambda _provider: [workstation])
        if identities.problems or identities.notes:
            raise AssertionError([*identities.problems, *identities.notes])


class Hands:
    """What reaches clouds and vars files for one workstation. Its keys are not tried: the test does that."""

    def __init__(self, order: Order, store: Store, reaper: Reaper, workstation: str) -> None:
        self._order = order
        self._store = store
        self._reaper = reaper
        self._workstation = workstation

    def bring(self, provider: str, options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Do what the module of a cloud does."""
        params = {**self._order.options[provider], **options}
        result = attempt(lambda name: CONNECT[provider](params, name), params, False)
        if result.get("minted"):
            self._reaper.key_was_made(provider)
        return result

    def try_out(self, provider: str, fields: t.Mapping[str, t.Any], seconds: float) -> str:
        """Take every key for one that works."""
        return ""

    def keep(self, provider: str, record: Record, shared: bool) -> bool:
        """Write a record."""
        self._store.keep(self._workstation, provider, record)
        return True

    def forget(self, provider: str) -> bool:
        """Nothing is restored here."""
        raise AssertionError(provider)

    def now(self) -> str:
        """Nothing is revoked here."""
        raise AssertionError(self._workstation)


if __name__ == "__main__":
    share_sessions()
    Fleet(Order(**json.load(sys.stdin))).look_after_all()
