#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: workstation_credential_info
short_description: Try the credentials of a workstation
description:
  - Logs in with a workstation's credentials, which needs no right in the cloud and costs nothing.
  - On AWS that is C(sts:GetCallerIdentity). On Azure and Google Cloud it is asking for a token; on Google Cloud the
    account also asks what it may do in its project, since a token that was given out may still be refused.
  - The key of NVIDIA is looked at by M(budgetguard.techops.nim_key_info).
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.info_module
options:
  provider:
    description:
      - Whose credentials they are.
    type: str
    choices: [aws, azure, gcp]
    required: true
  credentials:
    description:
      - The fields by their public names, as in the option O(budgetguard.techops.comfyui_config#module:credentials).
        For V(gcp) the field C(Service Account JSON) has the content of the key file.
    type: dict
    required: true
  wait_timeout:
    description:
      - Seconds for which a refused key is tried again. A new one is not known everywhere at once.
    type: float
    default: 0
requirements:
  - boto3 >= 1.40.53 (AWS)
  - azure-identity >= 1.19 (Azure)
  - google-auth >= 2.35 (Google Cloud)
seealso:
  - module: budgetguard.techops.nim_key_info
"""

EXAMPLES = r"""
- name: Does the key of this workstation work?
  budgetguard.techops.workstation_credential_info:
    provider: aws
    credentials: "{{ nim_identities.aws.fields }}"
  delegate_to: localhost
"""

RETURN = r"""
valid:
  description: Whether the credentials were accepted.
  returned: success
  type: bool
  sample: true
identity:
  description: Who they log in as; null where they were refused.
  returned: success
  type: str
  sample: arn:aws:iam::111122223333:user/budgetguard/ws-ws-01
msg:
  description: Why they were refused.
  returned: when they were refused
  type: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _credential_trial


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "provider": {"type": "str", "choices": ["aws", "azure", "gcp"], "required": True},
            "credentials": {"type": "dict", "required": True, "no_log": True},
            "wait_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        identity = _credential_trial.try_out(options["provider"], options["credentials"], options["wait_timeout"])
    except MissingLibraryError as exc:
        module.fail_json(msg=missing_required_lib(exc.package), exception=exc.import_error)
    except ProviderError as exc:
        module.exit_json(changed=False, valid=False, identity=None, msg=str(exc))
    module.exit_json(changed=False, valid=True, identity=identity)


if __name__ == "__main__":
    main()
