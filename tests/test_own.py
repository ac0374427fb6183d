"""What is usual for a person: in order, causal, the same after a restart, right after a swap."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.alignment import Alignment, Moments
from edge_models.baseline import Baseline, Population
from edge_models.bundle import shipped_bundle
from edge_models.classifier import Classifier
from edge_models.errors import ContractError
from edge_models.own import Own

F, E = 4, 2
ONES = np.ones(F, np.float32)
POPULATION = Population(0 * ONES, ONES, 0 * ONES, ONES)
MOMENTS = Moments(np.zeros(E), np.eye(E))
WEIGHTS = np.random.default_rng(1).normal(size=(E, F)).astype(np.float32)


@dataclass(frozen=True)
class Measure:
    """What a bundle measures people by."""

    population: Population = POPULATION
    moments: Moments | None = MOMENTS
    space: str = "affect-1-0123456789abcdef"


HERE = Measure()
UNALIGNED = Measure(moments=None)


def body(z: np.ndarray) -> np.ndarray:
    answer: np.ndarray = WEIGHTS @ z + np.float32([3, -1])
    return answer


def summaries(count: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 1, (count, F)).astype(np.float32)


def who_spoke(count: int, measure: Measure = HERE, seed: int = 2) -> Own:
    own = Own.empty(measure)
    for summary in summaries(count, seed):
        _, own = own.heard(summary, body)
    return own


def test_a_window_is_normalised_embedded_and_aligned_in_this_order_and_joins_last() -> None:
    own, last = who_spoke(5), summaries(6)[5]
    z = own.baseline.normalised(last)
    embedding, after = own.heard(last, body)
    assert own.alignment is not None and after.alignment is not None
    assert np.array_equal(embedding, own.alignment.aligned(body(z)))
    assert not np.array_equal(embedding, body(z))
    assert after.baseline.to_bytes() == own.baseline.including(last).to_bytes()
    assert after.alignment.to_bytes() == own.alignment.including(body(z)).to_bytes()
    assert after.space == own.space == HERE.space


def test_a_window_with_somebody_else_is_embedded_alike_and_changes_nothing() -> None:
    own, last = who_spoke(5), summaries(6)[5]
    before = own.to_bytes()
    assert np.array_equal(own.overheard(last, body), own.heard(last, body)[0])
    assert own.to_bytes() == before


def test_a_stranger_and_a_bundle_without_moments_stay_where_the_body_puts_them() -> None:
    (first,) = summaries(1)
    for measure in (HERE, UNALIGNED):
        own = Own.empty(measure)
        assert np.array_equal(own.heard(first, body)[0], body(own.baseline.normalised(first)))
    own, last = who_spoke(9, UNALIGNED), summaries(10)[9]
    assert own.alignment is None
    assert np.array_equal(own.heard(last, body)[0], body(own.baseline.normalised(last)))


def test_a_body_that_fails_or_answers_nonsense_leaves_the_person_as_they_were() -> None:
    own = who_spoke(3)
    before = own.to_bytes()
    for answer in (np.zeros(E + 1, np.float32), np.full(E, np.nan, np.float32)):
        with pytest.raises(ContractError):
            own.heard(summaries(1)[0], lambda _, given=answer: given)
    assert own.to_bytes() == before


# Bytes.


@settings(max_examples=30)
@given(st.integers(0, 12), st.sampled_from([HERE, UNALIGNED]))
def test_it_survives_a_restart_exactly(count: int, measure: Measure) -> None:
    own, last = who_spoke(count, measure), summaries(1, seed=9)[0]
    again = Own.from_bytes(own.to_bytes(), measure)
    assert again.to_bytes() == own.to_bytes()
    assert np.array_equal(again.heard(last, body)[0], own.heard(last, body)[0])


def test_a_baseline_that_a_device_kept_before_is_taken_over() -> None:
    old = who_spoke(7).baseline
    for measure in (HERE, UNALIGNED):
        own = Own.from_bytes(old.to_bytes(), measure)
        assert own.baseline.to_bytes() == old.to_bytes()
        fresh = Own.empty(measure).alignment
        assert (own.alignment and own.alignment.to_bytes()) == (fresh and fresh.to_bytes())


@pytest.mark.parametrize("was", [HERE, UNALIGNED, Measure(moments=Moments(np.ones(3), np.eye(3)))])
def test_another_body_keeps_the_baseline_and_begins_the_alignment_anew(was: Measure) -> None:
    kept = Own(
        who_spoke(7).baseline,
        was.moments and Alignment.empty(was.moments).including(np.ones(len(was.moments), "f4")),
        was.space,
    )
    now = replace(HERE, space="affect-1-fedcba9876543210")
    own = Own.from_bytes(kept.to_bytes(), now)
    assert own.baseline.to_bytes() == kept.baseline.to_bytes()
    assert own.alignment is not None and own.alignment.windows == 0
    assert own.space == now.space


def test_bytes_of_another_measure_are_refused() -> None:
    raw = who_spoke(3).to_bytes()
    wide = np.ones(F + 1, np.float32)
    with pytest.raises(ContractError):
        Own.from_bytes(raw, replace(HERE, population=Population(wide, wide, wide, wide)))
    with pytest.raises(ContractError, match="align"):
        Own.from_bytes(raw, UNALIGNED)
    with pytest.raises(ContractError, match="alignment"):
        Own.from_bytes(who_spoke(3, UNALIGNED).to_bytes(), HERE)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"SVO1", b"SVB1", b"SVO1\x01\0\0\0"]))
def test_any_bytes_are_a_person_or_refused(raw: bytes, begin: bytes) -> None:
    must_be_usable_or_refused(begin + raw)


@settings(max_examples=300)
@given(st.data())
def test_damaged_bytes_are_refused_or_give_finite_numbers(data: st.DataObject) -> None:
    raw = bytearray(who_spoke(4).to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    must_be_usable_or_refused(bytes(raw))
    must_be_usable_or_refused(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def must_be_usable_or_refused(raw: bytes) -> None:
    try:
        own = Own.from_bytes(raw, HERE)
    except ContractError:
        return
    embedding, after = own.heard(summaries(1, seed=3)[0], body)
    assert np.isfinite(embedding).all()
    assert np.isfinite(after.heard(summaries(1, seed=4)[0], body)[0]).all()


# The shipped bundle.


def test_the_shipped_bundle_aligns_what_its_body_says() -> None:
    bundle = shipped_bundle()
    embedding = Classifier(bundle).embedding
    own, population = Own.empty(bundle), bundle.population
    rng = np.random.default_rng(5)
    drawn = population.median + population.spread * rng.normal(0.3, 1, (12, len(population)))
    for summary in drawn.astype(np.float32):
        z = own.baseline.normalised(summary)
        moved, own = own.heard(summary, embedding)
        assert moved.shape == (bundle.head.embedding_size,) and np.isfinite(moved).all()
    assert bundle.moments is not None
    assert not np.array_equal(moved, embedding(z))
    assert isinstance(own.baseline, Baseline) and own.baseline.windows == 12
    again = Own.from_bytes(own.to_bytes(), bundle)
    assert again.alignment is not None and again.alignment.windows == 12
