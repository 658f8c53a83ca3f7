# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What becomes of one workstation's identities in a run. Knows no cloud, no store and no clock: those are its C(Hands).

Each record is written before the next cloud is asked, so a run that is killed loses one key at most, the one that it
has just made. A key is tried before it is kept. Whatever goes wrong in one cloud is told, and the next one has its
turn; only a store that does not take a record ends the making of keys, for the next one would be lost as well.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _identities
from ansible_collections.budgetguard.techops.plugins.module_utils._identities import Record, Records

CLOUDS = tuple(_identities.FIELDS)

NVIDIA, GATEWAY = "nvidia", "gateway"
"""Providers of which no identity is made here. A revoked workstation gets nothing of them, either."""

STUDIO = "studio"
"""Whose identity it is, in the clouds' names, where all workstations share one."""

NEW_KEY_SECONDS = 90.0
"""How long a cloud may take until it knows a new key everywhere."""
OLD_KEY_SECONDS = 5.0

_KEY_FILE = "Service Account JSON File Path"
"""A field that names a file on the workstation, which cannot be tried from the controller."""

_REPAIR = "repair or remove it where it is stored."

Result = t.Mapping[str, t.Any]


class NotKeptError(Exception):
    """A record could not be written. The text says why, and holds no secret."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for. C(acts) is false where the identities that all share are looked after by another one."""

    workstation: str
    providers: tuple[str, ...] = ()
    keyless: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    wide: bool = False
    acts: bool = True
    rotate: bool = False
    max_age_days: int = 0
    check_all: bool = False
    restore: bool = False
    check_mode: bool = False


class Hands(t.Protocol):
    """What reaches the clouds and the store."""

    def bring(self, provider: str, options: t.Mapping[str, t.Any]) -> Result:
        """Return the result of a module C(workstation_credential_<cloud>). It has a C(msg) where it has failed."""

    def try_out(self, provider: str, fields: Records, seconds: float) -> str:
        """Return why a cloud refuses a key; empty if it takes it."""

    def keep(self, provider: str, record: Record, shared: bool) -> bool:
        """Write a record; return whether that changes anything. Raises NotKeptError."""

    def forget(self, provider: str) -> bool:
        """Remove the record that is the workstation's own. Return and raise as above."""

    def now(self) -> str:
        """Return the time, in UTC."""


