# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all NVIDIA modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of how an organisation at NVIDIA is reached."""

    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - Key of the organisation that begins with C(nvapi-). The environment variables E(NVIDIA_API_KEY) and
        E(NGC_API_KEY) do the same. It is needed; there is no other way to log in.
      - A personal key needs the service C(Cloud Functions) for functions. A service key needs the scopes
        C(list_functions), C(list_functions_details), C(register_function), C(update_function), C(update_secrets),
        C(deploy_function), C(delete_function) and C(list_cluster_groups).
    type: str
  org:
    description:
      - Name of the organisation at NGC, as in C(nvcr.io/my-org). The environment variables E(NGC_ORG) and
        E(NGC_CLI_ORG) do the same. Without it, NVIDIA takes the organisation of the key.
    type: str
  team:
    description:
      - Name of a team of the organisation, if its functions and images belong to one. The environment variables
        E(NGC_TEAM) and E(NGC_CLI_TEAM) do the same.
    type: str
  endpoint:
    description:
      - Send the calls that manage functions to this address instead of C(https://api.ngc.nvidia.com), for example to a
        control plane of Cloud Functions of your own. The environment variable E(NGC_ENDPOINT) does the same.
      - It has to begin with C(https://), because the key goes there.
    type: str
  ca_bundle:
    description:
      - File with the certificate authorities to trust, in PEM format. Without it, those of the system.
    type: path
  cloud_functions:
    description:
      - Whether functions are used. Set it to V(false) where only hosted models are; functions are then not even looked
        for, so a key without the service C(Cloud Functions) will do.
    type: bool
    default: true
  hosted_nodes:
    description:
      - Nodes that this target offers from NVIDIA's API catalogue, for example V([SDXL, FLUX Dev]). NVIDIA remembers
        nothing about them, so they are listed here for what only reads the target.
    type: list
    elements: str
    default: []
  hosted_check:
    description:
      - How a hosted model is checked.
      - V(key) asks NGC whether the key holds. This costs nothing.
      - V(model) also looks for language models in the public list, and sends every other model an empty request, which
        it refuses before it computes anything. NVIDIA does not say whether such a request counts against the limit of
        requests.
    type: str
    choices: [key, model]
    default: key
  nim_catalog:
    description:
      - Extends or overrides the built-in catalogue. A dictionary from node name to fields; see the catalogue page in
        the collection's documentation.
    type: dict
    default: {}
notes:
  - Nothing besides Python's standard library is needed. The environment variables E(HTTPS_PROXY), E(NO_PROXY) and
    E(SSL_CERT_FILE) count.
"""
