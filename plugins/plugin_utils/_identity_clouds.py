# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The modules C(workstation_credential_<cloud>) in the process of an action.

Each module is a process that loads the libraries of its cloud, which takes as long as all that it does there. Here they
are loaded once per run: Ansible loads an action before it starts the processes of a task. Secrets stay in that process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import traceback
import types
import typing as t
import warnings
from pathlib import Path

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.budgetguard.techops.plugins.module_utils import _identity
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    AWS_IDENTITY,
    AWS_IDENTITY_RULES,
    AZURE_IDENTITY,
    GCP_IDENTITY,
    GCP_IDENTITY_RULES,
    ArgumentSpec,
    Rules,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import MissingLibraryError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import (
    _aws_identity,
    _azure_identity,
    _credential_trial,
    _gcp_identity,
)

Options = t.Mapping[str, t.Any]

_PLUGINS = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """How the module of a cloud checks its options, and what it opens with them."""

    spec: ArgumentSpec
    connect: t.Callable[[Options, str], _identity.IdentityProvider]
    rules: Rules = dataclasses.field(default_factory=dict)

    def checked(self, options: Options) -> dict[str, t.Any]:
        """Return the options with their defaults. Raises ValueError for any that are not right."""
        found = ArgumentSpecValidator({**_identity.IDENTITY, **self.spec}, **self.rules).validate(dict(options))
        if found.error_messages:
            wrong = "; ".join(found.error_messages)
            raise ValueError(f"nim_target or nim_workstation_identity_options is not right: {wrong}")
        return dict(found.validated_parameters)

    def hidden(self, options: Options) -> list[str]:
        """Return what must not be shown of the options."""
        names = [name for name, option in self.spec.items() if option.get("no_log")]
        return [text for name in names if options.get(name) for text in _secrets(str(options[name]))]


CLOUDS: t.Mapping[str, Cloud] = {
    "aws": Cloud(AWS_IDENTITY, _aws_identity.connect, AWS_IDENTITY_RULES),
    "azure": Cloud(AZURE_IDENTITY, _azure_identity.connect),
    "gcp": Cloud(GCP_IDENTITY, _gcp_identity.connect, GCP_IDENTITY_RULES),
}


def bring(provider: str, options: Options, check_mode: bool) -> dict[str, t.Any]:
    """Return what the module of a cloud returns. It has C(failed) and a C(msg) without secrets where it has failed."""
    cloud = CLOUDS[provider]
    try:
        params = cloud.checked(options)
    except ValueError as error:
        return {"failed": True, "msg": f"{error}. Nothing was changed."}
    unforeseen = Unforeseen()
    result: dict[str, t.Any] = {"failed": True}
    with unforeseen, _quiet():
        result = _identity.attempt(lambda name: cloud.connect(params, name), params, check_mode)
    if unforeseen.text:
        result["msg"] = unforeseen.text
    if result.get("failed"):
        for secret in cloud.hidden(params):
            result["msg"] = result["msg"].replace(secret, "***")
    return result


def refusal(provider: str, fields: Options, region: str | None, seconds: float) -> str:
    """Return why a cloud refuses a key; empty if it takes it. The text holds nothing of the key."""
    unforeseen = Unforeseen()
    with unforeseen, _quiet():
        try:
            _credential_trial.try_out(provider, {"Region": region or "us-east-1", **fields}, seconds)
        except MissingLibraryError as error:
            return str(missing_required_lib(error.package))
        except ProviderError as error:
            return str(error)
    return unforeseen.text


class Unforeseen:
    """Keeps one cloud's error that nobody foresaw from stopping what is to be done in the others.

    Its own text may hold anything, so C(text) says where it was instead.
    """

    def __init__(self) -> None:
        self.text = ""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> bool:
        """Take over any error that is no request to stop."""
        if not isinstance(error, Exception):
            return False
        frames = traceback.extract_tb(trace)
        ours = [frame for frame in frames if _PLUGINS in Path(frame.filename).resolve().parents]
        last = (ours or frames)[-1]
        self.text = (
            f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}, which is a defect of this "
            "collection; please report it"
        )
        return True


@contextlib.contextmanager
def _quiet() -> t.Iterator[None]:
    """Keep the libraries' remarks about Python to ourselves.

    Ansible takes warnings over, and in the process of a task its lock may be held for ever by a thread that is not
    there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _secrets(text: str) -> list[str]:
    """Return a secret, and of the content of a key file the key in it, in both forms that an error may show."""
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    key = str(found.get("private_key") or "") if isinstance(found, dict) else ""
    return [text, key, json.dumps(key)[1:-1]] if key else [text]
