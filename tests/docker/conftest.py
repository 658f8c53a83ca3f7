# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One engine for all tests, empty at the start of each."""

from __future__ import annotations

import shutil
import tempfile
import typing as t
from pathlib import Path

import pytest

from tests.docker import engine as engines
from tests.docker import packages
from tests.docker.studio import Studio


@pytest.fixture(scope="session")
def running_engine() -> t.Iterator[engines.Engine]:
    """Start the engine and the registry."""
    reason = engines.missing()
    if reason:
        pytest.skip(reason)
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="bgdk-", ignore_cleanup_errors=True) as name:
        engine = engines.Engine.start(Path(name))
        try:
            engine.publish("1.0", "1.1")
            yield engine
        finally:
            engine.stop()


@pytest.fixture
def engine(running_engine: engines.Engine) -> engines.Engine:
    running_engine.empty()
    return running_engine


@pytest.fixture
def studio(engine: engines.Engine, tmp_path: Path) -> Studio:
    return Studio(tmp_path, engine)


@pytest.fixture(scope="session")
def packaged(running_engine: engines.Engine) -> engines.Engine:
    """Have two images in the registry that share all layers but their last."""
    shared = [packages.noise(1, 3 * 2**20), packages.noise(2, 2**20)]
    flux = packages.publish(running_engine, packages.FLUX, *shared)
    packages.publish(running_engine, packages.OTHER, packages.noise(3, 2**20), base=flux)
    return running_engine


@pytest.fixture
def desk(
    packaged: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> packages.Desk:
    lacking = [name for name in ("docker-compose", "rsync") if not shutil.which(name)]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not on this machine")
    packaged.empty()
    return packages.Desk(packaged, tmp_path, monkeypatch, capsys)
