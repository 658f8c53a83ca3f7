# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check what is wanted of all workstations, and plan who comes first.

Documentation: plugins/modules/workstation_rollout_plan.py.

A role checks its arguments with one more task for each host, which starts a process for each and costs as much as
reaching it does. This reads the variables of all of them in one process, as the role's tasks see them.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.budgetguard.techops.plugins.module_utils._envelope import (
    EnvelopeError,
    missing_library,
    studio_key_weakness,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import (
    STUDIO_WIDE_MODE,
    ConfigError,
    check_credentials,
    check_endpoints,
)
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _awx, _role_arguments, _rollout
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import WorkstationError, check_path
from ansible_collections.budgetguard.techops.plugins.plugin_utils._windows import windows_path
from ansible_collections.budgetguard.techops.plugins.plugin_utils._workstation_options import plain, version_for

PREFIX = "workstation_config_"
# The switch for what another role installs.
COMPANION = "workstation_companion"
SPEC = Path("meta", "argument_specs.yml")
CANARY_IN_A_SLICE = (
    "rollout_canary cannot be kept here: this job is one slice of a sliced job, and the other slices would not wait. "
    "Try the canaries in a job of their own first (awx_canaries of the role awx), and give the sliced one an empty "
    "rollout_canary."
)

# With one problem so many workstations are named; an inventory may have thousands.
NAMED = 5

Values = dict[str, t.Any]


class ActionModule(ActionBase):
    """The action budgetguard.techops.workstation_rollout_plan."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Check and plan; name everything that is wrong in one message."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, options = self.validate_argument_spec(
            {
                "hosts": {"type": "list", "elements": "str", "required": True},
                "later": {"type": "list", "elements": "str", "default": []},
                "role_path": {"type": "path", "required": True},
                "canary": {"type": "raw"},
                "batch": {"type": "raw"},
                "max_failed_percent": {"type": "raw"},
            }
        )
        library = missing_library()
        problems = [library] if library else []
        found: dict[str, Values] = {}
        wrong: dict[str, list[str]] = {}
        checks = Checks(self._spec(Path(options["role_path"]), options["later"]))
        for name in options["hosts"]:
            found[name], told = self._read(name, checks, task_vars)
            for problem in told:
                wrong.setdefault(problem, []).append(name)
        problems += [f"{_several(names)}: {problem}" for problem, names in wrong.items()]
        plan = self._plan(options, task_vars, problems)
        if plan is None or problems:
            result.update(failed=True, msg="\n".join(["Nothing was changed on any workstation.", *problems]))
            return result
        result.update(
            changed=False,
            play_hosts=plan.hosts,
            serial=list(plan.serial),
            canaries=list(plan.canaries),
            own_nims=[name for name, values in found.items() if values.get(f"{PREFIX}own_nims")],
            companions=[name for name, values in found.items() if values[COMPANION]],
            load_credential=[name for name, values in found.items() if values.get(f"{PREFIX}load_credential_unit")],
            options=_role_arguments.planned(
                {name: checks.small(values) for name, values in found.items()},
                _role_arguments.one_for_all(list(found.values()), options["later"]),
            ),
        )
        return result

    def _plan(self, options: Values, task_vars: Values, problems: list[str]) -> _rollout.Plan | None:
        """Return who comes first, or add what is wrong with what was asked for."""
        if options["canary"] not in (None, "") and _awx.is_slice(task_vars):
            problems.append(CANARY_IN_A_SLICE)
            return None
        try:
            return _rollout.plan(
                options["hosts"],
                options["canary"],
                options["batch"],
                options["max_failed_percent"],
                lambda pattern: self._match(pattern, task_vars),
            )
        except _rollout.RolloutError as error:
            problems.append(str(error))
        return None

    def _spec(self, role_path: Path, later: t.Sequence[str]) -> Values:
        """Return the role's own description of its arguments, without what is not known yet."""
        specs = self._loader.load_from_file(str(role_path / SPEC))["argument_specs"]["main"]["options"]
        return {name: plain(about) for name, about in specs.items() if name not in later}

    def _read(self, name: str, checks: Checks, task_vars: Values) -> tuple[Values, list[str]]:
        """Return a host's arguments, and what is wrong with them."""
        variables = self._variables(name, task_vars)
        templar = self._templar.copy_with_new_env(available_variables=variables)
        windows = boolean(templar.template(variables[f"{PREFIX}_is_windows"]))
        variables[f"{PREFIX}_is_windows"] = windows  # Several arguments ask for it.
        values: Values = {}
        problems = []
        for argument in checks.names:
            if argument not in variables:
                continue
            try:
                values[argument] = templar.template(variables[argument])
            except AnsibleUndefinedVariable as error:
                problems.append(f"{argument} uses a variable that is not set: {_first_line(error)}")
                checks.skip(values, argument)
            except AnsibleError as error:
                problems.append(f"{argument} cannot be evaluated: {_first_line(error)}")
                checks.skip(values, argument)
        problems += checks.problems(values, windows)
        if values.get(f"{PREFIX}stored_credentials") is True:
            problems += _stored_problems(task_vars["hostvars"][name])
        values[COMPANION] = boolean(templar.template(variables.get(COMPANION, False)), strict=False)
        return values, problems

    def _variables(self, name: str, task_vars: Values) -> Values:
        """Return the variables that this very task would have on another host: its role's defaults, too.

        C(hostvars) has what the inventory says alone, so this goes on to what C(hostvars) itself asks.
        """
        inventory = task_vars["hostvars"]._inventory
        manager = task_vars["hostvars"]._variable_manager
        found: Values = manager.get_vars(play=self._task.get_play(), host=inventory.get_host(name), task=self._task)
        return found

    def _match(self, pattern: str, task_vars: Values) -> list[str]:
        """Return the workstations that a pattern of Ansible fits."""
        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        known = set(task_vars["groups"].get(_rollout.GROUP, []))
        return [name for name in lookup.run([pattern], variables=task_vars) if name in known]


