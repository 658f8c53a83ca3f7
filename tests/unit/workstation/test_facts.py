# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of a look at a workstation: refusals, each with its own sentence, and the order of the steps."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.plugin_utils import _posix_facts
from ansible_collections.budgetguard.techops.plugins.plugin_utils._posix_facts import Entry, Facts

FOLDER = Entry("folder", 0o700, 1000)
FILE = Entry("file", 0o600, 1000)
KEY_FILE = Entry("file", 0o400, 1000)

GOOD = Facts(
    user_id=1000,
    user_name="artist",
    base="/home/artist/ComfyUI",
    base_owner_id=1000,
    base_owner_name="artist",
    base_real="/data/ComfyUI",
    has=frozenset({"main.py"}),
    folder=FOLDER,
    file=FILE,
    sum="12 34",
    content=b"{}",
    key="/home/artist/.config/budgetguard/studio.key",
    key_near="/home/artist/.config/budgetguard",
    key_near_writable=True,
    key_folder=FOLDER,
    key_file=KEY_FILE,
    key_readable=True,
    key_lines=(0,),
)


def problem(force: bool = False, **changes: t.Any) -> str | None:
    """Return the first refusal of a workstation that is fine but for these changes."""
    facts = dataclasses.replace(GOOD, **changes)
    return (
        _posix_facts.base_problem(facts, force) or _posix_facts.config_problem(facts) or _posix_facts.key_problem(facts)
    )


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("-rw-------", 0o600),
        ("-r--------.", 0o400),
        ("drwxr-xr-x+", 0o755),
        ("drwxrwxrwt", 0o1777),
        ("-rwsr-Sr-T@", 0o7744),
        ("----------", 0),
    ],
)
def test_mode_as_ls_writes_it(text: str, mode: int) -> None:
    assert _posix_facts.parse_mode(text) == mode


@pytest.mark.parametrize(("letter", "kind"), [("-", "file"), ("d", "folder"), ("l", "link"), ("p", "other")])
def test_kind_as_ls_writes_it(letter: str, kind: str) -> None:
    assert _posix_facts.parse_entry(f"{letter}rw------- 17") == Entry(kind, 0o600, 17)


def test_facts_from_output() -> None:
    facts = _posix_facts.parse_facts(
        [
            "base /home/ä b/ComfyUI",
            "user_id 1000",
            "user_name artist",
            "base_owner_id 1000",
            "base_owner_name artist",
            "has models",
            "has custom_nodes",
            "folder drwx------ 1000",
            "file -rw------- 1000",
            "key_line other",
            "key_line 0",
            "sum 12 34",
            "data",
            " 7b 0a",
            " ff",
        ]
    )
    assert facts.path == "/home/ä b/ComfyUI/budgetguard/budgetguard_backend_config.json"
    assert (facts.content, facts.sum, facts.key_lines) == (b"{\n\xff", "12 34", (None, 0))
    assert (facts.folder, facts.file, facts.key_file) == (FOLDER, FILE, None)
    assert facts.has == {"models", "custom_nodes"}


def test_good_workstation_is_not_refused() -> None:
    assert problem() is None
    assert problem(has=frozenset({"models", "custom_nodes"})) is None
    assert problem(has=frozenset(), force=True) is None
    assert problem(folder=None, file=None, content=None, sum="missing") is None
    assert problem(key=None, key_folder=None, key_file=None) is None
    assert problem(key_folder=None, key_file=None) is None


REFUSALS: dict[str, tuple[dict[str, t.Any], str]] = {
    "relative": ({"base": "~nobody-there/x"}, "must be absolute"),
    "hidden": ({"base_hidden": True, "base_owner_id": None}, "may not look into"),
    "no folder": ({"base_owner_id": None}, "There is no folder"),
    "not the owner": ({"user_id": 0, "user_name": "root"}, "become_user: artist"),
    "closed": ({"base_real": None}, "needs u"),
    "not ComfyUI": ({"has": frozenset({"models"})}, "does not look like ComfyUI"),
    "folder is a link": ({"folder": Entry("link", 0o777, 1000)}, "budgetguard' is a symbolic link"),
    "folder is a file": ({"folder": FILE}, "budgetguard' is not a folder"),
    "folder of another": ({"folder": Entry("folder", 0o700, 7)}, "budgetguard' belongs to the user with the id 7"),
    "folder closed": ({"folder": Entry("folder", 0o600, 1000)}, "closed to its owner"),
    "file is a link": ({"file": Entry("link", 0o777, 1000)}, "json' is a symbolic link"),
    "file is a folder": ({"file": FOLDER}, "json' is not a file"),
    "file of another": ({"file": Entry("file", 0o600, 7)}, "json' belongs to the user with the id 7"),
    "file closed": ({"file": Entry("file", 0o200, 1000), "content": None}, "closed to its owner (mode 0200)"),
    "key relative": ({"key": "studio.key"}, "absolute path of a file"),
    "key is a folder's path": ({"key": "/etc/"}, "absolute path of a file"),
    "key with dots": ({"key": "/home/artist/../x/studio.key"}, "must not have"),
    "key in ComfyUI": ({"key": "/home/artist//ComfyUI/./studio.key"}, "is inside ComfyUI"),
    "key in ComfyUI by a link": ({"key_near": "/data/ComfyUI/models"}, "is inside ComfyUI"),
    "key folder cannot be made": ({"key_folder": None, "key_near_writable": False}, "may not create it"),
    "key folder is a link": ({"key_folder": Entry("link", 0o777, 1000)}, "real folder"),
    "key folder is a file": ({"key_folder": FILE}, "is not a folder"),
    "key folder of another": ({"key_folder": Entry("folder", 0o755, 0)}, "belongs to the user with the id 0"),
    "key folder open": ({"key_folder": Entry("folder", 0o770, 1000)}, "Others may write"),
    "key is a link": ({"key_file": Entry("link", 0o777, 1000)}, "key' is a symbolic link"),
    "key is a folder": ({"key_file": FOLDER}, "key' is not a file"),
    "key of another": ({"key_file": Entry("file", 0o400, 0)}, "key' belongs to the user with the id 0"),
    "key closed": ({"key_readable": False, "key_file": Entry("file", 0, 1000)}, "closed to its owner"),
}


