# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install packages with a real Docker engine and a real registry: built, read by others, installed, removed."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.budgetguard.techops.plugins.module_utils import _package_build
from tests.docker import packages
from tests.docker.engine import GPUS, NGC_KEY, Engine
from tests.docker.packages import FLUX_IMAGE, OTHER_IMAGE, WORKSTATION_PYTHON, Desk
from tests.docker.studio import Studio
from tests.tools import layout


def states(result: dict[str, t.Any]) -> dict[str, str]:
    """Return node to what became of it."""
    assert "nodes" in result, result
    return {item["node"]: item["state"] for item in result["nodes"]}


def layers_of(package: Path) -> dict[str, list[str]]:
    """Return image to its layers, as the image layout in the package says."""
    with zipfile.ZipFile(package) as archive:
        listing = json.loads(archive.read("images/manifest.json"))
    return {item["RepoTags"][0]: item["Layers"] for item in listing}


def answer_of(port: int) -> int:
    """Wait until the stand-in answers; return the status."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v1/health/ready")
            status = connection.getresponse().status
        except OSError:
            status = 0
        if status == 200 or time.monotonic() > deadline:
            return status
        time.sleep(0.1)


def test_three_nodes_of_one_image_are_one_image(desk: Desk) -> None:
    three = desk.build()
    assert three["reason"] == "there is no package yet"
    assert [image["reference"] for image in three["images"]] == [FLUX_IMAGE]
    assert any(licence["non_commercial"] for licence in three["licences"])
    with zipfile.ZipFile(desk.package) as archive:
        infos = archive.infolist()
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        names = [info.filename for info in infos]
        assert {f"nodes/{slug}/compose.yaml" for slug in ("flux-dev", "flux-canny", "flux-depth")} <= set(names)
        assert b"NOT FOR COMMERCIAL WORK" in archive.read("LICENCES.txt")
        content = sum(info.file_size for info in infos)
    assert len(names) == len(set(names))
    # Each byte is written once. What is written again is the head of each member, to put its size there.
    assert three["size"] - content < 400 * len(names)
    assert three["bytes_written"] - three["size"] < 200 * len(names)
    again = desk.build()
    assert (again["changed"], again["reason"], again["bytes_written"]) == (False, None, 0)
    assert again["manifest_sha256"] == three["manifest_sha256"]

    one = desk.build("FLUX Dev")
    assert one["reason"] == "it has FLUX Dev, FLUX Canny, FLUX Depth, and FLUX Dev is asked for"
    assert three["size"] - one["size"] < 20_000, "two more variants are two more Compose files"


def test_images_share_their_layers(desk: Desk) -> None:
    desk.build("FLUX Dev", "Other")
    layers = layers_of(desk.package)
    assert layers[OTHER_IMAGE][:-1] == layers[FLUX_IMAGE]
    with zipfile.ZipFile(desk.package) as archive:
        blobs = [info for info in archive.infolist() if info.filename.startswith("images/blobs/")]
    wanted = {name for names in layers.values() for name in names}
    assert len(blobs) == len(wanted) + 4, "each layer once, and a config and a manifest for each image"


def test_out_of_the_engine(desk: Desk, engine: Engine) -> None:
    absent = desk.build("FLUX Dev", "Other", source="engine")
    assert absent["failed"]
    assert "is not on this Docker engine; pull it there first, or use source: registry" in absent["msg"]
    for repository in (packages.OTHER, packages.FLUX):
        engine.docker("pull", "--quiet", f"{engine.registry}/{repository}:1.0")
    built = desk.build("FLUX Dev", "Other", source="engine")
    assert not built.get("failed"), built
    layers = layers_of(desk.package)
    assert layers[OTHER_IMAGE][:-1] == layers[FLUX_IMAGE]
    with zipfile.ZipFile(desk.package) as archive:
        names = [info.filename for info in archive.infolist()]
        assert len(names) == len(set(names))
        sizes = sum(info.file_size for info in archive.infolist())
    assert built["bytes_written"] - sizes < 600 * len(names), "layers that the images share were written once"
    ids = {engine.docker("image", "inspect", "--format={{.Id}}", f"{engine.registry}/{packages.FLUX}:1.0")}
    assert ids == {built["images"][0]["identity"]}
    assert not desk.build("FLUX Dev", "Other", source="engine")["changed"]
    engine.docker("image", "prune", "--all", "--force")
    assert states(desk.install(skip_fit_check=True)) == {"FLUX Dev": "created", "Other": "created"}
    assert engine.docker("image", "inspect", "--format={{.Id}}", FLUX_IMAGE) in ids, "it is the same image"


def test_disk_never_holds_more_than_package_and_largest_image(desk: Desk, engine: Engine) -> None:
    """The engine's own folder for docker save is measured while each layer goes through, as is the package."""
    for repository in (packages.OTHER, packages.FLUX):
        engine.docker("pull", "--quiet", f"{engine.registry}/{repository}:1.0")
    largest = int(engine.docker("image", "inspect", "--format={{.Size}}", f"{engine.registry}/{packages.OTHER}:1.0"))
    peaks: list[int] = []
    write = _package_build.PackageWriter._write

    def measured(writer: t.Any, name: str, *words: t.Any, **options: t.Any) -> t.Any:
        blob = write(writer, name, *words, **options)
        kept = [path for path in (engine.folder / "data" / "tmp").rglob("*") if path.is_file()]
        peaks.append(sum(path.stat().st_size for path in [*kept, *desk.package.parent.iterdir()]))
        return blob

    desk.patch.setattr(_package_build.PackageWriter, "_write", measured)
    built = desk.build("FLUX Dev", "Other", source="engine")
    assert not built.get("failed"), built
    assert max(peaks) > largest, "the engine's folder was seen"
    assert max(peaks) <= built["size"] + largest * 1.02
    peaks.clear()
    desk.package.unlink()
    built = desk.build("FLUX Dev", "Other")
    assert max(peaks) <= built["size"] + 100_000, "straight from the registry nothing else is written"


