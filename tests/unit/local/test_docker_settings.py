# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of nim_local that cannot be, and where images come from."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import DockerSettings

KEY = "nvapi-CaNaRy81Zr0QmTvX3"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bind_address": "gpu-box"}, "must be an IP address of this host"),
        ({"bind_address": "8.8.8.8"}, "not an address of a private network"),
        ({"bind_address": "::", "endpoint_host": "gpu-box"}, "opens the port on every network"),
        ({"bind_address": "::", "allow_public": True}, "set endpoint_host"),
        ({"endpoint_host": "http://gpu-box"}, "without scheme, port and path"),
        ({"first_port": 80}, "first_port is 80"),
        ({"ports": {"FLUX Dev": "many"}}, "ports['FLUX Dev'] is 'many'"),
        ({"ports": {"FLUX Dev": 9000, "SDXL": 9000}}, "9000 is there twice"),
        ({"registry": "https://registry.studio.example"}, "without a scheme"),
        ({"registry": "r.example", "registry_username": "nims"}, "go together"),
        ({"registry_username": "nims", "registry_password": KEY}, "NVIDIA's takes ngc_api_key"),
        ({"run_as": "0"}, "other than root"),
        ({"run_as": "nim"}, "other than root"),
        ({"cache_path": "data"}, "absolute path"),
        ({"cache_path": "/"}, "other than /"),
        ({"ngc_api_key": "short"}, "ngc_api_key is not a key"),
    ],
)
def test_what_cannot_be(options: dict[str, t.Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        DockerSettings.from_options(options)
    assert KEY not in str(refused.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="run_as") as refused:
        DockerSettings.from_options({"run_as": "0", "first_port": 1, "cache_path": "x"})
    assert len(str(refused.value).splitlines()) == 3


def test_keys_are_not_shown() -> None:
    options = {"registry": "r.example", "registry_username": "u", "registry_password": KEY, "ngc_api_key": KEY}
    assert "CaNaRy" not in repr(DockerSettings.from_options({**options, "hf_token": KEY}))


def test_where_images_come_from() -> None:
    nvidia = DockerSettings.from_options({})
    mirror = DockerSettings.from_options({"registry": "registry.studio.example:5000/copies"})
    image = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.6"
    assert nvidia.image(image) == image
    assert mirror.image(image) == "registry.studio.example:5000/copies/nim/meta/llama-3.1-8b-instruct:1.8.6"
    assert mirror.image("ghcr.io/studio/own:1") == "ghcr.io/studio/own:1"
    assert mirror.login_host == "registry.studio.example:5000"
    assert nvidia.login(KEY) == ("$oauthtoken", KEY)
    assert mirror.login(KEY) is None, "NVIDIA's key is not sent to another registry"
