# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into a package, and when one is built again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.filter.own_nims import own_nims
from ansible_collections.budgetguard.techops.plugins.module_utils import _package
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_build as build
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from tests.unit.packages import made


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([], "nodes is empty; name at least one node"),
        ([{"node": "FLUX Dve"}], "nodes[0] (FLUX Dve): "),
        ([{"node": "SDXL"}], "there is no container image of SDXL"),
        ([{"node": "FLUX Dev", "tag": "a:b"}], "nodes[0] (FLUX Dev): tag must be an image tag as text"),
        ([{"node": "FLUX Dev", "port": 80}], "the port is 80; it must be between 1024 and 65535"),
        ([{"node": "FLUX Dev"}, {"node": "flux-dev"}], "FLUX Dev is there twice; name each node once"),
        ([{"node": "FLUX Dev", "port": 9000}, {"node": "FLUX Canny", "port": 9000}], "the port 9000 is given twice"),
        ([{"node": "FLUX Dev", "env": {"NGC_API_KEY": "x"}}], "NGC_API_KEY is a secret and comes from the vault"),
    ],
)
def test_what_cannot_be(nodes: list[dict[str, t.Any]], told: str) -> None:
    with pytest.raises(_package.AskError) as caught:
        _package.resolve(nodes, {}, 8000)
    assert told in str(caught.value)


def test_ports_do_not_clash() -> None:
    nodes: list[dict[str, t.Any]] = [{"node": "FLUX Dev"}, {"node": "FLUX Canny", "port": 8001}]
    nodes += [{"node": "FLUX Depth"}, {"node": "Llama 3.1"}]
    assert [item.port for item in _package.resolve(nodes, {}, 8000)] == [8000, 8001, 8002, 8003]


