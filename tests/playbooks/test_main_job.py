# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job as TechOps runs it."""

from __future__ import annotations

import json

from tests.playbooks.studio import Studio

FLUX, LLAMA = "nim-flux-dev-l40s", "nim-llama-3-1-l4"


def test_check_predicts_the_run_the_second_changes_nothing_and_a_wrong_provider_stops_nobody_else(
    studio: Studio,
) -> None:
    predicted = studio.play("site", "--check", "--diff").ok()
    assert studio.writes() == 0
    assert not (studio.folder / "exports").exists()
    assert "+  nim-flux-dev-l40s:" in predicted.printed
    first = studio.play("site", "--diff").ok()
    assert first.changed == predicted.changed
    assert set(first.changed.values()) == {1, 2}
    second = studio.play("site").ok()
    assert set(second.changed.values()) == {0}
    assert set(studio.play("site", "--check").ok().changed.values()) == {0}
    endpoint = studio.config("ws-02")["nim_endpoints"]["FLUX Dev"]["aws"][0]
    assert endpoint["url"].endswith(".elb.amazonaws.com/flux-dev-l40s")
    assert studio.export("budgetguard_provider_endpoints.json")["aws"]["region"] == "us-east-1"
    assert studio.export()["credentials_status"]["nvidia"] is True

    studio.targets["elsewhere"] = studio.target("nowhere")
    studio.providers["elsewhere"] = "ibm"
    studio.targets["twice"] = studio.target("us-west-2")
    more = studio.folder / "more.yml"
    more.write_text("nvidia: {hosts: {twice: }}\n")
    run = studio.play("site", "-i", str(more))
    assert run.failed == ["elsewhere", "twice"]
    assert "The host is in the groups aws and nvidia, and a target has one provider" in run.messages
    assert "twice cannot be read: it is in the groups aws and nvidia" in run.messages
    assert "The provider of elsewhere is 'ibm'" in run.messages
    assert "nim_provider is 'ibm'; it must be one of aws" in run.messages
    assert run.changed["ws-01"] == 0


def test_a_scheduled_site_run_switches_nothing_on_or_off(studio: Studio) -> None:
    studio.matrix["FLUX Kontext"] = {"aws": {"gpu_tier": "h100", "always_on": True}}
    studio.play("site").ok()
    assert len(studio.control.resources()["us-east-1"]["instances"]) == 1
    studio.play("start", "-e", "nim_nodes=['FLUX Dev']").ok()
    again = studio.play("site").ok()
    assert set(again.changed.values()) == {0}
    status = studio.play("status").ok().messages
    assert "FLUX Dev aws-us-east-1 l40s running" in status
    assert "Llama 3.1 aws-us-east-1 l4 stopped" in status
    studio.play("stop").ok()
    status = studio.play("status").ok().messages
    assert "FLUX Dev aws-us-east-1 l40s stopped" in status
    assert "FLUX Kontext aws-us-east-1 h100 running" in status
    assert set(studio.play("stop").ok().changed.values()) == {0}


def test_teardown_needs_a_confirmation_and_leaves_nothing(studio: Studio) -> None:
    studio.play("deploy").ok()
    refused = studio.play("teardown")
    assert refused.code != 0
    assert "Say so with -e confirm=true" in refused.messages
    studio.play("teardown", "-e", "confirm=true", "-e", "nim_nodes=['FLUX Dev']").ok()
    assert studio.control.resources()["us-east-1"]["services"] == [LLAMA]
    studio.play("teardown", "-e", "confirm=true").ok()
    left = {kind for kind, names in studio.control.resources().get("us-east-1", {}).items() if names}
    assert left <= {"secrets_scheduled_for_deletion"}


def test_everything_everywhere_is_one_variable(studio: Studio) -> None:
    studio.play("deploy", "-e", "nim_nodes=all").ok()
    assert len(studio.control.resources()["us-east-1"]["services"]) > 8


def test_a_limit_to_one_workstation_still_reads_every_target(studio: Studio) -> None:
    studio.targets["aws-us-west-2"] = studio.target("us-west-2")
    studio.play("deploy").ok()
    # However booleans are written: on a command line they are texts.
    studio.own["ws-01"] = {"workstation_config_studio_wide": "Yes"}
    run = studio.play("workstations", "--limit", "ws-01", "-e", "endpoints_export=no").ok()
    assert list(run.changed) == ["ws-01"]
    assert studio.config("ws-01")["mode"] == "studio-wide"
    wrong = studio.play("workstations", "-e", "endpoints_prices=perhaps")
    assert "endpoints_prices" in wrong.messages
    assert "is undefined" not in wrong.messages, wrong.printed
    targets = {entry["target"] for entry in studio.config("ws-01")["nim_endpoints"]["FLUX Dev"]["aws"]}
    assert targets == {"aws-us-east-1", "aws-us-west-2"}
    assert not (studio.comfyui("ws-02") / "budgetguard").exists()


