# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What becomes of the keys of one workstation's identity. Pure: no cloud, no clock.

A rotation has two phases. The first makes a new key and leaves the old one alone, since the workstation still works
with it. The second, once the workstation holds the new one, deletes every other key. Between the phases the new key is
stored with the id of the old one beside it, so that a run which is killed anywhere is finished by the next:

- killed after the cloud made a key and before it was stored: nobody has its secret; the next run makes another one, and
  the second phase deletes the lost one
- killed before the workstation got it: the stored key is due for delivery, and no third one is made
- killed before the old key was deleted: the next delivery deletes it
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta

RENEW_BEFORE_DAYS = 14
"""A key that ends by itself is replaced so many days earlier."""

_WORKSTATION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")


class KeyLostError(Exception):
    """The key that the workstation is said to hold cannot be used."""


@dataclass(frozen=True)
class Key:
    """A key as the cloud describes it. Times are aware of their zone; C(expires) is None for a key without end."""

    id: str
    created: datetime
    active: bool = True
    expires: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Return whether the cloud accepts it."""
        return self.active and (self.expires is None or self.expires > now)


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    C(stored) is the id of the key whose secret is stored, C(previous) the one that it takes over from, both None if
    there is none. C(delivered) says that the workstation holds the stored one.
    """

    stored: str | None = None
    previous: str | None = None
    rotate: bool = False
    max_age_days: int | None = None
    delivered: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do: first C(delete), then C(mint). C(reason) tells a person why a key is made.

    C(previous) is the id of the key that the workstation may still hold after that, to be stored beside the new one.
    """

    mint: bool = False
    reason: str | None = None
    delete: tuple[str, ...] = ()
    previous: str | None = None


def plan(keys: t.Sequence[Key], wish: Wish, now: datetime, most: int) -> Plan:
    """Return what to do with the keys of an identity that may have C(most) of them.

    A key that nobody asked about may be one that a workstation works with, because the store was lost. So outside of
    the second phase one is deleted only where it stands in the way of the new one.

    Raises KeyLostError if others should go while the stored one does not work: the workstation would have none.
    """
    stored = next((key for key in keys if key.id == wish.stored), None)
    good = stored is not None and stored.is_good(now)
    there = {key.id for key in keys}
    if wish.delivered:
        if not good:
            named = wish.stored or "(none)"
            raise KeyLostError(f"the stored key {named} does not work; run again without delivered to get another one")
        return Plan(delete=tuple(key.id for key in _by_worth(keys, wish, now) if key.id != wish.stored))
    reason = _why_not_good(stored, wish) if not good else _why_too_old(stored, wish, there, now)
    previous = wish.previous if wish.previous in there else None
    if reason is None:
        return Plan(previous=previous)
    surplus = max(0, len(keys) - (most - 1))
    delete = tuple(key.id for key in _by_worth(keys, wish, now)[:surplus])
    held = previous or (wish.stored if wish.stored in there else None)
    return Plan(True, reason, delete, None if held in delete else held)


def _by_worth(keys: t.Sequence[Key], wish: Wish, now: datetime) -> list[Key]:
    """Return the keys, first those that will hardly be missed."""
    known = (wish.previous, wish.stored)
    return sorted(keys, key=lambda key: (key.is_good(now), key.id in known, key.id == wish.stored, key.created))


def _why_not_good(stored: Key | None, wish: Wish) -> str:
    if wish.stored is None:
        return "there is none yet"
    if stored is None:
        return f"the stored key {wish.stored} is not there any more"
    return f"the stored key {wish.stored} is switched off or has ended"


def _why_too_old(stored: Key | None, wish: Wish, there: t.Container[str], now: datetime) -> str | None:
    if stored is None or wish.previous in there:
        return None  # The last rotation has not reached the workstation yet.
    age = (now - stored.created).days
    if wish.rotate:
        return "a rotation was asked for"
    if stored.expires is not None and stored.expires - now < timedelta(days=RENEW_BEFORE_DAYS):
        return f"the stored key ends on {stored.expires:%Y-%m-%d}"
    if wish.max_age_days is not None and age >= wish.max_age_days:
        return f"the stored key is {age} days old"
    return None


def check_workstation(workstation: str) -> str:
    """Return the name of a workstation in the form in which it is a part of names in every cloud.

    Raises ValueError for one that cannot be: the names of identities allow less than those of hosts.
    """
    name = workstation.lower()
    if not _WORKSTATION.fullmatch(name):
        raise ValueError(
            f"workstation is {workstation!r}; it must be 1 to 48 letters, digits and hyphens, "
            "and begin and end with a letter or digit. Call the host so in the inventory, and give its address "
            "in ansible_host"
        )
    return name
