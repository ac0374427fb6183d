"""Whatever bytes a mirror serves for whatever list: `UpdateRejected`, or nothing has changed."""

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata

from sync.updates.rejected import UpdateRejected
from sync.updates.trust import Trust
from tests.update_repository import NOW, STUDY, Mirror, Repository, believed

LISTS = ["root", "timestamp", "snapshot", "targets", "bundles"]


def a_repository() -> Repository:
    repository = Repository()
    repository.add_bundle(7, b"content")
    repository.publish("root")
    repository.release("bundles", "targets")
    return repository


GOOD = a_repository()
NEXT = {
    "root": "metadata/2.root.json",
    "timestamp": "metadata/timestamp.json",
    "snapshot": "metadata/2.snapshot.json",
    "targets": "metadata/2.targets.json",
    "bundles": "metadata/2.bundles.json",
}


def serve(which: str, content: bytes) -> None:
    """A device at version 1 meets version 2 with this list exchanged; it must keep its own."""
    files = dict(GOOD.files)
    with TemporaryDirectory() as folder:
        trust = Trust(Path(folder), first := Mirror(files), first, now=lambda: NOW, study=STUDY)
        trust.init(GOOD.first_root)
        first.files = {**files, NEXT[which]: content}
        try:
            trust.refresh()
            trust.offer("bundles/affect-1/7.bundle")
        except UpdateRejected as refused:
            assert refused.cause
            kept = believed(Path(folder)).get(f"{which}.json")
            assert kept in (None, GOOD.first_root if which == "root" else None)
        else:
            # Not the same bytes: spaces, unknown signatures, and what python-tuf takes for granted
            # where it is missing (`spec_version`) aren't covered by a signature. The meaning is.
            kept = Metadata.from_bytes(believed(Path(folder))[f"{which}.json"])
            assert kept.signed == Metadata.from_bytes(files[NEXT[which]]).signed


@given(st.sampled_from(LISTS), st.binary(max_size=2000))
@example("timestamp", b"")
@example("root", b"[" * 100_000)
@example("snapshot", b'{"signatures":[],"signed":' + b'{"a":' * 5000)
@example("targets", b"1" * 5000)
@example("bundles", b"\xff\xfe")
def test_any_bytes(which: str, content: bytes) -> None:
    serve(which, content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    found = [at]
    if isinstance(document, dict):
        for key, value in document.items():
            found += places(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            found += places(value, (*at, index))
    return found


@settings(max_examples=100)
@given(st.sampled_from(LISTS), st.data())
def test_any_change_of_any_value(which: str, data: st.DataObject) -> None:
    document = {"": json.loads(GOOD.files[NEXT[which]])}
    *way, last = data.draw(st.sampled_from(places(document)[1:]))
    changed = copy.deepcopy(document)
    place: Any = changed
    for step in way:
        place = place[step]
    if data.draw(st.booleans()):
        place[last] = data.draw(JSON)
    else:
        del place[last]
    serve(which, json.dumps(changed.get("")).encode())


@settings(max_examples=75)
@given(st.sampled_from(LISTS), st.data())
def test_any_change_of_any_value_that_the_right_keys_sign(which: str, data: st.DataObject) -> None:
    """Even whoever holds the keys can't make the device do anything but refuse, or go on."""
    signed = json.loads(GOOD.files[NEXT[which]])["signed"]
    document = {"signed": signed}
    *way, last = data.draw(st.sampled_from(places(document)[2:]))
    place: Any = document
    for step in way:
        place = place[step]
    place[last] = data.draw(JSON)
    try:
        content = resigned(which, document["signed"])
    except ValueError:  # canonical JSON has no floats: such a thing can't be signed
        return
    files = {**GOOD.files, NEXT[which]: content}
    with TemporaryDirectory() as folder:
        trust = Trust(Path(folder), mirror := Mirror(files), mirror, now=lambda: NOW, study=STUDY)
        trust.init(GOOD.first_root)
        try:
            trust.refresh()
            trust.offer("bundles/affect-1/7.bundle")
        except UpdateRejected as refused:
            assert refused.cause


def resigned(which: str, signed: Any) -> bytes:
    """The document under the signatures of all of the role's keys, whatever it says."""
    try:
        payload = encode_canonical(signed).encode()
    except FormatError as odd:
        raise ValueError from odd
    signatures = [key.sign(payload).to_dict() for key in GOOD.keys[which]]
    return json.dumps({"signatures": signatures, "signed": signed}).encode()
