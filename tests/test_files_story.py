"""Files of the repository over a real broker with TLS, cut in every way: whole, all the same."""

import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.courier import Courier
from agent.rounds import Hearing
from sync.coordinator.announce import announcements
from sync.errors import BrokerError, DoorError
from sync.parcels import Kind, Parcel, frames_of
from sync.topics import DownTopic
from sync.updates.asks import MOST_PIECE_BYTES, Look
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere, Source
from tests.cut_link import CutLink
from tests.giving import BUNDLE, Giving, at_work, giving
from tests.test_round_story import wait_until
from tests.two_ends import needed

SIZE = 10_000_000
WINDOW = 1024 * 1024


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Giving]:
    needed("mosquitto")
    with giving(tmp_path) as study:
        yield study


def files_of(courier: Courier) -> Source:
    assert courier.files is not None
    return courier.files


def taken(
    courier: Courier, path: str = BUNDLE, most_bytes: int = 2 * SIZE, start: int = 0
) -> bytes:
    return b"".join(files_of(courier).read(path, most_bytes, start))


def test_ten_megabytes_come_whole_to_several_devices_at_once(tmp_path: Path) -> None:
    needed("mosquitto")
    with at_work(tmp_path, 3) as (study, _, couriers):
        content = study.has(BUNDLE, secrets.token_bytes(SIZE))
        came: dict[int, bytes] = {}
        threads = [
            threading.Thread(target=lambda n=n: came.update({n: taken(couriers[n])}))  # type: ignore[misc]
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [came[n] == content for n in range(3)] == [True] * 3
        assert not study.faults and not any(courier.trouble for courier in couriers)
        with pytest.raises(NotThere):
            taken(couriers[0], "metadata/2.root.json")
        with pytest.raises(UpdateRejected) as told:
            taken(couriers[0], most_bytes=SIZE - 1)
        assert told.value.reason is Reason.TOO_LARGE


def test_a_broker_killed_in_the_middle_costs_a_window_at_most(study: Giving) -> None:
    """It dies without a chance to save: what it held of either side is gone."""
    content = study.has(BUNDLE, secrets.token_bytes(SIZE))
    came = bytearray()
    with ExitStack() as stack:
        first = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(first))
        courier = stack.enter_context(study.courier(study.home(0)))
        for piece in files_of(courier).read(BUNDLE, SIZE):
            came += piece
            if SIZE // 2 <= len(came) < SIZE // 2 + MOST_PIECE_BYTES:
                os.kill(first.process.pid, signal.SIGKILL)
                first.process.wait(30)
                stack.enter_context(study.world.broker())
    assert came == content  # one read; nothing came twice, and nothing was begun anew


def test_an_agent_and_a_coordinator_that_start_anew_go_on_where_it_stood(study: Giving) -> None:
    content = study.has(BUNDLE, secrets.token_bytes(SIZE))
    home = study.home(0)
    came = bytearray()
    with study.world.broker() as broker:
        with study.post(broker), study.courier(home) as courier:
            for piece in files_of(courier).read(BUNDLE, SIZE):
                came += piece
                if len(came) > SIZE // 3:
                    break  # the agent ends here, with ranges on their way
        reading = None
        with study.courier(home) as courier:  # nobody answers yet
            reading = files_of(courier).read(BUNDLE, SIZE, len(came))
            with study.post(broker):
                for piece in reading:
                    came += piece
                    if len(came) > 2 * SIZE // 3:
                        break
            with study.post(broker):  # another one; the read is the same
                for piece in reading:
                    came += piece
    assert came == content


def test_a_network_that_drops_loses_nothing(study: Giving) -> None:
    content = study.has(BUNDLE, secrets.token_bytes(SIZE))
    with ExitStack() as stack:
        broker = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(broker))
        # A device says little while it is given much: each of these is a few ranges on.
        link = stack.enter_context(CutLink(broker.port, [6000] * 5))
        courier = stack.enter_context(study.courier(study.home(0, link.port)))
        assert taken(courier) == content
        assert link.cuts


def test_a_line_that_closes_ends_a_read_in_one_sentence(study: Giving) -> None:
    ends = list[UpdateRejected]()
    with study.world.broker(), study.courier(study.home(0)) as courier:

        def reads() -> None:
            with pytest.raises(UpdateRejected) as told:
                taken(courier)  # there is no coordinator
            ends.append(told.value)

        reading = threading.Thread(target=reads)
        reading.start()
    reading.join(30)
    assert [end.reason for end in ends] == [Reason.UNREACHABLE]


