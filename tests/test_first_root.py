"""The study's authority says once which root its updates start from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.identity import public_key
from sync.updates.first_root import authorise_root, pinned_root
from sync.updates.rejected import Reason
from tests.update_repository import refused

AUTHORITY = bytes(range(32))
ROOT = b'{"signed": "a root"}'
AUTH = authorise_root(AUTHORITY, study="quiet", root=ROOT)


def test_a_member_takes_the_root_that_its_study_signed_for() -> None:
    taken = pinned_root(ROOT, AUTH, study="quiet", authority=public_key(AUTHORITY))
    assert taken == ROOT


@pytest.mark.parametrize(
    ("root", "study", "authority"),
    [
        (ROOT + b" ", "quiet", AUTHORITY),
        (ROOT, "other", AUTHORITY),
        (b"t" + ROOT, "quie", AUTHORITY),  # the same bytes in a row, cut elsewhere
        (ROOT, "quiet", bytes(32)),
    ],
)
def test_another_root_study_or_authority_is_refused(
    root: bytes, study: str, authority: bytes
) -> None:
    with refused(Reason.UNSIGNED):
        pinned_root(root, AUTH, study=study, authority=public_key(authority))


@given(st.binary(max_size=200))
def test_any_bytes_are_no_signature(auth: bytes) -> None:
    with refused(Reason.MALFORMED, Reason.UNSIGNED):
        pinned_root(ROOT, auth, study="quiet", authority=public_key(AUTHORITY))
