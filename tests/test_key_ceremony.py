"""deploy/key-ceremony.md, carried out: each command, by whom it names, with a device watching."""

import io
import re
import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sync.errors import PublishingError
from sync.publishing.audit import LOG_NAME
from sync.publishing.keys import PASSPHRASE_VARIABLE
from sync.publishing.publication import verified_log
from sync.publishing.repository import Repository
from sync.publishing.roles import RoleName
from sync.updates import archive
from sync.updates.offers import bundle_path
from tests.signing import Reader, first_root, said, served
from tests.test_publishing_kinds import bundle_folder

PAGE = Path(__file__).parent.parent / "deploy" / "key-ceremony.md"
BLOCK = re.compile(r"^## (?P<title>[^\n]+)$|```sh\n(?P<lines>.*?)```", re.MULTILINE | re.DOTALL)


class Ceremony:
    """The computers of everybody, each a folder; lines of the page are run where they say.

    `quick`: keys have no passphrase. Stretching them takes most of a ceremony's time.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.quick = True
        self._monkeypatch = monkeypatch
        self._at = self.computer("nobody")

    @property
    def repository(self) -> Repository:
        return Repository(self.computer("coordinator") / "repository")

    def computer(self, who: str) -> Path:
        place = self.folder / who.lower()
        place.mkdir(exist_ok=True)
        return place

    def line(self, line: str) -> None:
        if found := re.fullmatch(r"# at (?:the )?(\w+)'s computer", line):
            self._at = self.computer(found[1])
        elif found := re.fullmatch(r"# hand (\S+) to (?:the )?(\w+)", line):
            (self._at / found[1]).rename(self.computer(found[2]) / found[1])
        elif found := re.fullmatch(r"rm (\S+)", line):
            (self._at / found[1]).unlink()
        elif line.startswith("sottovoce publish "):
            self._monkeypatch.chdir(self._at)
            self._monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
            words = shlex.split(line)[2:]
            said(
                *words, *(["--no-passphrase"] if self.quick and words[:2] == ["key", "new"] else [])
            )
        else:  # another room's command, tested there: it exists, and its file lies there
            command, *arguments = shlex.split(line)[1:]
            assert line.startswith("sottovoce ")
            assert command in {each.name for each in entry_points(group="sottovoce.commands")}
            assert (self._at / arguments[-1]).exists(), line


def sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    title = ""
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["title"]:
            title = block["title"]
        else:
            found.setdefault(title, []).extend(block["lines"].splitlines())
    return found


@pytest.fixture
def ceremony(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ceremony:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse battery staple again")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    bundle = bundle_folder(tmp_path / "new-bundle", "9.0.0")
    (computers := tmp_path / "computers").mkdir()
    made = Ceremony(computers, monkeypatch)
    for who in ("coordinator", "cleo"):
        (made.computer(who) / "new-bundle").symlink_to(bundle)
    return made


@pytest.mark.slow
def test_the_page_is_carried_out_from_its_first_line_to_its_last(
    ceremony: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device that knows nothing but version 1 of the root follows it all the way."""
    ceremony.quick = False
    story = sections()
    assert list(story) == [
        "The first time", "Publishing a bundle", "What goes by itself", "Somebody lost a key",
        "The online key was stolen", "Once a year",
    ]  # fmt: skip
    for line in story.pop("The first time"):
        ceremony.line(line)
    repository = ceremony.repository
    newcomer_root = first_root(repository)
    device = Reader(tmp_path / "device", newcomer_root)
    packed = archive.pack(tmp_path / "new-bundle")
    with served(repository.folder) as url:
        assert device.fetched(url, bundle_path("affect-1", 1)) is None
        for title, lines in story.items():
            for line in lines:
                ceremony.line(line)
            newcomer = Reader(tmp_path / f"newcomer {title}", newcomer_root)
            for reader in (device, newcomer):
                assert reader.fetched(url, bundle_path("affect-1", 1)) == packed, title
    state = repository.state()
    assert state.root.version == 4
    assert holders(repository, RoleName.BUNDLES) == ["asha", "dora", "cleo"]
    assert holders(repository, RoleName.TIMESTAMP) == ["online-2"]
    assert [act.act for act in verified_log(repository)] == [
        "root-init", "bundle", "root-rotate", "root-rotate", "root-renew",
    ]  # fmt: skip
    said_so = capsys.readouterr().out
    assert "Still needed is one of: asha, ben, cleo" in said_so
    assert "is the one of this draft" in said_so
    assert "The log is whole: 2 acts" in said_so
    assert "devices could trust neither" not in said_so