class Checks:
    """What the arguments of a workstation must be. What is the same for all of them is looked at once."""

    def __init__(self, spec: Values) -> None:
        self.names = list(spec)
        self._spec = spec
        # What is missing has the default of the role, so those of the description do not matter here.
        self._validators = {
            name: ArgumentSpecValidator({name: {key: value for key, value in about.items() if key in _CHECKED}})
            for name, about in spec.items()
        }
        self._seen: dict[tuple[str, int, bool], tuple[object, str]] = {}
        self._right: dict[tuple[str, int], tuple[object, t.Any]] = {}

    def small(self, values: Values) -> Values:
        """Return the arguments that are neither secret nor documents."""
        return {
            name: values[name]
            for name in self.names
            if name in values
            and not self._spec[name].get("no_log")
            and self._spec[name]["type"] not in ("dict", "list")
        }

    def skip(self, values: Values, argument: str) -> None:
        """Leave out an argument that has been complained about already."""
        values[argument] = _SKIPPED

    def problems(self, values: Values, windows: bool = False) -> list[str]:
        """Return what is wrong, in one sentence each that names the variable. Makes the types right in place."""
        found = []
        for name in self.names:
            if values.get(name) is _SKIPPED:
                del values[name]
                continue
            problem = self._type_problem(name, values) or self._meaning_problem(name, values.get(name), windows)
            if problem:
                found.append(problem)
        if not found:
            found += _version_problems(values)
        return found

    def _type_problem(self, name: str, values: Values) -> str:
        about = self._spec[name]
        if name not in values:
            return f"{name} is needed and not set" if about.get("required") else ""
        # What comes from the role's defaults, or from a group, is one and the same for many.
        key = (name, id(values[name]))
        if key not in self._right:
            checked = self._validators[name].validate({name: values[name]})
            if checked.error_messages:
                # A message of the validator may show the value.
                secret = about.get("no_log")
                wrong = f" must be of the type {about['type']}" if secret else f": {checked.error_messages[0]}"
                return f"{name}{wrong}"
            self._right[key] = (values[name], checked.validated_parameters[name])
        values[name] = self._right[key][1]
        return ""

    def _meaning_problem(self, name: str, value: object, windows: bool) -> str:
        look = ({**_MEANINGS, **_WINDOWS_MEANINGS} if windows else _MEANINGS).get(name[len(PREFIX) :])
        if look is None or value is None:
            return ""
        key = (name, id(value), windows)
        if key not in self._seen:
            # The value is kept, so that no other one gets its id.
            self._seen[key] = (value, look(name, value))
        return self._seen[key][1]


_SKIPPED = object()
_CHECKED = ("type", "elements", "choices", "no_log")


def _path(name: str, value: t.Any) -> str:
    try:
        check_path(name, value)
    except WorkstationError as error:
        return str(error).rstrip(".")
    return ""


def _windows_path(name: str, value: t.Any) -> str:
    try:
        windows_path(name, value, home=name.endswith("key_path"))
    except WorkstationError as error:
        return str(error).rstrip(".")
    return ""


def _key(name: str, value: t.Any) -> str:
    problem = studio_key_weakness(value)
    return f"{name}: {problem.rstrip('.')}" if problem else ""


def _previous_key(name: str, value: t.Any) -> str:
    problem = studio_key_weakness(value) if value else None
    return f"{name} cannot have been in use, leave it empty. {problem.rstrip('.')}" if problem else ""


def _credentials(name: str, value: t.Any) -> str:
    try:
        check_credentials(plain(value))
    except ConfigError as error:
        return f"{name}: {str(error).rstrip('.')}"
    return ""


def _endpoints(name: str, value: t.Any) -> str:
    try:
        check_endpoints(plain(value))
    except ConfigError as error:
        return f"{name}: {str(error).rstrip('.')}"
    return ""


def _workstation_id(name: str, value: t.Any) -> str:
    fits = value and str(value).isprintable()
    return "" if fits else f"{name} must be a text of printable characters that is not empty"


_MEANINGS: dict[str, t.Callable[[str, t.Any], str]] = {
    "comfyui_path": _path,
    "key_path": _path,
    "studio_key": _key,
    "previous_studio_key": _previous_key,
    "credentials": _credentials,
    "endpoints": _endpoints,
    "id": _workstation_id,
}
_WINDOWS_MEANINGS: dict[str, t.Callable[[str, t.Any], str]] = {"comfyui_path": _windows_path, "key_path": _windows_path}


def _version_problems(values: Values) -> list[str]:
    wide = values.get(f"{PREFIX}studio_wide")
    options = {
        "mode": STUDIO_WIDE_MODE if wide else "workstation",
        "encryption_version": values.get(f"{PREFIX}encryption_version"),
    }
    try:
        version_for(options)
    except EnvelopeError as error:
        return [f"{PREFIX}encryption_version: {str(error).rstrip('.')}"]
    return []


def _stored_problems(host: t.Mapping[str, t.Any]) -> list[str]:
    """Say what keeps the stored credentials of a workstation from being used."""
    try:
        problem = _credentials("its stored credentials", _role_arguments.stored_credentials(host))
    except AnsibleError as error:
        problem = f"its stored credentials cannot be read: {_first_line(error)}"
    return [problem] if problem else []


def _several(names: t.Sequence[str]) -> str:
    """Name workstations with one and the same problem: mostly it is a variable that all of them share."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
