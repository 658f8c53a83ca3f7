# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ansible-test so that it needs nothing but the Python package index and writes nothing outside the checkout.

``python -m tests.tools.offline_ansible_test sanity --test compile`` is ``ansible-test sanity --test compile`` with

* a home folder of its own below ``.cache``, where ansible-test puts its virtual environments;
* a stand-in for the pip bootstrap script, which ansible-test would download from its own server;
* every Python that runs at the head of PATH, so that the compile and import tests cover all of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import ansible_test

from tests.tools import layout, venvs

__all__ = ["environment", "prepare_home", "with_own_programs"]

COPIES = layout.CACHE / "ansible-test"
"""The runs of one test, and those of several, have a copy each, so that gates can run at the same time."""
HOME = layout.CACHE / "home"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""What the plugins must run on, on the controller or on a target."""

_PIP_STAND_IN = """\
# Install packages with the pip beside this file, as a freshly downloaded get-pip.py would.
import pathlib
import runpy
import sys

sys.path.insert(0, str(pathlib.Path(__file__).with_name("pip-{version}-py3-none-any.whl")))
wanted = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.argv = ["pip", "install", "--upgrade", "--force-reinstall", *wanted]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def with_own_programs() -> dict[str, str]:
    """Return this process's variables with the programs beside its Python first on PATH."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)])}


def environment(collections: Path) -> dict[str, str]:
    """Return the variables that keep Ansible's tools inside the checkout and on the given copy of the collection."""
    return {
        **with_own_programs(),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "HOME": str(HOME),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def prepare_home() -> None:
    """Make the home folder, with the user's own pip settings in it and what ansible-test would download."""
    HOME.mkdir(parents=True, exist_ok=True)
    for name in (".config/pip", ".pip", ".cache/pip"):
        real, ours = Path.home() / name, HOME / name
        if real.exists() and not ours.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(real)
    _stand_in_for_pip_script()


def _pip_version() -> str:
    """Return the version of pip that this ansible-test asks for."""
    source = Path(str(ansible_test.__path__[0]), "_internal", "python_requirements.py").read_text(encoding="utf-8")
    found = re.search(r"\bpip='([0-9.]+)'", source)
    if not found:
        sys.exit("ansible-test no longer says which pip it wants: _pip_version() has to look elsewhere.")
    return found.group(1)


def _stand_in_for_pip_script() -> None:
    """Put the script where ansible-test looks before it downloads."""
    version = _pip_version()
    folder = HOME / ".ansible" / "test" / "cache"
    script = folder / f"get_pip_{version.replace('.', '_')}.py"
    if script.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*download, f"--dest={folder}", f"pip=={version}"], check=True)
    script.write_text(_PIP_STAND_IN.format(version=version), encoding="utf-8")


def _other_pythons() -> list[str]:
    """Return the folders of the interpreters that are on this machine."""
    folders = []
    for version in PYTHONS:
        with contextlib.suppress(venvs.MissingPythonError):
            folders.append(str(Path(venvs.find_python(version)).parent))
    return folders


def main(arguments: list[str]) -> int:
    """Run ansible-test on the copy of the collection; return its exit code."""
    copy = COPIES / (arguments[arguments.index("--test") + 1] if "--test" in arguments else "several")
    folder = layout.copy(copy)
    pythons = _other_pythons()
    prepare_home()
    variables = environment(copy)
    first, *rest = variables["PATH"].split(os.pathsep)
    variables["PATH"] = os.pathsep.join([first, *pythons, *rest])
    return subprocess.run(["ansible-test", *arguments], cwd=folder, env=variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
