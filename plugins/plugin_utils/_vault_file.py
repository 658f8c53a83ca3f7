# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A vars file with inline C(!vault) values that this collection writes. Pure: text in, text out.

A file that is encrypted as a whole could not be read by tools that have no vault password, such as an inventory source.
"""

from __future__ import annotations

import typing as t

import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils._identities import without

HEADER = "# Written by budgetguard.techops.vaulted_vars: changes by hand are lost."

Variables = dict[str, t.Any]


class VaultFileError(ValueError):
    """The file, or what should be in it, has the wrong form. The text says where, and holds no secret."""


class Ciphertext(str):
    """An encrypted value, as it stands in the file."""


class Vault(t.Protocol):
    """What encrypts and decrypts."""

    def encrypt(self, plaintext: str) -> str:
        """Return the text of an inline value."""

    def decrypt(self, ciphertext: str) -> str | None:
        """Return the plain text; None where none of the passwords fits."""


class _Loader(yaml.SafeLoader):
    """Reads what is written here."""


class _Dumper(yaml.SafeDumper):
    """Writes encrypted values as Ansible expects them."""

    def ignore_aliases(self, data: t.Any) -> bool:
        """Write a value twice rather than refer to it."""
        return True


_Loader.add_constructor(
    "!vault", lambda loader, node: Ciphertext(loader.construct_scalar(t.cast("yaml.ScalarNode", node)))
)
_Dumper.add_representer(
    Ciphertext, lambda dumper, value: dumper.represent_scalar("!vault", value.rstrip("\n") + "\n", style="|")
)


def read(text: str, path: str) -> Variables:
    """Return the variables of a file. Raises VaultFileError for one that somebody else wrote."""
    if not text.strip():
        return {}
    if HEADER not in text.splitlines()[:5]:
        raise VaultFileError(f"{path} was not written by this module, and would be overwritten; choose another name")
    try:
        found = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise VaultFileError(f"{path}{line}: is not YAML; repair or remove the file") from error
    if not isinstance(found, dict):
        raise VaultFileError(f"{path}: must be a mapping of variables; repair or remove the file")
    return found


def write(variables: Variables) -> str:
    """Return the text of a file."""
    body = yaml.dump(variables, Dumper=_Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True, width=120)
    return f"---\n{HEADER}\n\n{body}"


def merge(
    found: Variables, variables: Variables, secrets: Variables, absent: t.Iterable[str], vault: Vault
) -> Variables:
    """Return the variables that should be in the file.

    An entry of a variable that is a mapping replaces the entry of the same name; its other entries stay. C(absent) are
    names of variables, or of entries as C(variable.entry). A secret that is there already keeps its ciphertext, since
    encrypting the same text twice gives different ones.
    """
    result = without(found, absent)
    for name, value in _with_secrets(variables, secrets).items():
        old = result.get(name)
        if not isinstance(value, dict):
            result[name] = _settled(old, value, vault)
            continue
        kept = old if isinstance(old, dict) else {}
        result[name] = {**kept, **{key: _settled(kept.get(key), item, vault) for key, item in value.items()}}
    return result


def plain(value: t.Any) -> t.Any:
    """Return a value without what Ansible adds to it, which no YAML writer knows."""
    if isinstance(value, t.Mapping):
        return {_text(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    kind = next((kind for kind in (int, float) if isinstance(value, kind)), _text)
    return kind(value)


def _text(value: t.Any) -> str:
    """Return a plain text. Before ansible-core 2.19, str() of an unsafe text gives an unsafe text again."""
    return str.__str__(value) if isinstance(value, str) else str(value)


_KINDS: t.Mapping[type, str] = {type(None): "empty", bool: "true or false", list: "a list"}


class _Plain(str):
    """A secret that is not encrypted yet."""


def _with_secrets(variables: Variables, secrets: Variables, path: str = "secrets") -> Variables:
    result = dict(variables)
    for name, value in secrets.items():
        where = f"{path}.{name}"
        if isinstance(value, dict):
            inner = result.get(name, {})
            result[name] = _with_secrets(inner if isinstance(inner, dict) else {}, value, where)
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            # Encrypted it would come back as a text: None, or a list as Python spells it.
            raise VaultFileError(f"{where} is {_KINDS.get(type(value), 'of another kind')}; a secret is a text")
        else:
            result[name] = _Plain(value)
    return result


def _settled(old: t.Any, new: t.Any, vault: Vault) -> t.Any:
    """Return the new value with every secret encrypted, in its old ciphertext where that says the same."""
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {key: _settled(before.get(key), value, vault) for key, value in new.items()}
    if not isinstance(new, _Plain):
        return new
    if isinstance(old, Ciphertext) and vault.decrypt(old) == str(new):
        return old
    return Ciphertext(vault.encrypt(str(new)))


def shown(variables: t.Any) -> t.Any:
    """Return what may be shown of a file."""
    if isinstance(variables, dict):
        return {key: shown(value) for key, value in variables.items()}
    return "(encrypted)" if isinstance(variables, Ciphertext) else variables
