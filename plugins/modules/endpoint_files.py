#!/usr/bin/python
# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_files
short_description: Write the published endpoints into files
description:
  - Writes documents as JSON files into a folder on the controller. With it, the role
    P(budgetguard.techops.endpoints#role) writes the artists' document and the endpoints by provider.
  - A file whose text is right already is left alone. A new one takes the place of the old one at once, so nobody reads
    half of it.
author:
  - BudgetGuard TechOps contributors (!UNKNOWN)
extends_documentation_fragment:
  - budgetguard.techops.attributes
  - budgetguard.techops.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
options:
  path:
    description:
      - The folder. It is made if it is missing, with the mode V(0755).
    type: path
    required: true
  documents:
    description:
      - Name of each file to what is in it. The files get the mode V(0644).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write one of the documents to another place as well
  budgetguard.techops.endpoint_files:
    path: /srv/www/studio
    documents:
      budgetguard_artists_config.json: "{{ endpoints_document }}"
"""

RETURN = r"""
written:
  description: The files that were written, in check mode those that would be.
  returned: success
  type: list
  elements: str
  sample: [budgetguard_artists_config.json]
"""
