#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_key
short_description: Make the keys with which tokens and certificates of gateways are signed
description:
  - Makes a new key at random every time it is called with the option. It looks at nothing and keeps nothing, so the
    caller has to store the result, which is returned this one time.
  - Use it with C(no_log), on the controller.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode no key is made. The result says which ones would be.
  diff_mode:
    support: none
  platform:
    support: full
    platforms: posix
notes:
  - The module is not idempotent. Each call makes other keys.
requirements:
  - cryptography >= 43
options:
  signing_key:
    description:
      - Make a key that signs tokens (ES256).
    type: bool
    default: false
  authority:
    description:
      - Make a certificate authority, which signs the certificates of gateways for ten years.
    type: bool
    default: false
  studio:
    description:
      - Name of the studio, which stands in the authority's certificate.
    type: str
    required: true
seealso:
  - plugin: budgetguard.techops.gateway_tokens
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Make a signing key
  budgetguard.techops.gateway_key:
    studio: example-studio
    signing_key: true
  delegate_to: localhost
  register: made
  no_log: true
"""

RETURN = r"""
made:
  description: What was made, as PEM, or in check mode what would be. The keys are secret.
  returned: success
  type: dict
  contains:
    signing_key:
      description: The key that signs tokens.
      type: str
    public_key:
      description: Its public half, with which gateways check tokens.
      type: str
    ca_key:
      description: The key of the authority.
      type: str
    ca_certificate:
      description: The certificate of the authority, which workstations trust.
      type: str
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _tokens

NOT_MADE = "(made by the real run)"


def make_keys(studio: str, signing_key: bool, authority: bool, check_mode: bool) -> dict[str, str]:
    """Return the keys that were asked for."""
    names = [
        *(("signing_key", "public_key") if signing_key else ()),
        *(("ca_key", "ca_certificate") if authority else ()),
    ]
    made = dict.fromkeys(names, NOT_MADE)
    if check_mode:
        return made
    if signing_key:
        made["signing_key"] = _tokens.new_signing_key()
        made["public_key"] = _tokens.public_key(made["signing_key"])
    if authority:
        made["ca_certificate"], made["ca_key"] = _ca.new_ca(studio, datetime.datetime.now(datetime.timezone.utc))
    return made


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "signing_key": {"type": "bool", "default": False, "no_log": False},
            "authority": {"type": "bool", "default": False},
            "studio": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    library = _tokens.missing_library()
    if library is not None:
        module.fail_json(msg=library, exception=_tokens.CRYPTOGRAPHY_IMPORT_ERROR)
    params = module.params
    keys = make_keys(params["studio"], params["signing_key"], params["authority"], module.check_mode)
    module.exit_json(changed=bool(keys), made=keys)


if __name__ == "__main__":
    main()
