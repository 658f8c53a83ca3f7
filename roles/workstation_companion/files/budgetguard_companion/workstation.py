# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where config, key and settings are on this workstation. They are read anew each time, so nothing needs a restart."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .envelope import ConfigError, Opened, open_config
from .ledger import NAME as USAGE
from .ledger import Ledger
from .messages import CALL

CONFIG = Path("budgetguard") / "budgetguard_backend_config.json"
CREDENTIAL = "budgetguard-studio-key"
DEFAULT_KEY = "~/.config/budgetguard/studio.key"
DOOR_FILE = "~/.config/budgetguard/companion.token"
LIBRARIES = Path("budgetguard") / "python" / str(sys.implementation.cache_tag)
LARGEST = 4 * 1024 * 1024
TIME_LIMIT = 300


@dataclass(frozen=True)
class Settings:
    """What the role set: where key and token are, how many seconds a request may take, and how TechOps is reached."""

    key_path: str = DEFAULT_KEY
    time_limit: int = TIME_LIMIT
    token_path: str = DOOR_FILE
    contact: str = ""


def read_settings(folder: Path) -> Settings:
    """Return the settings beside this program; where there are none, or broken ones, those that are usual."""
    try:
        found = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Settings()
    if not isinstance(found, dict):
        return Settings()
    limit = found.get("time_limit")
    return Settings(
        key_path=str(found.get("key_path") or DEFAULT_KEY),
        time_limit=limit if isinstance(limit, int) and limit > 0 else TIME_LIMIT,
        token_path=str(found.get("token_path") or DOOR_FILE),
        contact=str(found.get("contact") or ""),
    )


class Workstation:
    """The files of one workstation: below ComfyUI's base folder, in our own folder, and the key."""

    def __init__(self, base: Path, own: Path, environment: t.Mapping[str, str] | None = None) -> None:
        self.base = base
        self._own = own
        self._environment = os.environ if environment is None else environment
        self.ledger = Ledger(base / CONFIG.parent / USAGE)

    @property
    def settings(self) -> Settings:
        """What the role set last."""
        return read_settings(self._own)

    def open(self) -> Opened:
        """Read and open the config. Raises ConfigError with the reason."""
        content = self._config()
        self._find_libraries()
        return open_config(content, self._key_lines())

    def token(self) -> str:
        """Return what has to be shown to start and stop NIMs over the network; nothing where the role put none."""
        try:
            return Path(self.settings.token_path).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, RuntimeError, UnicodeDecodeError):
            return ""

    def named(self, text: str) -> str:
        """Return a text that says whom to call with how, where TechOps has told it."""
        contact = self.settings.contact
        return text.replace(CALL, f"{CALL} ({contact})") if contact else text

    def _config(self) -> bytes:
        path = self.base / CONFIG
        try:
            if path.stat().st_size > LARGEST:
                raise ConfigError("bad_config", f"'{path}' is too large to be a config.")
            return path.read_bytes()
        except FileNotFoundError:
            raise ConfigError("no_config", f"There is no '{path}'.") from None
        except OSError as error:
            raise ConfigError("no_config", f"'{path}' cannot be read: {error.strerror}.") from None

    def _key_lines(self) -> list[str]:
        """Return the lines of all key files there are. What systemd handed over is as old as ComfyUI's last start."""
        lines: list[str] = []
        problems = []
        for path in self._key_files():
            try:
                lines += path.read_text(encoding="utf-8").splitlines()[:20]
            except OSError as error:
                problems.append(f"'{path}': {error.strerror}")
            except UnicodeDecodeError:
                problems.append(f"'{path}': not a text")
        if not lines:
            raise ConfigError("no_key", f"There is no key: {'; '.join(problems)}.")
        return lines

    def _key_files(self) -> list[Path]:
        folder = self._environment.get("CREDENTIALS_DIRECTORY")
        given = [Path(folder) / CREDENTIAL] if folder else []
        return [*given, Path(self.settings.key_path).expanduser()]

    def _find_libraries(self) -> None:
        """Let Python find what the role installed for it, after everything ComfyUI has itself."""
        folder = str(self.base / LIBRARIES)
        if folder not in sys.path and Path(folder).is_dir():
            sys.path.append(folder)
