# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all modules for Docker hosts share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of how a Docker engine is reached."""

    DOCUMENTATION = r"""
options:
  docker_host:
    description:
      - Where the Docker engine listens, as a socket on the host on which the module runs.
      - Rootless Docker has another one, such as V(unix:///run/user/1000/docker.sock).
    type: str
    default: unix:///var/run/docker.sock
  docker_command:
    description:
      - The docker program on the host, as a name or a path.
    type: str
    default: docker
  endpoint_host:
    description:
      - Name or address by which workstations reach the host, for the published endpoints. Without it, the address at
        which the NIM listens.
      - Without it, a NIM that only the host itself can reach has no endpoint.
      - V(127.0.0.1) is for what only the host itself uses; a NIM that listens at another address alone keeps that one.
    type: str
requirements:
  - Python 3.9 or newer on the host, with its standard library alone
  - Docker Engine 20.10 or newer on the host
  - NVIDIA's driver, with C(nvidia-smi), and the NVIDIA Container Toolkit on the host
notes:
  - The module runs on the Docker host, as root or as a member of the group C(docker).
"""