def holders(repository: Repository, role: RoleName) -> list[str]:
    state = repository.state()
    above = state.root if role is RoleName.TIMESTAMP else state.targets
    return [key.holder for key in above.holders(role).keys]


def carried_out(ceremony: Ceremony, *titles: str) -> None:
    for title in titles:
        for line in sections()[title]:
            ceremony.line(line)


def test_after_a_key_was_lost_its_finder_signs_nothing(ceremony: Ceremony, tmp_path: Path) -> None:
    carried_out(ceremony, "The first time", "Somebody lost a key")
    draft = "sottovoce publish bundle new-bundle --repository repository --draft bundle.json"
    for line in ("# at the coordinator's computer", draft, "# hand bundle.json to Ben"):
        ceremony.line(line)
    ceremony.line("# at Ben's computer")
    with pytest.raises(PublishingError, match="does not ask for the key of ben"):
        ceremony.line("sottovoce publish sign bundle.json --key ben.key.pem")


def test_a_loss_of_two_of_three_keys_can_not_be_repaired(ceremony: Ceremony) -> None:
    """As the page says: one signature is not enough to name other keyholders."""
    carried_out(ceremony, "The first time")
    repository = ceremony.repository
    before = repository.state()
    lost = sections()["Somebody lost a key"]
    without_cleo = [line for line in lost if "cleo.key.pem" not in line]
    for line in without_cleo:
        ceremony.line(line)
    after = repository.state()
    assert all(after.document(role).body == before.document(role).body for role in RoleName)
    assert (ceremony.computer("coordinator") / "lost.json").exists()


def test_a_draft_with_another_bundle_is_not_signed(ceremony: Ceremony, tmp_path: Path) -> None:
    carried_out(ceremony, "The first time")
    for line in sections()["Publishing a bundle"][:3]:
        ceremony.line(line)
    other = bundle_folder(tmp_path / "other", "9.0.1")
    ceremony.line("# at Asha's computer")
    before = (ceremony.computer("asha") / "bundle.json").read_bytes()
    sign = "sottovoce publish sign bundle.json --key asha.key.pem --bundle"
    with pytest.raises(PublishingError, match="not the one of this draft"):
        ceremony.line(f"{sign} {shlex.quote(str(other))}")
    assert (ceremony.computer("asha") / "bundle.json").read_bytes() == before


def test_who_does_not_say_yes_has_not_signed(
    ceremony: Ceremony, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = sections()["The first time"]
    until = lines.index("sottovoce publish sign first.json --key asha.key.pem")
    for line in lines[:until]:
        ceremony.line(line)
    monkeypatch.chdir(ceremony.computer("asha"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    before = (ceremony.computer("asha") / "first.json").read_bytes()
    with pytest.raises(PublishingError, match="Nothing was signed"):
        said("sign", "first.json", "--key", "asha.key.pem")
    assert (ceremony.computer("asha") / "first.json").read_bytes() == before


def test_private_keys_of_people_never_come_to_the_coordinator(ceremony: Ceremony) -> None:
    carried_out(ceremony, *sections())
    private = {path.name for path in ceremony.computer("coordinator").rglob("*.key.pem")}
    assert private == {"online-2.key.pem"}
    assert (ceremony.repository.folder / LOG_NAME).exists()
