# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens from the making of the key to a lost laptop, by real runs. The sandbox's gateways check what they are given.

That the real HAProxy refuses the same tokens is shown in tests/unit/gateway.
"""

from __future__ import annotations

import pytest

from tests.playbooks.artists import Artists, opened
from tests.playbooks.studio import SECRETS, Studio
from tests.sandbox.client import ask_as_workstation

STUDIO = "example-studio"


@pytest.fixture
def artists(studio: Studio) -> Artists:
    """Give a studio with gateways on two clusters."""
    artists = Artists(studio)
    studio.use_three_clouds()
    del studio.targets["aws-us-east-1"]
    studio.matrix = {"FLUX Dev": {"azure": {"gpu_tier": "a100-80gb"}, "gcp": {"gpu_tier": "a100-80gb"}}}
    studio.variables.update(nim_workstation_providers=[], nim_gateway_studio=STUDIO, endpoints_export=True)
    return artists


def _token(studio: Studio, workstation: str) -> str:
    """Return the token in a workstation's config."""
    return str(opened(studio, workstation, SECRETS["STUDIO_KEY"])["gateway"]["Token"])


def _ask(studio: Studio, token: str | None = None) -> set[int]:
    """Ask for the health of the NIM on every target, as a workstation does, and return the answers' statuses."""
    entries = studio.export()["nim_endpoints"]["FLUX Dev"]
    urls = [entry["health_url"] for provider in entries.values() for entry in provider]
    assert len(urls) == len(studio.targets)
    assert {entry["auth"] for provider in entries.values() for entry in provider} == {"gateway"}
    return {ask_as_workstation(studio.sandbox.env, url, token) for url in urls}


def test_the_life_of_tokens(artists: Artists) -> None:
    """A key, tokens, a lost laptop that is found again, and another key that takes over."""
    studio = artists.studio
    predicted = artists.play("gateway_key", "--check").ok()
    stored = studio.folder / "group_vars" / "all" / "budgetguard_gateway.yml"
    assert not stored.exists()
    made = artists.play("gateway_key").ok()
    assert predicted.changed == made.changed
    assert "PRIVATE" not in stored.read_text() + made.printed

    artists.play("site").ok()
    assert set(artists.play("site").ok().changed.values()) == {0}
    artists.play("start").ok()
    first, second = (_token(studio, name) for name in ("ws-01", "ws-02"))
    assert _ask(studio) == {401}
    assert _ask(studio, f"{first[:-8]}AAAAAAAA") == {401}
    assert _ask(studio, first) == _ask(studio, second) == {200}
    assert not studio.files_with(first)
    artists.play("health").ok()

    studio.unreachable.add("ws-01")
    lost = artists.play("revoke", "--limit", "ws-01").ok()
    assert "gateway" in lost.messages.partition("Off: ")[2].partition(".")[0], lost.printed
    assert _ask(studio, first) == {403}
    assert _ask(studio, second) == {200}
    studio.unreachable.clear()
    artists.play("credentials", "-e", "restore=true", "--limit", "ws-01").ok()
    assert _ask(studio, _token(studio, "ws-01")) == {200}
    assert _ask(studio, first) == {403}

    artists.play("gateway_key", "-e", "rotate=true").ok()
    artists.play("gateway_renew").ok()
    artists.play("workstations").ok()
    new = _token(studio, "ws-02")
    assert second != new
    assert _ask(studio, second) == _ask(studio, new) == {200}
    artists.play("gateway_key", "-e", "retire=true").ok()
    artists.play("gateway_renew").ok()
    assert _ask(studio, second) == {401}
    assert _ask(studio, new) == {200}