def test_a_mistyped_group_of_targets_takes_no_endpoints_from_workstations(studio: Studio) -> None:
    studio.play("site").ok()
    before = studio.config("ws-01"), studio.export()
    studio.target_group = "nim_provider"
    run = studio.play("workstations")
    assert run.failed == ["ws-01"]
    assert "the inventory has no group nim_providers" in run.messages
    assert (studio.config("ws-01"), studio.export()) == before


def test_one_cloud_down_keeps_what_is_published_and_marks_it(studio: Studio) -> None:
    studio.targets["aws-us-west-2"] = studio.target("us-west-2")
    studio.play("site").ok()
    studio.targets["aws-us-west-2"]["endpoint_url"] = "http://127.0.0.1:9"
    run = studio.play("site", "-e", "nim_nodes=['FLUX Dev']")
    assert run.failed == ["aws-us-west-2"]
    assert "Could not connect to the endpoint URL" in run.messages
    for config in (studio.config("ws-01"), studio.export()):
        for node in ("FLUX Dev", "Llama 3.1"):
            entries = {entry["target"]: entry for entry in config["nim_endpoints"][node]["aws"]}
            assert set(entries) == {"aws-us-east-1", "aws-us-west-2"}
            assert entries["aws-us-west-2"]["stale"] is True
            assert "stale" not in entries["aws-us-east-1"]
    del studio.targets["aws-us-west-2"]["endpoint_url"]
    assert "stale" not in json.dumps(_after_site(studio))


def _after_site(studio: Studio) -> object:
    studio.play("site").ok()
    return [studio.config("ws-01"), studio.config("ws-02"), studio.export()]


def test_one_nim_of_three_fails_and_the_rest_goes_on(studio: Studio) -> None:
    for node in studio.matrix.values():
        node["aws"]["always_on"] = True
    studio.matrix["SD 3.5 Large"] = {"aws": {"gpu_tier": "l40s", "always_on": True}}
    studio.control.nim(LLAMA, "pull_refused")
    run = studio.play("site")
    assert run.failed == ["aws-us-east-1"]
    assert run.printed.rstrip().count("fatal: [aws-us-east-1]") == 1
    last_play = run.messages.rpartition("PLAY [Tell which targets failed]")[2]
    assert "Llama 3.1: does not start: the image cannot be pulled: CannotPullContainerError" in last_play, last_play
    assert set(studio.config("ws-02")["nim_endpoints"]) == {"FLUX Dev", "Llama 3.1", "SD 3.5 Large"}
    status = studio.play("status").ok().messages
    assert "FLUX Dev aws-us-east-1 l40s running" in status
    assert "SD 3.5 Large aws-us-east-1 l40s running" in status


def test_a_killed_run_is_finished_by_the_next(studio: Studio) -> None:
    for action in ("CreateSecurityGroup", "CreateService"):
        studio.play_and_kill("site", action)
        assert studio.files_with(CANARY_IN_MODULES) == []
    studio.play("site").ok()
    services = studio.control.resources()["us-east-1"]["services"]
    assert services == [FLUX, LLAMA]
    assert set(studio.play("site").ok().changed.values()) == {0}


CANARY_IN_MODULES = "nvapi-CaNaRyngc"


def test_mistakes_in_the_inventory_are_named_all_at_once(studio: Studio) -> None:
    studio.matrix = {"FLUX Dve": {"aws": "present"}, "Llama 3.1": {"awss": "present"}}
    run = studio.play("deploy")
    assert run.failed == ["aws-us-east-1"]
    assert studio.writes() == 0
    assert "FLUX Dve" in run.messages
    assert "did you mean" in run.messages
    assert "awss" in run.messages


def test_start_all_is_all_of_the_matrix_not_of_the_catalogue(studio: Studio) -> None:
    studio.play("start", "-e", "nim_nodes=all").ok()
    assert studio.control.resources()["us-east-1"]["services"] == [FLUX, LLAMA]
    run = studio.play("start", "-e", "nim_nodes=Mixtral,phi-3").ok()
    assert "of Mixtral,phi-3 nothing is in nim_matrix for this target" in run.messages


def test_an_unknown_option_of_a_target_is_named(studio: Studio) -> None:
    studio.targets["aws-us-east-1"]["alowed_cidrs"] = ["10.0.0.0/8"]
    run = studio.play("deploy")
    assert run.failed == ["aws-us-east-1"]
    assert "alowed_cidrs" in run.messages
    assert studio.writes() == 0
