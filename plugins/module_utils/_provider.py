# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What a provider must answer. It translates between the cloud and our data classes and decides nothing."""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Selection, Status, Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step

UNREADABLE = "the answer is not what this service sends; does a proxy or its login page stand in between?"
"""What is said of an answer that tells neither that a call went well nor that it failed."""


class ProviderError(Exception):
    """A call to the cloud failed. The message says what was being done and what the cloud answered."""


class ConflictError(ProviderError):
    """Somebody else changed the same object meanwhile: look again and plan again."""


class LookAgainError(ConflictError):
    """The step was carried out, and now more of the target can be seen: look again and plan again."""


class AsleepError(ProviderError):
    """The whole target was switched off, so what is on it cannot be asked; nothing on it runs."""


class UnreachableError(ProviderError):
    """A part of the target does not answer: it is switched off, or there is no way to it from here."""


class MissingLibraryError(Exception):
    """A Python library is not installed on the controller. ``package`` names what to install."""

    def __init__(self, package: str, import_error: str | None) -> None:
        super().__init__(package)
        self.package = package
        self.import_error = import_error


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything of ours that a target holds, read at one moment, and what the person should know about it."""

    resources: t.Mapping[Key, Resource]
    statuses: t.Mapping[str, Status]
    warnings: tuple[str, ...] = ()


class Provider(abc.ABC):
    """One target: an account and region, a cluster, an organisation or a Docker engine."""

    kinds: tuple[Kind, ...] = ()

    @abc.abstractmethod
    def settle(self) -> None:
        """Wait until what an earlier run started has ended. Called before the first look, but not in check mode."""

    @abc.abstractmethod
    def observe(self, names: t.Sequence[str]) -> Snapshot:
        """Read all that is managed on the target, and whatever exists under the given deployment names."""

    @abc.abstractmethod
    def resources(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[Resource]:
        """Translate NIMs into the cloud's objects, the shared ones included. Pure: makes no calls."""

    def foreseen(self, item: Wanted) -> t.Mapping[str, t.Any]:
        """Return what the NIM's status will say that only this target decides, its image for one. Pure."""
        return {"image": item.image}

    @abc.abstractmethod
    def stop_resource(self, status: Status) -> Resource:
        """Return the one object, with the one field, that switches this NIM off. Pure."""

    def gateway_resources(self, seen: Snapshot) -> list[Resource]:
        """Return what belongs to the gateway that is there. A target without one has nothing."""
        return []

    def idle_resources(self, seen: Snapshot) -> list[Resource]:
        """Return what should change on a target on which a stop leaves no NIM running. Pure."""
        return []

    @abc.abstractmethod
    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: Snapshot) -> None:
        """Raise :class:`ProviderError` for anything that would make the steps fail, before the first one."""

    @abc.abstractmethod
    def apply(self, step: Step) -> None:
        """Carry out one step."""

    @abc.abstractmethod
    def rehearse(self, step: Step) -> None:
        """Let the target check one step without carrying it out, where it can do that. Used in check mode."""

    def apply_batch(self, steps: t.Sequence[Step]) -> None:
        """Carry out the steps of all NIMs on one shared list, for a provider with kinds of that sort."""
        raise NotImplementedError

    def verify_batch(self, steps: t.Sequence[Step]) -> None:
        """Raise :class:`ConflictError` if another run has overwritten what :meth:`apply_batch` did."""
        raise NotImplementedError

    @abc.abstractmethod
    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Read the state of the named deployments, or of all managed ones.

        ``explain`` asks for the reason in one sentence for each that should run and does not; it costs more calls.
        """

    def control(self) -> dict[str, str | None] | None:
        """Return where a workstation's own identity starts and stops the NIMs, as of the last :meth:`statuses`.

        It is published to artists, so there is nothing secret in it. None where such an identity can do nothing.
        """
        return None

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        """Read how far the named deployments are, with few calls, to be called again and again while they start.

        It may leave out endpoints, and a reason where :meth:`statuses` gives one; ``starting`` without a reason then
        means that nothing new is known. What is ``running`` or ``failed`` here is so in :meth:`statuses`, too.
        """
        return self.statuses(names)


def expand(selections: t.Sequence[Selection], statuses: t.Mapping[str, Status], state: str) -> list[Status]:
    """Return the deployments that exist on the target and that selections of this state mean."""
    chosen = [item for item in selections if item.state == state]
    return [status for _name, status in sorted(statuses.items()) if any(item.matches(status) for item in chosen)]
