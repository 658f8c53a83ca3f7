# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all nim_<provider> modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the deployments option and of waiting."""

    DOCUMENTATION = r"""
options:
  deployments:
    description:
      - The NIMs that this call is about. One call brings the whole list of one target to what is asked for.
      - NIMs of the target that are not named here are left alone.
      - If any entry cannot be carried out, for example because the model does not fit on the GPU, nothing is changed
        and all such entries are named.
    type: list
    elements: dict
    required: true
    suboptions:
      node:
        description:
          - Name of the node in the catalogue, for example V(FLUX Dev). Case, spaces and hyphens do not matter.
        type: str
        required: true
      gpu_tier:
        description:
          - The GPU to run on, for example V(l40s).
          - Without it, the smallest tier that NVIDIA lists for the model. With O(deployments[].state=stopped) and
            O(deployments[].state=absent), all tiers of the node are meant.
        type: str
      state:
        description:
          - V(present) makes the deployment without a GPU bill and leaves a running one running.
          - V(started) does the same and switches it on.
          - V(stopped) switches it off if it exists and changes nothing else.
          - V(absent) removes it with the capacity that only it used.
        type: str
        choices: [present, started, stopped, absent]
        default: present
      replicas:
        description:
          - How many copies run when it is started. Each has a GPU machine of its own.
        type: int
        default: 1
      tag:
        description:
          - Image tag. Without it, the tag in the catalogue.
          - With a digest behind it, such as C(1.2.3@sha256:...), exactly that image is run, whatever the tag means
            later.
        type: str
      variants:
        description:
          - Serve several variants of the image on one GPU, for example V([base, canny, depth]).
          - This is not confirmed by NVIDIA's documentation, so a warning says that it is unverified.
        type: list
        elements: str
        default: []
      machine:
        description:
          - Machine type, for example V(g6e.4xlarge). Without it, the smallest of the tier on which the model fits.
        type: str
      env:
        description:
          - More environment variables of the container. They are not secret, anybody who can read the deployment sees
            them.
          - Texts or whole numbers. Put V(true), V(false) and numbers with a decimal point into quotes.
        type: dict
        default: {}
      always_on:
        description:
          - Switch it on with O(deployments[].state=present), too.
        type: bool
        default: false
      skip_fit_check:
        description:
          - Warn instead of refusing when the model does not fit on the GPU or the machine.
        type: bool
        default: false
  nim_catalog:
    description:
      - Extends or overrides the built-in catalogue. A dictionary from node name to fields; see the catalogue page in
        the collection's documentation.
    type: dict
    default: {}
  purge_shared:
    description:
      - Also remove what the target's NIMs share, such as the load balancer and the cluster, when this call leaves no
        NIM on the target. Nothing shared is removed while anything else uses it.
    type: bool
    default: false
  wait:
    description:
      - Wait until each started NIM is ready or can no longer become ready.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds. A cold start takes up to 30 minutes, because the image and the model are tens
        of gigabytes.
    type: int
    default: 2700
  wait_interval:
    description:
      - Seconds between two looks while waiting.
    type: float
    default: 15
"""
