# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vars files with inline encrypted values: what is written, what is kept, what is refused."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.budgetguard.techops.plugins.action import vaulted_vars
from ansible_collections.budgetguard.techops.plugins.plugin_utils import _vault_file

SECRET = "CaNaRy-of-a-vault-file"


@pytest.fixture
def vault() -> vaulted_vars.RunVault:
    """Give the vault of a run with one password."""
    return vaulted_vars.RunVault(VaultLib([("default", VaultSecret(b"a password"))]), None)


def record(key_id: str, secret: str) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the clear and the secret variables of an identity."""
    return (
        {"nim_identities": {"aws": {"key_id": key_id}}},
        {"nim_identities": {"aws": {"fields": {"Secret Access Key": secret}}}},
    )


def test_secrets_are_encrypted_and_come_back(vault: vaulted_vars.RunVault) -> None:
    """Everything else is in clear."""
    text = _vault_file.write(_vault_file.merge({}, *record("AKIA1", SECRET), (), vault))
    assert SECRET not in text
    assert "key_id: AKIA1" in text
    found = _vault_file.read(text, "file")["nim_identities"]["aws"]["fields"]["Secret Access Key"]
    assert vault.decrypt(found) == SECRET


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "secrets.nim_identities.aws.key is empty; a secret is a text"),
        (True, "secrets.nim_identities.aws.key is true or false; a secret is a text"),
        ([SECRET], "secrets.nim_identities.aws.key is a list; a secret is a text"),
    ],
)
def test_what_would_not_come_back_as_it_was_is_no_secret(vault: vaulted_vars.RunVault, value: t.Any, told: str) -> None:
    """An empty variable would be kept as the word None."""
    with pytest.raises(_vault_file.VaultFileError) as caught:
        _vault_file.merge({}, {}, {"nim_identities": {"aws": {"key": value}}}, (), vault)
    assert str(caught.value) == told


Unsafe = type("Unsafe", (str,), {"__str__": lambda self: self})
"""A text as ansible-core before 2.19 marks it: str() of it is another of its kind."""


def test_marked_texts_are_written_as_plain_ones() -> None:
    """At any depth, names and values."""
    found = _vault_file.plain({Unsafe("a"): [Unsafe("b"), {Unsafe("c"): 1}]})
    assert not isinstance(next(iter(found)), Unsafe)
    assert _vault_file.write(found).endswith("a:\n- b\n- c: 1\n")


def test_an_unchanged_secret_keeps_its_ciphertext(vault: vaulted_vars.RunVault) -> None:
    """Or a second run would change the file; a changed one is encrypted anew, and other entries stay."""
    first = _vault_file.merge({}, *record("AKIA1", SECRET), (), vault)
    first["nim_identities"]["azure"] = {"key_id": "two"}
    assert _vault_file.merge(first, *record("AKIA1", SECRET), (), vault) == first
    second = _vault_file.merge(first, *record("AKIA2", f"{SECRET}2"), (), vault)
    assert second["nim_identities"]["azure"] == {"key_id": "two"}
    assert vault.decrypt(second["nim_identities"]["aws"]["fields"]["Secret Access Key"]) == f"{SECRET}2"


def test_entries_can_be_taken_out(vault: vaulted_vars.RunVault) -> None:
    """By variable.entry."""
    found = _vault_file.merge({}, *record("AKIA1", SECRET), (), vault)
    assert _vault_file.merge(found, {}, {}, ["nim_identities.aws"], vault) == {"nim_identities": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nim_identities: {}\n", "was not written by this module"),
        (f"---\n{_vault_file.HEADER}\n[1\n", "is not YAML"),
        (f"---\n{_vault_file.HEADER}\n- 1\n", "must be a mapping"),
    ],
)
def test_files_of_others_are_refused(text: str, message: str) -> None:
    """With what to do about it."""
    with pytest.raises(_vault_file.VaultFileError, match=message):
        _vault_file.read(text, "file")


def test_without_a_password_nothing_begins() -> None:
    """The message says how to give one."""
    with pytest.raises(_vault_file.VaultFileError, match="--vault-password-file"):
        vaulted_vars.RunVault(VaultLib([]), None)
    with pytest.raises(_vault_file.VaultFileError, match="with the id other"):
        vaulted_vars.RunVault(VaultLib([("default", VaultSecret(b"a"))]), "other")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one is for its owner only, an old one keeps its mode, and a failure leaves the old one and nothing else."""
    path = tmp_path / "budgetguard_identities.yml"
    vaulted_vars._replace(path, "one\n")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    vaulted_vars._replace(path, "two\n")
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o640, "two\n")

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        vaulted_vars._replace(path, "three\n")
    assert path.read_text() == "two\n"
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("hidden", ["ws-01.yml", "ws-01.yaml", "ws-01.json"])
def test_a_file_that_ansible_would_not_read_any_more(tmp_path: Path, hidden: str) -> None:
    """Beside the folder, Ansible reads only one of the two."""
    (tmp_path / hidden).write_text("a: 1\n")
    with pytest.raises(_vault_file.VaultFileError, match="move it to"):
        vaulted_vars.ActionModule._check_place(tmp_path / "ws-01" / "budgetguard_identities.yml")


@pytest.mark.parametrize("path", ["host_vars/ws-01/x.yml", "/dev/null/host_vars/x.yml"])
def test_places_that_cannot_be_written_to(path: str) -> None:
    """Before any key is made."""
    with pytest.raises(_vault_file.VaultFileError, match=r"must be absolute|is not a folder that"):
        vaulted_vars.ActionModule._check_place(Path(path))


def test_what_a_killed_run_has_left_goes_with_the_next_write(vault: vaulted_vars.RunVault, tmp_path: Path) -> None:
    """Also where there is nothing to write; files of others with such names, as of an editor, stay."""
    path = tmp_path / "identities.yml"
    change = vaulted_vars.Change(*record("AKIA1", SECRET))
    swap = tmp_path / ".identities.yml.swp"
    swap.touch()
    for _run in range(2):
        (tmp_path / ".identities.yml.x1y2z3.new").write_text("half a fi")
        change.make(path, vault)
        assert sorted(tmp_path.iterdir()) == [swap, path]
