"""Nested folds need somebody to learn from, somebody to calibrate, and somebody to test."""

import pytest

from edge_models.errors import TooFewPeople
from edge_models.training.evaluate import evaluated
from tests.synthetic_windows import synthetic_windows


@pytest.mark.parametrize("people", [1, 2])
def test_too_few_people_are_refused_with_a_remedy(people: int) -> None:
    with pytest.raises(TooFewPeople, match="too few to learn from") as refused:
        evaluated(synthetic_windows(people=people, each=12), seed=1)
    assert "at least 3" in refused.value.remedy