def test_compose_file() -> None:
    (item,) = _package.resolve([{"node": "FLUX Canny", "env": {"A": 'costs $5: "x"'}}], {}, 8000)
    parsed = yaml.safe_load(_package.compose_file(item))
    service = parsed["services"]["nim"]
    assert service["environment"]["NIM_MODEL_VARIANT"] == "canny"
    assert service["environment"]["A"] == 'costs $$5: "x"', "a dollar sign is no variable of ours"
    assert {key for key, value in service["environment"].items() if value is None} == {"NGC_API_KEY", "HF_TOKEN"}
    assert (service["restart"], service["user"], service["shm_size"]) == ("no", "${NIM_USER:-1000}", "16gb")
    assert service["ports"] == ["${NIM_BIND_ADDRESS:-127.0.0.1}:${NIM_PORT:-8000}:8000"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["${NIM_GPU_0:-0}"]
    assert service["healthcheck"]["start_period"] == "1800s"
    assert parsed["volumes"]["cache"]["name"] == "${NIM_NAME:-nim-flux-canny}-cache"


def test_node_with_several_gpus() -> None:
    catalog = {"Big": {"image": "nvcr.io/nim/x", "tag": "1", "kind": "llm", "min_gpu_memory_gib": 90,
                       "min_host_memory_gib": 1, "gpus_by_tier": {"l40s": 2, "h100": 2}, "source": "test"}}  # fmt: skip
    (item,) = _package.resolve([{"node": "Big"}], catalog, 8000)
    assert '- "${NIM_GPU_0:-0}"\n                - "${NIM_GPU_1:-1}"' in _package.compose_file(item)


def test_licences_are_told() -> None:
    text = _package.licences_file(made.items())
    assert "FLUX.1-Canny-dev  https://huggingface.co/black-forest-labs/FLUX.1-Canny-dev  NOT FOR COMMERCIAL" in text
    assert text in _package.readme_file(made.items())


def found(path: Path) -> tuple[dict[str, t.Any] | None, str | None]:
    return build.found_manifest(path, False, lambda _text: None)


def test_reasons(tmp_path: Path) -> None:
    path = tmp_path / "nims.zip"
    items = made.items()
    same = dict.fromkeys((item.image for item in items), "sha256:one")

    def reason(**changes: t.Any) -> str | None:
        manifest = found(path)[0]
        given = {"items": items, "architecture": "amd64", "identities": same, "models": {}, **changes}
        return _package.rebuild_reason(manifest, **given)

    assert reason() == "there is no package yet"
    made.package(path)
    assert reason() is None
    image = items[0].image
    assert reason(identities={image: "sha256:two"}) == f"{image} is sha256:two now; the package has sha256:one"
    assert reason(architecture="arm64") == "it is for amd64, and arm64 is asked for"
    assert reason(items=items[:1]) == "it has FLUX Dev, FLUX Canny, and FLUX Dev is asked for"
    newer = made.items([{**made.NODES[0], "tag": "9.9"}, made.NODES[1]])
    assert (
        reason(items=newer, identities={**same, newer[0].image: "x"})
        == f"FLUX Dev has another image than {newer[0].image}"
    )
    moved = made.items([{**made.NODES[0], "port": 9000}, made.NODES[1]])
    assert reason(items=moved) == "FLUX Dev is another in the catalogue or in what is asked for: port"
    path.write_bytes(path.read_bytes()[:-5])
    manifest, damage = found(path)
    assert manifest is None
    assert damage is not None
    assert "is not a whole package" in damage


def test_damage_in_a_layer_is_found_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "nims.zip"
    made.package(path)
    content = made.members(path)
    layer = next(item for item in content if item.data.startswith(b"\x1f\x8b"))
    raw = bytearray(path.read_bytes())
    raw[raw.index(layer.data) + 3] ^= 1
    path.write_bytes(bytes(raw))
    assert build.found_manifest(path, False, lambda _text: None)[1] is None
    assert "is damaged" in str(build.found_manifest(path, True, lambda _text: None)[1])


def test_same_package_has_the_same_bytes(tmp_path: Path) -> None:
    first = made.package(tmp_path / "a.zip")
    second = made.package(tmp_path / "b.zip")
    assert first == second
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert first.manifest_sha256 == hashlib.sha256(json.dumps(first.manifest, indent=1).encode() + b"\n").hexdigest()


def test_failed_build_leaves_the_old_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nims.zip"
    made.package(path)
    before = path.read_bytes()

    def fail(*_words: t.Any) -> t.Any:
        raise ProviderError("the registry is gone")

    monkeypatch.setattr(made.MadeUp, "write", fail)
    with pytest.raises(ProviderError):
        made.package(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["nims.zip"]


def test_two_builds_at_once(tmp_path: Path) -> None:
    path = tmp_path / "nims.zip"
    with build._part(path) as first:
        first.write(b"x")
        with pytest.raises(ProviderError, match="another run is building"):
            made.package(path)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.MadeUp, "size", lambda *_words: 2**60)
    with pytest.raises(ProviderError, match=r"GiB free, and the package takes up to .* GiB; nothing was built"):
        made.package(tmp_path / "new" / "nims.zip")
    assert not (tmp_path / "new").exists()


class TestModel:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "model"
        (folder / "blobs").mkdir(parents=True)
        (folder / "blobs" / "weights").write_bytes(os.urandom(30_000))
        (folder / ("long" * 40)).write_bytes(b"x")
        (folder / "empty").write_bytes(b"")
        (folder / "snapshot").symlink_to("blobs/weights")
        return folder

    def test_tar(self, folder: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(b"".join(build.model_chunks(folder)))) as tar:
            files = {entry.name: entry for entry in tar}
            weights = tar.extractfile("blobs/weights")
            assert weights is not None
            assert weights.read() == (folder / "blobs" / "weights").read_bytes()
        assert set(files) == {"blobs", "blobs/weights", "empty", "long" * 40, "snapshot"}
        assert files["snapshot"].linkname == "blobs/weights"
        assert {(entry.uid, entry.mtime) for entry in files.values()} == {(0, 0)}

    def test_fingerprint(self, folder: Path) -> None:
        before = build.fingerprint(folder)
        assert build.fingerprint(folder) == before
        (folder / "empty").write_bytes(b"more")
        assert build.fingerprint(folder) != before

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ProviderError, match="holds no file; start the NIM once"):
            build.fingerprint(tmp_path / "empty")
        with pytest.raises(ProviderError, match="No such file"):
            build.fingerprint(tmp_path / "no")

    def test_link_to_the_outside(self, folder: Path) -> None:
        (folder / "bad").symlink_to("/etc/passwd")
        with pytest.raises(ProviderError, match="links to '/etc/passwd', out of the model cache"):
            b"".join(build.model_chunks(folder))

    def test_pipe(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        with pytest.raises(ProviderError, match="neither a file nor a folder nor a symbolic link"):
            b"".join(build.model_chunks(folder))

    def test_change_while_it_is_read(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        content = build._content

        def meddling(path: Path, size: int) -> t.Iterator[bytes]:
            (folder / "new").write_bytes(b"x")
            return content(path, size)

        monkeypatch.setattr(build, "_content", meddling)
        with pytest.raises(ProviderError, match="changed while it was read; stop the NIM that uses it"):
            made.package(tmp_path / "nims.zip", folder)


def deployment(**changes: t.Any) -> dict[str, t.Any]:
    return {"name": "nim-flux-dev-rtx-4090", "node": "FLUX Dev", "endpoint": "http://127.0.0.1:8000",
            "gpu_tier": "rtx-4090", "serves": ["FLUX Dev"], "kind": "image", **changes}  # fmt: skip


def test_own_nims_stand_in_the_document_of_their_workstation() -> None:
    cloud = {"url": "http://a", "target": "aws"}
    old = {"url": "http://127.0.0.1:1", "target": "ws-01"}
    document: dict[str, t.Any] = {
        "version": "1.0",
        "generated_at": "x",
        "nim_endpoints": {"FLUX Dev": {"aws": [cloud], "local": [old]}, "SDXL": {"local": [old]}},
        "credentials_status": {},
    }
    result = own_nims(document, "ws-01", [deployment()])
    (entry,) = result["nim_endpoints"]["FLUX Dev"]["local"]
    assert (entry["url"], entry["target"], entry["gpu_tier"]) == ("http://127.0.0.1:8000", "ws-01", "rtx-4090")
    assert result["nim_endpoints"]["FLUX Dev"]["aws"] == [cloud]
    assert "SDXL" not in result["nim_endpoints"], "it is gone from the workstation"
    assert own_nims(json.dumps(document), "ws-01", [deployment()]) == result
    assert document["nim_endpoints"]["FLUX Dev"]["local"] == [old]