class Identities:
    """The identities of one workstation, and of all where they share one. Each phase is one method.

    C(done) says what was done, C(notes) what else is to be known, C(problems) what went wrong; none holds a secret.
    """

    def __init__(self, wish: Wish, hands: Hands, own: Records, shared: Records) -> None:
        self.own: Record = dict(own)
        self.shared: Record = dict(shared)
        self.done: list[str] = []
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.changed = False
        self._wish = wish
        self._hands = hands

    @property
    def _known(self) -> Record:
        return self.shared if self._wish.wide else self.own

    @property
    def due(self) -> list[str]:
        """Return the providers of which this workstation has to see to the second phase."""
        return _identities.to_deliver(self._known) if self._wish.acts else []

    # The first phase: a key where one is needed, tried and kept.

    def provide(self, given: Records, nvidia_problem: str = "") -> None:
        """Try what was given by hand, make what is missing, and try and keep new keys."""
        if nvidia_problem and not _identities.is_revoked(self.own.get(NVIDIA)):
            self.problems.append(f"{NVIDIA}: {nvidia_problem}")
        self._try_given(given)
        try:
            for provider in self._wish.providers if self._wish.acts else ():
                self._look_after(provider)
            if self._wish.restore:
                self._restore()
        except NotKeptError as error:
            self.problems.append(str(error))

    def _try_given(self, given: Records) -> None:
        made_here = {*self._wish.providers, *self.own, *self.shared}
        for provider in CLOUDS:
            fields = given.get(provider)
            if not fields or provider in made_here or _KEY_FILE in fields:
                continue
            if not isinstance(fields, t.Mapping):
                self.problems.append(
                    f"{provider}: nim_workstation_credentials must name its fields, as in docs/workstations.md."
                )
            else:
                refused = self._hands.try_out(provider, fields, 0.0)
                if refused:
                    self.problems.append(f"{provider}: {refused}")

    def _look_after(self, provider: str) -> None:
        record = self._known.get(provider) or {}
        if _identities.is_revoked(record) and not self._wish.restore:
            self.notes.append(
                f"{self._name} was revoked on {provider} on {record['revoked']}. "
                "With -e restore=true it gets a new identity."
            )
            return
        try:
            self._mint(provider, record)
        except _identities.IdentitiesError as error:
            self.problems.append(f"{provider}: {error}; {_REPAIR}")

    def _mint(self, provider: str, before: Record) -> None:
        principal = self._wish.keyless.get(provider) or None
        record = _identities.check_record(before)
        result = self._bring(
            provider,
            self._stored_keys(record, principal),
            state="present",
            rotate=self._wish.rotate and principal is None,
            max_age_days=self._wish.max_age_days or None,
        )
        self._note(provider, result)
        if "identity" not in result:
            self.problems.append(f"{provider}: {_reason(result)}")
            return
        kept = _identities.new_record(provider, result, before, principal)
        works = self._try_new(provider, kept, result) if principal is None else ""
        told = _steps(provider, result)
        try:
            if works is not None and kept != record:
                self._keep(provider, kept)
        except NotKeptError as error:
            self.done += told
            minted = "the new key is lost, and the next run makes another one and deletes it"
            raise NotKeptError(f"{provider}: {minted if result['minted'] else 'not kept'}. {error}") from error
        told += [works] if works else []
        self.done += [" ".join(told)] if told else []

    def _try_new(self, provider: str, kept: Record, result: Result) -> str | None:
        """Return what to tell of a key that was tried, nothing if none had to be, None if it was refused."""
        minted = bool(result["minted"])
        if self._wish.check_mode or not (minted or self._wish.check_all):
            return ""
        refused = self._hands.try_out(provider, kept["fields"], NEW_KEY_SECONDS if minted else OLD_KEY_SECONDS)
        if not refused:
            return "The new key works and is kept." if minted else f"{provider}: the key works."
        after = " It is not kept; the next run makes another one." if minted else ""
        self.problems.append(f"{provider}: {refused.rstrip('.')}.{after}")
        return None

    def _restore(self) -> None:
        """Lift what was revoked and is not made anew here."""
        for provider, record in list(self.own.items()):
            lifted = self._wish.wide or provider in (NVIDIA, GATEWAY)
            if lifted and _identities.is_revoked(record):
                try:
                    self.changed |= self._hands.forget(provider)
                except NotKeptError as error:
                    raise NotKeptError(f"{provider}: it is still revoked. {error}") from error
                del self.own[provider]
                self.done.append(f"{provider}: it is not revoked any more.")

    # The second phase: the workstation has its key, so the one before can go.

    def deliver(self, holders: t.Sequence[str], expected: t.Callable[[str], t.Sequence[str]]) -> None:
        """Note who holds the keys, and delete those that nobody needs any more.

        C(expected) tells for a provider which workstations need its key before the one before can go.
        """
        for provider in _identities.to_deliver(self._known):
            try:
                self._deliver(provider, holders, expected(provider))
            except NotKeptError as error:
                self.problems.append(f"{provider}: who has the new key could not be noted; run again. {error}")
            except _identities.IdentitiesError as error:
                self.problems.append(f"{provider}: {error}; {_REPAIR}")

    def _deliver(self, provider: str, holders: t.Sequence[str], expected: t.Sequence[str]) -> None:
        record = _identities.check_record(self._known[provider])
        kept = _identities.delivered_record(record, holders, expected)
        if kept["delivered"] and not self._take_away(provider, record):
            return
        self._keep(provider, kept)
        if not kept["delivered"]:
            waiting = sorted({*expected} - {*kept["holders"]})
            self.done.append(f"{provider}: the old key stays until {', '.join(waiting)} has the new one.")

    def _take_away(self, provider: str, record: Record) -> bool:
        """Delete what the workstation had before. Return whether all of it is gone."""
        if record.get("created") is not None:
            principal = record.get("principal")
            result = self._bring(provider, self._stored_keys(record, principal), state="present", delivered=True)
            if "identity" not in result:
                self.problems.append(f"{provider}: the new key works, the old one is still there: {_reason(result)}")
                return False
            self.done += _steps(provider, result)
        elif record.get("previous_key_id") is not None:
            # Check mode: the key that it takes over from is there, and the new one is not.
            self.changed = True
            self.done.append(f"{provider}: delete key {record['previous_key_id']}")
        gone = [self._leave(provider, name) for name in record.get("leaves") or ()]
        return all(gone)

    # The workstation is lost, or gone.

    def revoke(self, given: Records, has_tokens: bool) -> None:
        """Delete keys and identities, and note that they must not come back by themselves."""
        wanted = {*self._wish.providers, *self._known}
        for provider in [name for name in CLOUDS if name in wanted] if self._wish.acts else ():
            self._revoke(provider)
        if self._wish.wide:
            return
        for provider, has_it in ((NVIDIA, NVIDIA in given), (GATEWAY, has_tokens)):
            if has_it and not _identities.is_revoked(self.own.get(provider)):
                self._note_revoked(provider)

    def _revoke(self, provider: str) -> None:
        record = self._known.get(provider) or {}
        try:
            record = _identities.check_record(record)
        except _identities.IdentitiesError as error:
            # What it left behind is not known. The identity that was made for it has the workstation's name.
            self.problems.append(f"{provider}: {error}; {_REPAIR}")
            record = {}
        names = [record.get("principal") or _identities.MADE_HERE, *(record.get("leaves") or ())]
        gone = [self._leave(provider, name) for name in dict.fromkeys(names)]
        if all(gone) and not _identities.is_revoked(record):
            self._note_revoked(provider)

    def _note_revoked(self, provider: str) -> None:
        try:
            self._keep(provider, {"revoked": self._hands.now()})
        except NotKeptError as error:
            self.problems.append(
                f"{provider}: it is off, but that could not be noted, and a run of credentials would undo it. {error}"
            )

    def _leave(self, provider: str, name: str) -> bool:
        """Remove one identity. Return whether it is gone."""
        principal = None if name == _identities.MADE_HERE else name
        result = self._bring(provider, {"principal": principal}, state="absent")
        self._note(provider, result)
        if "minted" not in result:
            self.problems.append(f"{provider}: {_reason(result)}")
            return False
        self.done += _steps(provider, result)
        return True

    # What the phases have in common.

    @property
    def _name(self) -> str:
        return STUDIO if self._wish.wide else self._wish.workstation

    def _stored_keys(self, record: Record, principal: str | None) -> dict[str, t.Any]:
        if principal:
            return {"principal": principal}
        return {name: record.get(name) or None for name in ("key_id", "previous_key_id")}

    def _bring(self, provider: str, options: t.Mapping[str, t.Any], **phase: t.Any) -> Result:
        asked = {**options, **phase, "workstation": self._name}
        result = self._hands.bring(provider, {name: value for name, value in asked.items() if value is not None})
        self.changed |= bool(result.get("changed"))
        return result

    def _keep(self, provider: str, record: Record) -> None:
        self.changed |= self._hands.keep(provider, record, self._wish.wide)
        self._known[provider] = record

    def _note(self, provider: str, result: Result) -> None:
        """Tell what a cloud keeps from being complete."""
        warnings = result.get("warnings")
        if warnings:
            self.notes.append(f"{provider}: {' '.join(warnings)}")


def _steps(provider: str, result: Result) -> list[str]:
    """Return what was done in a cloud, as one text; nothing if nothing was."""
    if not result.get("steps"):
        return []
    why = f" ({result['reason']})" if result.get("reason") else ""
    return [f"{provider}: {', '.join(result['steps'])}{why}."]


def _reason(result: Result) -> str:
    return str(result.get("msg") or "no answer")


def sharers(names: t.Iterable[str], hostvars: t.Mapping[str, Records], provider: str) -> list[str]:
    """Return those of the workstations that use an identity that all share.

    Who has one of its own does not, and neither does one from which it was taken away.
    """
    return [name for name in names if provider not in _identities.own_records(hostvars[name])]
