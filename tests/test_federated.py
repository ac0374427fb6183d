"""A device's part of a federated round: sessions, update, clip, whole numbers, and back."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_models.bundle import shipped_bundle
from edge_models.errors import ContractError
from edge_models.frame import Frame
from sync.coordinator.clipping import Clip, split_noise
from sync.federated.layout import TELL, UNITS, Layout
from sync.federated.sessions import LEAST_WINDOWS, Sessions, labels
from sync.federated.update import (
    Training,
    clip_to,
    from_sum,
    loss_of,
    to_integers,
    update_of,
)

FRAME = Frame(np.asarray([0.5, -1.0, 2.0]), 0.5, np.eye(3))
TRAINING = Training(shares=(0.5, 0.5, 0.5))
EVERY = st.floats(-1e6, 1e6)


def _sessions(seed: int = 0, count: int = 5) -> Sessions:
    rng = np.random.default_rng(seed)
    return Sessions(rng.normal(size=(count, 3)), rng.random((count, 3)) < 0.5)


def test_labels_are_the_published_cuts() -> None:
    assert labels(9, 9) == (False, False, False)
    assert labels(10, 0) == (True, False, True)
    assert labels(0, 10) == (False, True, True)
    for phq8, gad7 in ((25, 0), (-1, 0), (0, 22)):
        with pytest.raises(ContractError):
            labels(phq8, gad7)


def test_a_stretch_with_too_few_windows_says_nothing() -> None:
    short = np.ones((LEAST_WINDOWS - 1, 3), np.float32)
    long = np.full((LEAST_WINDOWS, 3), 2.0, np.float32)
    told = Sessions.of([(short, (True, True, True)), (long, (True, False, True))], 3)
    assert told.means.tolist() == [[2.0, 2.0, 2.0]]
    assert told.truth.tolist() == [[True, False, True]]
    assert len(Sessions.of([], 3)) == 0


def test_a_head_survives_the_frame_and_back() -> None:
    bundle = shipped_bundle()
    head = bundle.head
    for frame in (bundle.frame, bundle.frame.along(head)):
        again = frame.head(frame.point(head))
        for seed in range(5):
            embedding = (
                np.random.default_rng(seed).normal(size=head.embedding_size).astype(np.float32)
            )
            assert np.allclose(head.logits(embedding), again.logits(embedding))
            features = frame.features(embedding[None].astype(np.float64))
            logits = features @ frame.point(head).reshape(3, -1).T
            assert np.allclose(logits, head.logits(embedding)[None])


def test_a_point_that_is_no_head_is_refused() -> None:
    for point in (np.zeros(11), np.full(12, np.nan), np.full(12, 1e9)):
        with pytest.raises(ContractError):
            FRAME.head(point)


def test_the_update_is_the_gradient_of_the_loss() -> None:
    point, sessions = np.random.default_rng(3).normal(size=12), _sessions()
    update = update_of(point, sessions, FRAME, TRAINING)
    for place in range(12):
        nudge = np.zeros(12)
        nudge[place] = 1e-5
        higher, lower = (
            loss_of(point + sign * nudge, sessions, FRAME, TRAINING) for sign in (1, -1)
        )
        assert update[place] == pytest.approx(-3 * (higher - lower) / 2e-5, abs=1e-6)


def test_more_steps_go_further_down_and_are_repeatable() -> None:
    point, sessions = np.zeros(12), _sessions(2)
    five = Training(steps=5, rate=0.1)
    update = update_of(point, sessions, FRAME, five)
    assert np.array_equal(update, update_of(point, sessions, FRAME, five))
    before = loss_of(point, sessions, FRAME, five)
    assert loss_of(point + update, sessions, FRAME, five) < before


def test_a_person_counts_as_one_however_many_sessions() -> None:
    one = _sessions(4, 3)
    twice = Sessions(np.tile(one.means, (2, 1)), np.tile(one.truth, (2, 1)))
    first, second = (update_of(np.zeros(12), s, FRAME, TRAINING) for s in (one, twice))
    assert np.allclose(first, second)


def test_without_sessions_a_device_sends_zeros() -> None:
    nothing = Sessions(np.zeros((0, 3)), np.zeros((0, 3), bool))
    update = update_of(np.zeros(12), nothing, FRAME, TRAINING)
    assert not to_integers(update, 1.0, Layout(12)).any()


@given(hnp.arrays(np.float64, st.integers(1, 80), elements=EVERY), st.floats(1e-3, 1e3))
@settings(max_examples=300, deadline=None)
def test_the_bound_holds_in_integers_after_rounding(
    update: np.ndarray[tuple[int], np.dtype[np.float64]], clip: float
) -> None:
    layout = Layout(len(update))
    vector = to_integers(update, clip, layout)
    assert int((vector[: layout.numbers].astype(object) ** 2).sum()) <= UNITS**2
    assert int((vector.astype(object) ** 2).sum()) <= layout.squared_clip


def test_rounding_can_reach_past_the_clip_without_its_margin() -> None:
    """The margin is needed: the worst vector, just below a half everywhere, is stretched."""
    numbers = 4096
    worst = np.full(numbers, 15.5)
    norm = float(np.linalg.norm(worst))
    assert np.linalg.norm(np.rint(worst)) > norm
    vector = to_integers(worst, norm, Layout(numbers))
    assert (vector[:numbers] ** 2).sum() <= UNITS**2


@given(hnp.arrays(np.float64, 12, elements=st.floats(-2, 2)))
@settings(max_examples=50, deadline=None)
def test_what_is_decoded_is_what_was_meant(
    update: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    layout, clip = Layout(12), 1.5
    total = np.sum([to_integers(update, clip, layout)] * 7, axis=0).astype(np.uint32)
    mean = from_sum(total, layout, clip, members=7)
    clipped, within = clip_to(update, clip)
    step = clip / layout.room
    assert np.abs(mean.update - clipped).max() <= step / 2 * (1 + 1e-9)
    if update.any():
        assert mean.contributors == pytest.approx(7)
        assert mean.within == float(within)


def test_a_sum_of_another_length_or_of_nobody_is_refused() -> None:
    with pytest.raises(ContractError):
        from_sum(np.zeros(13, np.uint32), Layout(12), 1.0, members=7)
    with pytest.raises(ContractError):
        from_sum(np.zeros(14, np.uint32), Layout(12), 1.0, members=0)


@pytest.mark.parametrize("update", [np.full(12, np.nan), np.full(12, np.inf), np.zeros(11)])
def test_an_update_that_is_no_update_is_refused(update: np.ndarray) -> None:
    with pytest.raises(ContractError):
        to_integers(update, 1.0, Layout(12))


def test_the_price_is_split_by_squared_lengths_and_adds_up() -> None:
    rho = Fraction(1, 80)
    split = Layout(51).split(rho)
    assert split.update + split.side + split.here == rho
    assert split.side == split.here
    assert 0.89 < split.update / rho < 0.91


def test_the_split_is_the_one_of_adaptive_clipping() -> None:
    """z_update = (z^-2 - (2 sigma_b)^-2)^(-1/2), for the update and the side together."""
    rho = Fraction(1, 80)
    layout = Layout(51)
    split = layout.split(rho)
    sigma = float(layout.squared_clip / (2 * rho)) ** 0.5
    together = float(UNITS**2 + TELL**2) ** 0.5
    sigma_side = sigma / (2 * TELL)  # cells are +-TELL, the paper's +-1/2
    assert split_noise(sigma / together, sigma_side) == pytest.approx(sigma / UNITS)
    assert float(split.update) == pytest.approx(0.5 / (sigma / UNITS) ** 2)
    with pytest.raises(ContractError):
        split_noise(10.0, 4.0)


def test_the_clip_finds_its_quantile() -> None:
    norms = np.random.default_rng(1).lognormal(1.0, 0.5, 500)
    clip = Clip(0.01, quantile=0.8)
    for _ in range(120):
        clip = clip.after(float((norms <= clip.value).mean()))
    assert clip.value == pytest.approx(float(np.quantile(norms, 0.8)), rel=0.05)
