"""Bundles, releases and heads on their way into the repository, and out of it again."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edge_models.bundle import load_bundle, shipped_bundle, shipped_folder
from edge_models.errors import BundleError
from sync.errors import PublishingError
from sync.federated.lesson import HeadForAll, sign_head
from sync.publishing import drafts
from sync.publishing.bundles import KEPT_SERIALS, bundle_addition
from sync.publishing.keys import SigningKey
from sync.publishing.online import OnlineSigner
from sync.publishing.publication import verified_log
from sync.publishing.releases import platforms_of, release_addition
from sync.publishing.repository import Repository
from sync.publishing.roles import Listed
from sync.updates import archive, deltas
from sync.updates.offers import Kind, Offer, bundle_path, head_path, release_path, wheel_path
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.wheels import Wheel, WheelList, parse_wheel_list, this_platform
from tests.signing import PEOPLE, Reader, first_root, founded, keys_of, now, put_out, served
from tests.test_lesson import identity

Keys = dict[str, SigningKey]
PI, PC = "cp311-linux-aarch64", "cp311-linux-x86_64"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return keys_of(tmp_path / "keys", *PEOPLE, "online")


@pytest.fixture
def repository(tmp_path: Path, keys: Keys) -> Repository:
    return founded(tmp_path / "repository", keys)


# Bundles.


def bundle_folder(folder: Path, version: str, **changed: bytes) -> Path:
    """The shipped bundle as another version of itself, whose card is another."""
    shutil.copytree(shipped_folder(), folder)
    (folder / "CARD.md").write_bytes(b"# Version " + version.encode())
    for name, content in changed.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    about: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    about["version"] = version
    for entry in about["files"]:
        content = (folder / entry["name"]).read_bytes()
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(about, indent=1) + "\n")
    return folder


def published(repository: Repository, keys: Keys, folder: Path) -> Offer:
    state = repository.state()
    addition = bundle_addition(repository, state.bundles.listed, folder)
    staged = drafts.with_addition(repository, state, Kind.BUNDLE, addition, now())
    put_out(repository, staged.signed_by([keys["asha"], keys["ben"]]), keys)
    return addition.offer


def test_a_published_bundle_is_fetched_unpacked_and_loaded(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    offer = published(repository, keys, bundle_folder(tmp_path / "next", "9.0.0"))
    assert (offer.name, offer.serial, offer.says) == ("affect-1", 1, "9.0.0")
    reader = Reader(tmp_path / "device", first_root(repository))
    with served(repository.folder) as url:
        fetched = reader.fetched(url, bundle_path("affect-1", 1))
    assert fetched is not None
    (tmp_path / "fetched").write_bytes(fetched)
    (slot := tmp_path / "slot").mkdir()
    archive.unpack(tmp_path / "fetched", slot)
    assert load_bundle(slot).manifest.version == "9.0.0"


def test_a_bundle_whose_graph_can_not_be_run_is_not_published(
    repository: Repository, tmp_path: Path
) -> None:
    body = (shipped_folder() / "functionals.onnx").read_bytes()
    folder = bundle_folder(tmp_path / "next", "9.0.0", body_onnx=body)
    with pytest.raises(BundleError, match=r"body\.onnx") as refused:
        bundle_addition(repository, (), folder)
    assert refused.value.remedy


def test_patches_lead_from_what_devices_have_to_the_newest(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    """A device packs its slot again: that is the file that the patch starts from."""
    versions = [bundle_folder(tmp_path / f"v{n}", f"9.0.{n}") for n in range(1, 6)]
    for folder in versions:
        offer = published(repository, keys, folder)
    have = {hashlib.sha256(archive.pack(folder)).hexdigest(): folder for folder in
            [*versions[1:4], shipped_folder()]}  # fmt: skip
    assert {delta.from_sha256 for delta in offer.deltas} == set(have)
    reader = Reader(tmp_path / "device", first_root(repository))
    newest = archive.pack(versions[-1])
    with served(repository.folder) as url:
        for delta in offer.deltas:
            patch = reader.fetched(url, delta.path)
            assert patch is not None and len(patch) < 0.05 * len(newest)
            (tmp_path / "old").write_bytes(archive.pack(have[delta.from_sha256]))
            (tmp_path / "patch").write_bytes(patch)
            deltas.patch(tmp_path / "old", tmp_path / "patch", tmp_path / "new", len(newest))
            assert (tmp_path / "new").read_bytes() == newest


def test_only_the_last_few_stay_listed(repository: Repository, keys: Keys, tmp_path: Path) -> None:
    for n in range(1, KEPT_SERIALS + 4):
        published(repository, keys, bundle_folder(tmp_path / f"v{n}", f"9.0.{n}"))
    listed = repository.state().bundles.listed
    serials = sorted(each.offer.serial for each in listed if each.offer)
    assert serials == list(range(3, KEPT_SERIALS + 4))
    wanted = {d.path for each in listed if each.offer for d in each.offer.deltas}
    assert wanted == {each.path for each in listed if each.offer is None}


def test_a_bundle_that_answers_otherwise_here_is_not_signed(
    repository: Repository, tmp_path: Path
) -> None:
    golden = json.loads((shipped_folder() / "golden.json").read_bytes())
    golden["vectors"][0]["embedding"][0] += 100 * golden["step"]
    folder = bundle_folder(tmp_path / "next", "9.0.0", golden_json=json.dumps(golden).encode())
    with pytest.raises(BundleError):
        bundle_addition(repository, [], folder)


def test_a_damaged_bundle_is_not_signed(repository: Repository, tmp_path: Path) -> None:
    folder = bundle_folder(tmp_path / "next", "9.0.0")
    (folder / "head.json").write_bytes(b"{}")
    with pytest.raises(BundleError):
        bundle_addition(repository, [], folder)


def test_the_same_bundle_is_not_published_twice(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    folder = bundle_folder(tmp_path / "next", "9.0.0")
    published(repository, keys, folder)
    with pytest.raises(PublishingError, match="published already, as number 1"):
        published(repository, keys, folder)


def test_the_studys_signature_over_the_policy_is_offered_with_it(
    repository: Repository, tmp_path: Path
) -> None:
    signature = bytes(range(64))
    addition = bundle_addition(repository, [], bundle_folder(tmp_path / "b", "9.0.0"), signature)
    assert addition.offer.policy_signature == signature.hex()


def test_a_file_of_the_repository_that_was_altered_is_not_patched_from(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    published(repository, keys, bundle_folder(tmp_path / "one", "9.0.0"))
    (kept,) = (repository.folder / "targets" / "bundles" / "affect-1").glob("*.bundle")
    kept.write_bytes(b"x" * kept.stat().st_size)
    with pytest.raises(PublishingError, match="was altered"):
        published(repository, keys, bundle_folder(tmp_path / "two", "9.0.1"))


# Releases.


def wheelhouse(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        with zipfile.ZipFile(folder / name, "w") as wheel:
            wheel.writestr(zipfile.ZipInfo("content"), name)  # of no time: the same bytes again
    return folder


COMMON = ("paho_mqtt-2.1.0-py3-none-any.whl",)
NATIVE = (
    "numpy-1.26.4-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
    "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "cryptography-50.0.2-cp39-abi3-manylinux_2_34_aarch64.whl",
    "cryptography-50.0.2-cp39-abi3-manylinux_2_34_x86_64.whl",
)


def own(version: str) -> str:
    return f"sottovoce-{version}-py3-none-any.whl"


def release(repository: Repository, keys: Keys, house: Path, *platforms: str) -> Offer:
    state = repository.state()
    addition = release_addition(
        repository, state.releases.listed, house, platforms or platforms_of(house)
    )
    staged = drafts.with_addition(repository, state, Kind.RELEASE, addition, now())
    put_out(repository, staged.signed_by([keys["asha"], keys["ben"]]), keys)
    return addition.offer


def test_a_release_says_what_each_machine_installs(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    offer = release(repository, keys, wheelhouse(tmp_path / "w", own("0.2.0"), *COMMON, *NATIVE))
    assert (offer.kind, offer.name, offer.serial, offer.says) == (
        Kind.RELEASE, "sottovoce", 1, "0.2.0",
    )  # fmt: skip
    reader = Reader(tmp_path / "device", first_root(repository))
    with served(repository.folder) as url:
        raw = reader.fetched(url, release_path(1))
        assert raw is not None
        listed = parse_wheel_list(raw)
        for platform, machine in ((PI, "aarch64"), (PC, "x86_64")):
            wheels = listed.for_platform(platform)
            assert {wheel.file for wheel in wheels} == {
                own("0.2.0"), *COMMON, *(name for name in NATIVE if machine in name)
            }  # fmt: skip
            for wheel in wheels:
                content = reader.fetched(url, wheel_path(wheel.file))
                assert content is not None and len(content) == wheel.bytes
                assert hashlib.sha256(content).hexdigest() == wheel.sha256
    with pytest.raises(UpdateRejected) as caught:
        listed.for_platform("cp311-linux-riscv64")
    assert caught.value.reason is Reason.NOT_ALLOWED


def test_a_wheel_that_did_not_change_is_the_same_target_in_the_next_release(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    house = wheelhouse(tmp_path / "w", own("0.2.0"), *COMMON, *NATIVE)
    release(repository, keys, house)
    before = {each.path: each.sha256 for each in repository.state().releases.listed}
    (house / own("0.2.0")).unlink()
    release(repository, keys, wheelhouse(house, own("0.3.0")))
    after = {each.path: each.sha256 for each in repository.state().releases.listed}
    new = {path for path in after if path not in before}
    assert new == {release_path(2), wheel_path(own("0.3.0"))}
    assert before.items() <= after.items()


def test_old_releases_go_and_take_their_wheels_along(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    for n in range(1, 7):
        release(repository, keys, wheelhouse(tmp_path / f"w{n}", own(f"0.{n}.0"), *COMMON), PI)
    listed = {each.path for each in repository.state().releases.listed}
    assert listed == {
        *(release_path(n) for n in range(3, 7)),
        *(wheel_path(own(f"0.{n}.0")) for n in range(3, 7)),
        wheel_path(COMMON[0]),
    }


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ((*COMMON, *NATIVE), "no wheel of sottovoce itself"),
        ((own("0.2.0"), *NATIVE[1:]), "no wheel of numpy for cp311-linux-aarch64"),
        ((own("0.2.0"), *NATIVE, NATIVE[0].replace("1.26.4", "1.26.5")), "are both for"),
        ((own("0.2.0"), "notes.txt"), "is not a wheel"),
        ((own("0.2.0"), "numpy-1.26.4.tar.gz"), "is not a wheel"),
    ],
    ids=["not the agent", "not for all", "two versions", "no wheel", "a source"],
)
def test_a_wheelhouse_that_is_not_complete_makes_no_release(
    names: tuple[str, ...], fault: str, repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(PublishingError, match=fault):
        release_addition(repository, [], wheelhouse(tmp_path / "w", *names), [PI, PC])


def test_wheels_for_another_python_or_c_library_are_left_out(
    repository: Repository, tmp_path: Path
) -> None:
    others = (
        "numpy-1.26.4-cp312-cp312-manylinux_2_17_aarch64.whl",
        "numpy-1.26.4-cp311-cp311-musllinux_1_2_aarch64.whl",
        "numpy-1.26.4-cp311-cp311-win_amd64.whl",
        "cryptography-50.0.2-cp312-abi3-manylinux_2_34_aarch64.whl",
    )
    house = wheelhouse(tmp_path / "w", own("0.2.0"), *NATIVE, *others)
    made = parse_wheel_list(release_addition(repository, [], house, [PI]).contents[0].content)
    assert {wheel.file for wheel in made.wheels} == {own("0.2.0"), NATIVE[0], NATIVE[2]}


def test_a_version_is_published_once_and_a_wheel_never_changes_under_its_name(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    house = wheelhouse(tmp_path / "w", own("0.2.0"), *COMMON)
    release(repository, keys, house, PI)
    with pytest.raises(PublishingError, match=r"0\.2\.0 is published already"):
        release(repository, keys, house, PI)
    (house / own("0.2.0")).unlink()
    wheelhouse(house, own("0.3.0"))
    (house / COMMON[0]).write_bytes(b"other content")
    with pytest.raises(PublishingError, match="published already with other content"):
        release(repository, keys, house, PI)


def wheel_list(**changes: Any) -> dict[str, Any]:
    file = own("0.2.0")
    wheel = Wheel(file=file, sha256="0" * 64, bytes=1).model_dump(mode="json")
    return {
        "version": 1, "name": "sottovoce", "serial": 1, "says": "0.2.0", "wheels": [wheel],
        "platforms": [{"name": PI, "files": [file]}],
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"wheels": []},
        {"wheels": wheel_list()["wheels"] * 2},
        {"platforms": [{"name": PI, "files": ["other-1-py3-none-any.whl"]}]},
        {"platforms": [{"name": PI, "files": [own("0.2.0")] * 2}]},
        {"platforms": wheel_list()["platforms"] * 2},
        {"platforms": [{"name": "windows", "files": [own("0.2.0")]}]},
        {"says": "0.3.0"},
        {"serial": 0},
        {"version": 2},
        {"extra": 1},
        {"wheels": [{"file": "../a-1-py3-none-any.whl", "sha256": "0" * 64, "bytes": 1}]},
        {"wheels": [{"file": "-r-1-py3-none-any.whl", "sha256": "0" * 64, "bytes": 1}]},
        {"wheels": [{"file": own("0.2.0"), "sha256": "0" * 64, "bytes": 2**40}]},
    ],
)
def test_a_list_that_does_not_hang_together_is_refused(changes: dict[str, Any]) -> None:
    assert parse_wheel_list(json.dumps(wheel_list()).encode()).says == "0.2.0"
    with pytest.raises(UpdateRejected) as caught:
        parse_wheel_list(json.dumps(wheel_list(**changes)).encode())
    assert caught.value.reason is Reason.MALFORMED


def test_a_list_comes_back_as_it_was_and_a_long_one_is_refused_unread() -> None:
    made = WheelList.model_validate_json(json.dumps(wheel_list()))
    assert parse_wheel_list(made.to_bytes()) == made
    with pytest.raises(UpdateRejected) as caught:
        parse_wheel_list(made.to_bytes() + b" " * 200_000)
    assert caught.value.reason is Reason.TOO_LARGE
    assert this_platform().startswith("cp311-linux-")


# Heads.


def head(number: int, study: str = "north") -> bytes:
    said = HeadForAll(
        version=1, study=study, bundle="affect-1", number=number, head=shipped_bundle().head
    )
    return sign_head(said, identity(study=study))


def test_the_coordinator_publishes_heads_by_itself(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    signer = OnlineSigner(repository, [keys["online"]])
    reader = Reader(tmp_path / "device", first_root(repository))
    with served(repository.folder) as url:
        for number in (1, 3):
            offer = signer.publish_head(head(number), now())
            assert (offer.kind, offer.name, offer.serial) == (Kind.HEAD, "affect-1", number)
            assert reader.fetched(url, head_path("affect-1")) == head(number)
    assert [act.act for act in verified_log(repository)] == ["root-init", "head", "head"]


def test_a_head_that_is_not_newer_or_of_another_study_is_not_published(
    repository: Repository, keys: Keys
) -> None:
    signer = OnlineSigner(repository, [keys["online"]])
    signer.publish_head(head(2), now())
    for number in (1, 2):
        with pytest.raises(PublishingError, match="Only a newer head"):
            signer.publish_head(head(number), now())
    with pytest.raises(PublishingError, match="not a head of the study"):
        signer.publish_head(head(3, "south"), now())
    with pytest.raises(PublishingError):
        signer.publish_head(b"\x7fELF", now())
    with pytest.raises(PublishingError, match="something else"):
        signer.publish_head(bytes(17 * 1024), now())
    assert repository.state().heads.version == 2


def test_the_online_key_can_not_put_out_a_bundle(repository: Repository, keys: Keys) -> None:
    state = repository.state()
    bundle = Listed(bundle_path("affect-1", 1), "0" * 64, 1, None)
    alone = drafts.Staged(
        "north", "bundle", {}, (drafts.Part(state.bundles.with_listed([bundle], now()), ()),)
    )
    with pytest.raises(PublishingError, match="0 of the 2 signatures"):
        put_out(repository, alone.signed_by([keys["online"]]), keys)