@pytest.mark.parametrize(("changes", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_has_its_own_sentence(changes: dict[str, t.Any], sentence: str) -> None:
    refusal = problem(**changes)
    assert refusal is not None
    assert sentence in refusal.replace("u+x", "u")


def test_refusals_differ() -> None:
    refusals = [problem(**changes) for changes, _sentence in REFUSALS.values()]
    assert len(set(refusals)) == len(refusals)


NEW: dict[str, t.Any] = {"folder": None, "file": None, "content": None, "sum": "missing"}
NO_KEY: dict[str, t.Any] = {"key_file": None, "key_lines": ()}
OLD_KEY: dict[str, t.Any] = {"key_lines": (1,)}
BOTH_KEYS: dict[str, t.Any] = {"key_lines": (0, 1)}
UNMANAGED: dict[str, t.Any] = {"key": None, "key_file": None, "key_lines": ()}
STEPS: dict[str, tuple[dict[str, t.Any], bool, bool, list[str]]] = {
    "nothing to do": ({}, False, False, []),
    "unmanaged key": (UNMANAGED, False, False, []),
    "new workstation": ({**NEW, **NO_KEY}, True, False, ["key_keep", "config"]),
    "new, unmanaged key": ({**NEW, **UNMANAGED}, True, False, ["config"]),
    "new config": ({}, True, False, ["config"]),
    "broken config": ({}, True, True, ["aside", "config"]),
    "rotation": (OLD_KEY, True, False, ["key_keep", "config", "key_final"]),
    "rotation killed after the first step": (BOTH_KEYS, True, False, ["key_keep", "config", "key_final"]),
    "rotation killed after the second step": (BOTH_KEYS, False, False, ["key_final"]),
    "lost key": (NO_KEY, False, False, ["key_final"]),
    "a stranger's key": ({"key_lines": (None,)}, True, True, ["key_keep", "aside", "config", "key_final"]),
    "empty key": ({"key_lines": ()}, False, False, ["key_final"]),
    "open key": ({"key_file": Entry("file", 0o444, 1000)}, False, False, ["key_final"]),
    "open config": ({"file": Entry("file", 0o644, 1000)}, False, False, ["config_mode"]),
    "open config that changes": ({"file": Entry("file", 0o644, 1000)}, True, False, ["config"]),
    "open folder": ({"folder": Entry("folder", 0o775, 1000)}, False, False, ["folder"]),
}


@pytest.mark.parametrize(("changes", "replace", "aside", "steps"), STEPS.values(), ids=STEPS.keys())
def test_steps(changes: dict[str, t.Any], replace: bool, aside: bool, steps: list[str]) -> None:
    assert _posix_facts.plan_present(dataclasses.replace(GOOD, **changes), replace, aside) == steps


@pytest.mark.parametrize(
    ("changes", "aside", "steps"),
    [
        ({}, False, ["config_remove", "key_remove"]),
        ({}, True, ["aside", "config_remove", "key_remove"]),
        ({**NEW}, True, ["key_remove"]),
        ({**NEW, **NO_KEY}, False, []),
        (UNMANAGED, False, ["config_remove"]),
    ],
)
def test_steps_to_remove(changes: dict[str, t.Any], aside: bool, steps: list[str]) -> None:
    assert _posix_facts.plan_absent(dataclasses.replace(GOOD, **changes), aside) == steps


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "current"),
        (UNMANAGED, "unmanaged"),
        (NO_KEY, "missing"),
        (OLD_KEY, "previous"),
        (BOTH_KEYS, "rotating"),
        ({"key_lines": (0, None)}, "rotating"),
        ({"key_lines": (None, 0)}, "other"),
        ({"key_lines": ()}, "other"),
    ],
)
def test_key_state(changes: dict[str, t.Any], state: str) -> None:
    assert _posix_facts.key_state(dataclasses.replace(GOOD, **changes)) == state


@pytest.mark.parametrize("path", ["", "ComfyUI", "./ComfyUI", "-x", "/a\nb", "/a\rb", "~/a\0"])
def test_path_that_cannot_be_meant_is_refused(path: str) -> None:
    with pytest.raises(_posix_facts.WorkstationError, match="comfyui_path must"):
        _posix_facts.check_path("comfyui_path", path)


def test_what_a_workstation_said_steers_no_terminal() -> None:
    said = _posix_facts.WorkstationError("The workstation said: \x1b]0;title\x07 caf\u00e9 \u202egnp \udce9")
    assert str(said) == "The workstation said: \\x1b]0;title\\x07 caf\u00e9 \\u202egnp \\udce9"
