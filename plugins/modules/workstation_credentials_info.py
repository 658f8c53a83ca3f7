#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_credentials_info
short_description: Try the credentials of many workstations at once
description:
  - Logs in with the credentials of each workstation as M(budgetguard.techops.workstation_credential_info) does with
    those of one, all in one task and several at a time. It needs no right in the cloud and costs nothing.
  - Credentials that several workstations share are tried once. Other providers than AWS, Azure and Google Cloud are
    left out, and so is whoever has an identity of its own instead of a key.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
options:
  credentials:
    description:
      - Workstation to provider to fields, as P(budgetguard.techops.identity_credentials#filter) returns them for one.
    type: dict
    required: true
  region:
    description:
      - AWS region to log in at. Keys of China and GovCloud work only in a region of theirs.
    type: str
    default: us-east-1
  parallel:
    description:
      - How many logins there are at a time.
    type: int
    default: 16
requirements:
  - boto3 >= 1.40.53 (AWS)
  - azure-identity >= 1.19 (Azure)
  - google-auth >= 2.35 (Google Cloud)
seealso:
  - module: budgetguard.techops.workstation_credential_info
"""

EXAMPLES = r"""
- name: Which stored keys do not work any more?
  budgetguard.techops.workstation_credentials_info:
    credentials:
      ws-01: "{{ hostvars['ws-01'] | budgetguard.techops.identity_credentials }}"
      ws-02: "{{ hostvars['ws-02'] | budgetguard.techops.identity_credentials }}"
  delegate_to: localhost
"""

RETURN = r"""
refused:
  description: Workstation to provider to why its cloud refused the login. Nothing of others was refused.
  returned: success
  type: dict
  sample:
    ws-07:
      aws: The security token included in the request is invalid
logins:
  description: How many logins were tried.
  returned: success
  type: int
  sample: 12
"""

import concurrent.futures
import json
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.budgetguard.techops.plugins.module_utils._identities import FIELDS, OPEN_FIELDS
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import show_open_fields
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation import KEYLESS_FIELD

Login = tuple[str, dict[str, t.Any]]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "credentials": {"type": "dict", "required": True, "no_log": True},
            "region": {"type": "str", "default": "us-east-1"},
            "parallel": {"type": "int", "default": 16},
        },
        supports_check_mode=True,
    )
    options = module.params
    _show_names(module)
    if options["parallel"] < 1:
        module.fail_json(msg=f"parallel is {options['parallel']}; it must be 1 or more")
    holders = logins(options["credentials"], options["region"])
    try:
        with concurrent.futures.ThreadPoolExecutor(options["parallel"]) as pool:
            answers = dict(zip(holders, pool.map(_try_out, (login for login, _names in holders.values()))))
    except MissingLibraryError as exc:
        module.fail_json(msg=missing_required_lib(exc.package), exception=exc.import_error)
    refused: dict[str, dict[str, str]] = {}
    for key, ((provider, _fields), names) in holders.items():
        if answers[key] is not None:
            for name in names:
                refused.setdefault(name, {})[provider] = str(answers[key])
    module.exit_json(changed=False, refused=refused, logins=len(holders))


def _show_names(module: AnsibleModule) -> None:
    """Hide secrets only: a hidden region or project would be hidden in what a cloud says, too."""
    for providers in module.params["credentials"].values():
        for fields in providers.values() if isinstance(providers, dict) else ():
            for name, value in fields.items() if isinstance(fields, dict) else ():
                if name in OPEN_FIELDS:
                    module.no_log_values.discard(str(value))
                elif isinstance(value, dict):
                    show_open_fields(module, value)


def logins(credentials: t.Mapping[str, t.Any], region: str) -> dict[str, tuple[Login, list[str]]]:
    """Return each login once, with the workstations that have it."""
    found: dict[str, tuple[Login, list[str]]] = {}
    for name, providers in credentials.items():
        for provider, fields in (providers if isinstance(providers, dict) else {}).items():
            if provider in FIELDS and isinstance(fields, dict) and not fields.get(KEYLESS_FIELD):
                login = (provider, {"Region": region, **fields})
                found.setdefault(json.dumps(login, sort_keys=True), (login, []))[1].append(str(name))
    return found


def _try_out(login: Login) -> str | None:
    """Return why the login was refused, or None."""
    try:
        _credential_trial.try_out(*login, 0)
    except ProviderError as exc:
        return str(exc)
    return None


if __name__ == "__main__":
    main()
