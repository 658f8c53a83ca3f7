# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look after the identities of one workstation. Documentation: plugins/modules/workstation_identities.py.

A task for each step would be eighty processes per workstation, and each module one more that loads a cloud's libraries.
Here all of it is one process, which finds the libraries loaded: Ansible imports an action in its main process, before
it starts those of the task (the strategies linear and free of ansible-core ask for its class, from 2.17 to 2.21).
"""

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.action import stored_vars, vaulted_vars
from ansible_collections.budgetguard.techops.plugins.module_utils._identities import VARIABLES, Record, parts
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._stores import STORE, open_store, read_variables
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _identity_clouds, _identity_phases
from ansible_collections.budgetguard.techops.plugins.plugin_utils._identity_phases import Identities, NotKeptError, Wish
from ansible_collections.budgetguard.techops.plugins.plugin_utils._targets import PROVIDERS
from ansible_collections.budgetguard.techops.plugins.plugin_utils._vault_file import plain

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["present", "delivered", "absent"], "default": "present"},
    "workstation": {"type": "str"},
    "providers": {"type": "list", "elements": "str", "choices": ["aws", "azure", "gcp"], "default": []},
    "targets": {"type": "dict", "default": {}},
    "keyless": {"type": "dict", "default": {}},
    "options": {"type": "dict", "default": {}},
    "studio_wide": {"type": "bool", "default": False},
    "acts": {"type": "bool", "default": True},
    "identities": {"type": "dict", "no_log": True},
    "studio_identities": {"type": "dict", "no_log": True},
    "given": {"type": "dict", "default": {}, "no_log": True},
    "nvidia_answers": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "gateway": {"type": "bool", "default": False},
    "rotate": {"type": "bool", "default": False},
    "max_age_days": {"type": "int", "default": 0},
    "check_all": {"type": "bool", "default": False},
    "restore": {"type": "bool", "default": False},
    "arrived": {"type": "bool", "default": False},
    "holders": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "raw", "default": "file"},
    "inventory_dir": {"type": "path"},
    "vault_id": {"type": "str"},
}

FILE = "budgetguard_identities.yml"
WORKSTATIONS = "artist_workstations"
NVIDIA_FIELD = "NVIDIA API Key / NGC API Key"

Variables = t.Mapping[str, t.Any]


class ActionModule(ActionBase):
    """The action budgetguard.techops.workstation_identities."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Carry out one phase. What goes wrong in a cloud or in the store is among the problems of the result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        variables = task_vars or {}
        name = options["workstation"] or str(variables.get("inventory_hostname"))
        place = Place(self, name, options, variables)
        try:
            own, shared = place.open()
        except NotKeptError as error:
            return {**result, "changed": False, "ready": False, **_told(None, [str(error)])}
        wish = Wish(
            workstation=name,
            providers=tuple(options["providers"]),
            keyless={str(provider): str(value or "") for provider, value in options["keyless"].items()},
            wide=options["studio_wide"],
            acts=options["acts"],
            rotate=options["rotate"],
            max_age_days=options["max_age_days"],
            check_all=options["check_all"],
            restore=options["restore"],
            check_mode=bool(self._task.check_mode),
        )
        identities = Identities(wish, Controller(place, options, variables, wish.check_mode), own, shared)
        _carry_out(identities, wish, options, variables)
        return {**result, "changed": identities.changed, "ready": True, **_told(identities, identities.problems)}

    def other(self, kind: type[ActionBase], arguments: dict[str, t.Any], task_vars: Variables) -> dict[str, t.Any]:
        """Return the result of another action, in this process and with this task's check mode."""
        task = self._task.copy()
        task.args = arguments
        action = kind(task, self._connection, self._play_context, self._loader, self._templar, None)
        found: dict[str, t.Any] = action.run(task_vars=dict(task_vars))
        return found


def _carry_out(identities: Identities, wish: Wish, options: Variables, variables: Variables) -> None:
    given = {str(provider): fields for provider, fields in plain(options["given"]).items() if fields}
    if options["state"] == "absent":
        identities.revoke(given, options["gateway"])
    elif options["state"] == "present":
        identities.provide(given, _nvidia_problem(given, plain(options["nvidia_answers"])))
    elif wish.wide and wish.acts:
        names, hosts = variables["groups"].get(WORKSTATIONS, []), variables["hostvars"]
        identities.deliver(options["holders"], lambda provider: _identity_phases.sharers(names, hosts, provider))
    elif not wish.wide and options["arrived"]:
        identities.deliver([wish.workstation], lambda _provider: [wish.workstation])


def _told(identities: Identities | None, problems: list[str]) -> dict[str, t.Any]:
    """Return what the task that is told of it may use. Only the identities themselves are secret."""
    return {
        "done": identities.done if identities else [],
        "notes": identities.notes if identities else [],
        "problems": problems,
        "due": identities.due if identities else [],
        "identities": identities.own if identities else {},
        "studio_identities": identities.shared if identities else {},
    }