def test_others_read_it(desk: Desk, tmp_path: Path) -> None:
    """Unpacked, the images are an OCI layout: skopeo, podman and docker load take it as it is."""
    for program in ("skopeo", "podman"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not on this machine; on Debian: {program}")
    desk.build("FLUX Dev", "Other")
    with zipfile.ZipFile(desk.package) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            archive.extract(name, tmp_path / "unpacked")
    images = tmp_path / "unpacked" / "images"
    for reference in (FLUX_IMAGE, OTHER_IMAGE):
        said = json.loads(_run("skopeo", "inspect", f"oci:{images}:{reference}"))
        assert said["Architecture"] == "amd64"
        _run("skopeo", "copy", "--insecure-policy", f"oci:{images}:{reference}", f"dir:{tmp_path / 'copied'}")
        assert (tmp_path / "copied" / "manifest.json").exists()
    archive_path = tmp_path / "images.tar"
    with tarfile.open(archive_path, "w") as tar:
        tar.add(images, arcname=".")
    # Podman takes short paths only.
    with tempfile.TemporaryDirectory(prefix="bgpm-") as short:
        podman = ("podman", f"--root={short}/root", f"--runroot={short}/run", "--storage-driver=vfs")
        _run(*podman, "--cgroup-manager=cgroupfs", "--events-backend=none", "load", "--input", str(archive_path))
        found = _run(*podman, "images", "--noheading", "--format={{.Repository}}:{{.Tag}}").split()
        assert {FLUX_IMAGE, OTHER_IMAGE} <= set(found)
        _run(*podman, "rmi", "--all", "--force")
    desk.engine.docker("load", "--quiet", given=archive_path.read_bytes())
    assert {FLUX_IMAGE, OTHER_IMAGE} <= desk.engine.images()


def _run(*words: str) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_compose_reads_the_files(desk: Desk, tmp_path: Path) -> None:
    """Docker Compose itself reads each file, with and without the file of variables."""
    desk.build()
    with zipfile.ZipFile(desk.package) as archive:
        for slug, number in (("flux-dev", 0), ("flux-canny", 1), ("flux-depth", 2)):
            path = tmp_path / f"{slug}.yaml"
            path.write_bytes(archive.read(f"nodes/{slug}/compose.yaml"))
            service = yaml.safe_load(_run("docker-compose", "-f", str(path), "config"))["services"]["nim"]
            port = service["ports"][0]
            if isinstance(port, dict):
                # Compose 2 writes it out.
                port = f"{port['host_ip']}:{port['published']}:{port['target']}/{port['protocol']}"
            assert port == f"127.0.0.1:{packages.FIRST_PORT + number}:8000/tcp"
            assert service["restart"] == "no"
            (device,) = service["deploy"]["resources"]["reservations"]["devices"]
            assert (device["driver"], device["device_ids"], device["capabilities"]) == ("nvidia", ["0"], ["gpu"])


def test_workstation_without_a_network(desk: Desk, engine: Engine) -> None:
    """From the package to a stand-in that answers, with the model in the package: no registry, no key."""
    model = desk.folder / "model"
    (model / "blobs").mkdir(parents=True)
    (model / "blobs" / "weights").write_bytes(packages.noise(5, 300_000))
    (model / "snapshot").symlink_to("blobs/weights")
    node = {"node": "FLUX Dev", "model_cache": str(model), "env": {"STAND_IN_OFFLINE": "1"}}
    assert not desk.build(node).get("failed")
    rebuilt = desk.build(node)
    assert (rebuilt["changed"], rebuilt["reason"]) == (False, None)
    engine.processes[0].send_signal(signal.SIGSTOP)
    try:
        code, said = desk.program("install", "--package", str(desk.package))
        assert code == 0, said
        assert "Nothing runs yet. Start a NIM with" in said
        assert "NOT for commercial work" in said
        info = engine.inspect("nim-flux-dev-l40s")
        assert info["State"]["Status"] == "created"
        assert info["HostConfig"]["RestartPolicy"]["Name"] in ("no", "")
        assert info["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == [GPUS[0]]
        assert info["HostConfig"]["ShmSize"] == 2**30
        assert info["Config"]["User"] == "1000"
        assert info["Config"]["Healthcheck"]["StartPeriod"] == 1800 * 10**9
        assert not [text for text in info["Config"]["Env"] if text.startswith(("NGC_API_KEY=", "HF_TOKEN="))]
        engine.docker("start", "nim-flux-dev-l40s")
        port = json.loads((desk.installed("flux-dev") / "installed.json").read_text())["port"]
        assert answer_of(port) == 200, engine.docker("logs", "nim-flux-dev-l40s")
        listed = engine.docker("exec", "nim-flux-dev-l40s", "busybox", "ls", "-ln", "/opt/nim/.cache/blobs/weights")
        assert listed.split()[2] == "1000"
        copy = engine.docker("exec", "nim-flux-dev-l40s", "busybox", "sha256sum", "/opt/nim/.cache/snapshot")
        assert copy.split()[0] == _sha256(model / "blobs" / "weights")
        code, said = desk.program("install", "--package", str(desk.package))
        assert (code, "FLUX Dev: unchanged" in said) == (0, True), said
        code, said = desk.program("list")
        assert (code, said.startswith("nim-flux-dev-l40s: running (")) == (0, True), said
        assert said.endswith(f"at 127.0.0.1:{port}\n"), said
        engine.docker("rm", "--force", "nim-flux-dev-l40s", "--volumes")
        engine.docker("volume", "rm", "nim-flux-dev-l40s-cache")
        code, said = desk.program("install", "--package", str(desk.package))
        assert (code, "FLUX Dev: created" in said) == (0, True), said
        copied = engine.docker("cp", "nim-flux-dev-l40s:/opt/nim/.cache/blobs/weights", str(desk.folder / "again"))
        assert _sha256(desk.folder / "again") == _sha256(model / "blobs" / "weights"), copied
    finally:
        engine.processes[0].send_signal(signal.SIGCONT)
    code, said = desk.program("uninstall")
    assert code == 0, said
    assert desk.program("list") == (0, "Nothing is installed.\n")
    assert (engine.containers(), engine.volumes(), engine.images()) == (set(), set(), set())
    assert not desk.installed("flux-dev").exists()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_install_and_again_and_remove(desk: Desk, engine: Engine, studio: Studio) -> None:
    desk.build("FLUX Dev", "FLUX Canny", "Other")
    names = {"nim-flux-dev-l40s", "nim-flux-canny-l40s", "nim-other-l40s"}
    predicted = desk.install(check=True, ngc_api_key=NGC_KEY)
    assert (engine.containers(), engine.images()) == (set(), set())
    first = desk.install(ngc_api_key=NGC_KEY)
    assert first["changed"]
    for node in (*predicted["nodes"], *first["nodes"]):
        # Somebody else on this machine may take the port meanwhile.
        assert node.pop("url") == f"http://127.0.0.1:{node['port']}"
    ports = [[node.pop("port") for node in result["nodes"]] for result in (predicted, first)]
    assert (predicted["nodes"], predicted["loaded_images"]) == (first["nodes"], first["loaded_images"])
    assert set(states(first).values()) == {"created"}
    assert engine.containers() == names
    assert sorted(first["loaded_images"]) == [FLUX_IMAGE, OTHER_IMAGE]
    assert [len(set(chosen)) for chosen in ports] == [3, 3]
    again = desk.install()
    assert (again["changed"], set(states(again).values())) == (False, {"unchanged"}), again
    assert again["verified_bytes"] < 100_000, "layers that are not loaded are not read again"
    assert (desk.installed("flux-dev") / ".env").stat().st_mode & 0o777 == 0o600
    assert NGC_KEY in (desk.installed("flux-dev") / ".env").read_text(), "a key that is there stays"

    found = {item["name"]: item for item in studio.read()}
    assert set(found) == names
    canny = found["nim-flux-canny-l40s"]
    url = f"http://127.0.0.1:{ports[1][1]}"
    assert (canny["state"], canny["node"], canny["endpoint"]) == ("stopped", "FLUX Canny", url)
    assert canny["variants"] == {"FLUX Canny": "canny"}

    engine.docker("rm", "nim-flux-canny-l40s")
    engine.docker("rmi", "--force", OTHER_IMAGE)
    repaired = desk.install()
    assert states(repaired) == {"FLUX Dev": "unchanged", "FLUX Canny": "created", "Other": "updated"}
    assert repaired["loaded_images"] == [OTHER_IMAGE]

    gone = desk.install(state="absent", nodes=["FLUX Dev", "other"])
    assert states(gone) == {"FLUX Dev": "removed", "Other": "removed"}
    assert gone["removed_images"] == [OTHER_IMAGE], "another node still uses the other image"
    assert engine.containers() == {"nim-flux-canny-l40s"}
    assert states(desk.install(state="absent")) == {"FLUX Canny": "removed"}
    assert (engine.containers(), engine.volumes(), engine.images()) == (set(), set(), set())
    assert not desk.install(state="absent")["changed"]


def test_a_new_package_replaces_what_differs(desk: Desk, engine: Engine) -> None:
    desk.build("FLUX Dev")
    desk.install(ngc_api_key=NGC_KEY)
    engine.docker("start", "nim-flux-dev-l40s")
    changed = {"node": "FLUX Dev", "env": {"NIM_LOG_LEVEL": "debug"}}
    built = desk.build(changed)
    assert built["reason"] == "nodes/flux-dev/compose.yaml has changed"
    refused = desk.install()
    assert refused["failed"]
    assert "but it runs; stop it first (docker stop nim-flux-dev-l40s)" in refused["msg"]
    assert engine.inspect("nim-flux-dev-l40s")["State"]["Running"]
    replaced = desk.install(replace_running=True)
    assert states(replaced) == {"FLUX Dev": "updated"}
    info = engine.inspect("nim-flux-dev-l40s")
    assert (info["State"]["Running"], "NIM_LOG_LEVEL=debug" in info["Config"]["Env"]) == (False, True)


def test_tags_that_move_and_why_it_is_built_again(desk: Desk, engine: Engine) -> None:
    packages.publish(engine, "nim/test/moving", b"one")
    catalog = {**packages.CATALOG, "Moving": {**packages.CATALOG["Other"], "image": "nvcr.io/nim/test/moving"}}
    first = desk.build("Moving", nim_catalog=catalog)
    packages.publish(engine, "nim/test/moving", b"two")
    predicted = desk.build("Moving", nim_catalog=catalog, check=True)
    assert predicted["changed"]
    assert f"the package has {first['images'][0]['identity']}" in predicted["reason"]
    assert predicted["size"] is None
    assert desk.build("Moving", nim_catalog=catalog)["manifest_sha256"] != first["manifest_sha256"]
    pinned = {"node": "Moving", "tag": f"1.0@{first['images'][0]['identity']}"}
    again = desk.build(pinned, nim_catalog=catalog)
    assert again["images"][0]["manifest_digest"] == first["images"][0]["manifest_digest"]
    bigger = {**catalog, "Moving": {**catalog["Moving"], "disk_gib": 7}}
    assert "Moving is another in the catalogue" in desk.build(pinned, nim_catalog=bigger)["reason"]
    assert desk.build(pinned, nim_catalog=bigger, force=True)["reason"] == "force is set"


def test_nothing_is_loaded_from_a_package_that_was_changed(desk: Desk, engine: Engine) -> None:
    desk.build("FLUX Dev", "Other")
    good = desk.package.read_bytes()
    with zipfile.ZipFile(desk.package) as archive:
        last = max((i for i in archive.infolist() if i.file_size > 2**20), key=lambda info: info.header_offset)
    spoilt = bytearray(good)
    spoilt[last.header_offset + last.file_size // 2] ^= 1
    desk.package.write_bytes(bytes(spoilt))
    refused = desk.install()
    assert refused["failed"]
    assert f"the member '{last.filename}' is damaged" in refused["msg"]
    desk.package.write_bytes(good[:-1000])
    assert "Was it copied completely? Copy it again" in desk.install()["msg"]
    assert (engine.images(), engine.containers(), engine.volumes()) == (set(), set(), set())
    assert not (desk.home / ".budgetguard_local").exists()
    assert desk.build("FLUX Dev", "Other")["reason"].endswith("Copy it again"), "one that is cut off is built again"
    assert desk.build(state="absent")["changed"]
    assert not desk.build(state="absent")["changed"]
    assert {path.name for path in desk.package.parent.iterdir()} == {"install.py"}


def test_a_killed_build_leaves_the_old_package(desk: Desk, engine: Engine) -> None:
    """The build is a process of its own that is killed in the middle of a layer."""
    desk.build("FLUX Dev")
    before = desk.package.read_bytes()
    killed = """
import os, signal, sys
from ansible_collections.budgetguard.techops.plugins.module_utils import _package_build as build
from ansible_collections.budgetguard.techops.plugins.modules import nim_package
write, seen = build.Counted.write, []
def counting(self, data):
    seen.append(len(data))
    if sum(seen) > 2_000_000:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, data)
build.Counted.write = counting
nim_package.main()
"""
    options = {
        "path": str(desk.package),
        "nodes": [{"node": "FLUX Dev"}, {"node": "Other"}],
        "registry": engine.registry,
        "registry_username": "$oauthtoken",
        "registry_password": NGC_KEY,
        "docker_host": engine.socket,
        "nim_catalog": packages.CATALOG,
        "first_port": packages.FIRST_PORT,
    }
    done = subprocess.run(
        [sys.executable, "-c", killed],
        env={**os.environ, "PYTHONPATH": f"{layout.ROOT}{os.pathsep}{layout.LINKS}"},
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    part = desk.package.with_name("nims.zip.part")
    assert part.stat().st_size > 1_000_000
    assert desk.package.read_bytes() == before
    rebuilt = desk.build("FLUX Dev", "Other")
    assert not rebuilt.get("failed"), rebuilt
    assert {path.name for path in desk.package.parent.iterdir()} == {"nims.zip", "install.py"}
    assert desk.program("verify", "--package", str(desk.package))[0] == 0


def test_a_registry_that_refuses(desk: Desk) -> None:
    wrong = desk.build(registry_password="nvapi-WrOnGkey-81Zr0QmTvX3")
    assert "the registry does not accept the login" in wrong["msg"]
    assert "WrOnG" not in json.dumps(wrong)
    missing = desk.build({"node": "FLUX Dev", "tag": "9.9"})
    assert "the registry has no such image or tag (404)" in missing["msg"]
    arm = desk.build("FLUX Dev", architecture="arm64", check=True)
    assert "is not there for linux/arm64, only for linux/amd64" in arm["msg"]
    assert not desk.package.parent.exists()


def test_install_that_was_killed_goes_on(desk: Desk, engine: Engine) -> None:
    """install.py is killed between its two images; the second run loads the one that is missing."""
    desk.build("FLUX Dev", "Other")
    killed = f"""
import runpy, os, signal, subprocess
popen = subprocess.Popen
class Killing(popen):
    loads = 0
    def __init__(self, words, *rest, **options):
        Killing.loads += "load" in words
        if Killing.loads == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(words, *rest, **options)
subprocess.Popen = Killing
import sys
sys.argv = ["install.py", "install", "--package", {str(desk.package)!r}]
runpy.run_path({str(desk.package.with_name("install.py"))!r}, run_name="__main__")
"""
    done = subprocess.run(
        [WORKSTATION_PYTHON, "-c", killed],
        env={**os.environ, "DOCKER_HOST": engine.socket},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (engine.images(), engine.containers()) == ({FLUX_IMAGE}, set())
    rest = desk.install()
    assert rest["loaded_images"] == [OTHER_IMAGE]
    assert set(states(rest).values()) == {"created"}