def timestamp(version: int) -> bytes:
    return json.dumps({"signed": {"version": version}}).encode()


def test_what_is_published_is_told_to_all_and_to_who_comes_later(study: Giving) -> None:
    heard: dict[str, list[Look]] = {"early": [], "late": []}
    with ExitStack() as stack:
        broker = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(broker))
        early = study.courier(study.home(0))
        early.on_look = heard["early"].append
        stack.enter_context(early)
        study.has("metadata/timestamp.json", timestamp(5))
        assert wait_until(lambda: heard["early"])
        study.has("rollout.json", b'{"number": 3}')
        assert wait_until(lambda: len(heard["early"]) == 2)
        late = study.courier(study.home(1))
        late.on_look = heard["late"].append
        stack.enter_context(late)
        assert wait_until(lambda: heard["late"])
    said = [(look.timestamp, look.rollout) for look in heard["early"] + heard["late"]]
    assert set(said) == {(5, 0), (5, 3)} and said[0] == (5, 0)
    assert heard["late"][-1].rollout == 3


def test_pieces_do_not_go_through_the_store(study: Giving, monkeypatch: pytest.MonkeyPatch) -> None:
    study.has(BUNDLE, secrets.token_bytes(WINDOW))
    with ExitStack() as stack:
        broker = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(broker))
        courier = stack.enter_context(study.courier(study.home(0)))
        assert wait_until(lambda: courier.is_idle)
        taken(courier)  # whatever starting up says has come
        heard = list[str]()
        receive = Hearing.receive
        monkeypatch.setattr(
            Hearing, "receive", lambda self, *said: (heard.append(said[0]), receive(self, *said))
        )
        assert len(taken(courier)) == WINDOW
        assert not [topic for topic in heard if "/file/" in topic]


def test_a_hint_that_is_none_is_trouble_and_wakes_nobody(study: Giving) -> None:
    woken = list[Look]()
    hearing = Hearing(study.home(0), on_kept=lambda: None, on_look=woken.append)
    for content in (b"", bytes(23), bytes(25)):
        hearing.receive("", *frames_of(Parcel(Kind.LOOK, content)))
    assert "hint" in str(hearing.trouble) and not woken
    hearing.receive("", *frames_of(Look(1, 2, 3).to_parcel()))
    assert woken == [Look(1, 2, 3)]


def test_a_device_says_how_an_update_went_and_nothing_that_may_be_sensed(study: Giving) -> None:
    with study.world.broker(), study.courier(study.home(0)) as courier:
        assert wait_until(lambda: courier.is_idle)
        courier.say(Parcel(Kind.PROGRESS, b"committed"))
        with pytest.raises(DoorError):
            courier.say(Parcel(Kind.HEAD, b"numbers"))
    courier = study.courier(study.home(1))
    assert courier.files is None
    with pytest.raises(BrokerError):
        courier.say(Parcel(Kind.PROGRESS, b"committed"))


def test_an_ask_that_is_none_is_told_once_and_harms_nobody(study: Giving) -> None:
    content = study.has(BUNDLE, secrets.token_bytes(1000))
    with ExitStack() as stack:
        broker = stack.enter_context(study.world.broker())
        stack.enter_context(study.post(broker))
        courier = stack.enter_context(study.courier(study.home(0)))
        for number in range(3):
            courier.say(Parcel(Kind.ASK_FILE, bytes([number]) * 30))
        assert taken(courier) == content
    assert [fault.cause for fault in study.faults] == [
        "A device asks for a file that no repository has."
    ]


def test_rounds_are_heard_while_files_are_given(study: Giving) -> None:
    """A notice in the middle of a file arrives before the file's end: a turn is a few pieces."""
    study.has(BUNDLE, secrets.token_bytes(SIZE))
    with ExitStack() as stack:
        broker = stack.enter_context(study.world.broker())
        post = stack.enter_context(study.post(broker))
        home = study.home(0)
        courier = stack.enter_context(study.courier(home))
        looked = list[int]()
        courier.on_look = lambda look: looked.append(look.said_at)
        taken_bytes = 0
        assert home.membership is not None
        topic = DownTopic("north", home.membership.pseudonym)
        said = announcements(Look(0, 0, 1).to_parcel(), topic)
        for piece in files_of(courier).read(BUNDLE, SIZE):
            if not taken_bytes:
                post._podium.send(*said)
            taken_bytes += len(piece)
            if looked:
                break
        assert looked == [1] and taken_bytes < SIZE