def _nvidia_problem(given: Variables, answers: list[dict[str, t.Any]]) -> str:
    """Return what NVIDIA said against the key that was given by hand."""
    fields = given.get(_identity_phases.NVIDIA)
    key = fields.get(NVIDIA_FIELD) if isinstance(fields, dict) else None
    if not key:
        return ""
    answer = next((answer for answer in answers if answer.get(answer.get("ansible_loop_var", "item")) == key), {})
    if "problems" in answer:
        return " ".join(answer["problems"])
    return str(answer.get("msg") or "no answer")


class Place:
    """Where the identities of a workstation, and those that all share, are stored."""

    def __init__(self, action: ActionModule, workstation: str, options: Variables, task_vars: Variables) -> None:
        self._action = action
        self._workstation = workstation
        self._options = options
        self._task_vars = task_vars

    def open(self) -> tuple[Record, Record]:
        """Check that records can be written, and return those that there are. Raises NotKeptError."""
        options = self._options
        own, shared = plain(options["identities"]), plain(options["studio_identities"])
        if self._in_files:
            if not options["inventory_dir"]:
                raise NotKeptError(
                    "inventory_dir is not set, so there is no place for host_vars. Set it, "
                    "workstation_credentials_inventory_dir of the role, or store to a secret store. Nothing was done."
                )
            if options["acts"] and options["state"] != "delivered":
                self._write(options["studio_wide"], state="ready")
            return own or {}, shared or {}
        return (
            self._read(False).get(_variable(False), {}) if own is None else own,
            self._read(True).get(_variable(True), {}) if shared is None else shared,
        )

    def keep(self, provider: str, record: Record, shared: bool) -> bool:
        """Write a record; return whether that changes anything. Raises NotKeptError."""
        variable = _variable(shared)
        if not self._in_files:
            return self._write(shared, variables={variable: {provider: record}})
        clear, secret = parts(record)
        return self._write(shared, variables={variable: {provider: clear}}, secrets={variable: {provider: secret}})

    def forget(self, provider: str) -> bool:
        """Remove a record of the workstation's own."""
        return self._write(False, absent=[f"{_variable(False)}.{provider}"])

    @property
    def _in_files(self) -> bool:
        return bool(self._options["store"] == "file")

    def _name(self, shared: bool) -> str:
        return "studio-identities" if shared else f"workstations/{self._workstation.lower()}"

    def _read(self, shared: bool) -> Record:
        checked = ArgumentSpecValidator({"store": STORE}).validate({"store": plain(self._options["store"])})
        if checked.error_messages:
            raise NotKeptError(f"nim_credential_store: {'; '.join(checked.error_messages)}.")
        try:
            return read_variables(open_store(checked.validated_parameters["store"]), self._name(shared))[0]
        except MissingLibraryError as error:
            raise NotKeptError(missing_required_lib(error.package)) from error
        except (ProviderError, ValueError) as error:
            raise NotKeptError(f"Nothing was stored: {error}.") from error

    def _write(self, shared: bool, **what: t.Any) -> bool:
        if self._in_files:
            folder = "group_vars/all" if shared else f"host_vars/{self._workstation}"
            where = {
                "path": f"{self._options['inventory_dir']}/{folder}/{FILE}",
                "vault_id": self._options["vault_id"] or None,
            }
            result = self._action.other(vaulted_vars.ActionModule, {**where, **what}, self._task_vars)
        else:
            where = {"store": self._options["store"], "name": self._name(shared)}
            result = self._action.other(stored_vars.ActionModule, {**where, **what}, self._task_vars)
        if result.get("failed"):
            raise NotKeptError(str(result["msg"]))
        return bool(result["changed"])


class Controller:
    """The hands of the phases: clouds and stores as the controller reaches them."""

    def __init__(self, place: Place, options: Variables, task_vars: Variables, check_mode: bool) -> None:
        self.keep = place.keep
        self.forget = place.forget
        self._options = options
        self._task_vars = task_vars
        self._check_mode = check_mode

    def bring(self, provider: str, options: Variables) -> dict[str, t.Any]:
        """Do what the module of a cloud does."""
        try:
            connection = self._connection(provider)
        except (AnsibleError, ValueError) as error:
            return {"msg": str(error)}
        return _identity_clouds.bring(provider, {**connection, **options}, self._check_mode)

    def try_out(self, provider: str, fields: Variables, seconds: float) -> str:
        """Log in with a key."""
        try:
            region = self._connection(provider).get("region") if provider in self._options["providers"] else None
        except (AnsibleError, ValueError):
            region = None
        return _identity_clouds.refusal(provider, fields, region, seconds)

    def now(self) -> str:
        """Return the time, in UTC."""
        return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _connection(self, provider: str) -> dict[str, t.Any]:
        """Return how the target is reached in which a cloud's identities are made. Raises ValueError without one."""
        hosts = self._task_vars["hostvars"]
        target = self._options["targets"].get(provider) or next(iter(self._task_vars["groups"].get(provider, ())), "")
        connection = hosts[target].get("nim_target") if target in hosts else None
        if not connection:
            raise ValueError(
                f"there is no target with nim_target in the group {provider}, and nim_workstation_targets names none."
            )
        spec, _class = PROVIDERS[provider]
        return {
            **{name: value for name, value in plain(connection).items() if name in spec},
            **(plain(self._options["options"].get(provider)) or {}),
        }


def _variable(shared: bool) -> str:
    return VARIABLES[0 if shared else 1]
