"""The card's statement: it reads back, nothing ends it early, and anything else is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_models.bundle import shipped_bundle
from edge_models.card_statement import MEASURED, Figure, Statement, statement_of, text_of
from edge_models.errors import BundleError
from edge_models.manifest import MOMENTS, NEEDED

SOME = {name: "0" * 64 for name in MEASURED}
Words = st.text(min_size=1, max_size=60)


def a_statement(licence: str = "CC BY 4.0", of: str = "R", value: str = "0.9") -> Statement:
    figures = (Figure(of=of, value=value),)
    return Statement(name="a", version="1.0.0", licence=licence, files=SOME, figures=figures)


@settings(max_examples=50)
@given(Words, Words, Words)
def test_what_is_stated_reads_back_whatever_it_says(licence: str, of: str, value: str) -> None:
    stated = a_statement(licence, of, value)
    card = stated.over("# The card\n\n<!-- another --> remark\n")
    assert statement_of(card.encode()) == stated
    assert text_of(card) == "# The card\n\n<!-- another --> remark\n"


def test_a_statement_can_not_be_ended_by_what_it_says() -> None:
    stated = a_statement(licence="mine --> <script>")
    first, _, rest = stated.over("# Card").partition(" -->")
    assert "<script>" not in rest and "script" in first
    assert rest == "\n\n# Card"


def test_a_card_has_one_statement_however_often_it_is_written() -> None:
    once = a_statement().over("# Card\n")
    assert a_statement().over(once) == once
    assert text_of(a_statement(licence="CC BY-NC 4.0").over(once)) == "# Card\n"


def test_it_speaks_of_every_file_that_figures_depend_on_and_of_no_other() -> None:
    assert set(MEASURED) - {MOMENTS} <= NEEDED
    without_moments = {name: one for name, one in SOME.items() if name != MOMENTS}
    assert Statement(name="a", version="1.0.0", licence="x", files=without_moments)
    for files in (SOME | {"gate.md": "0" * 64}, {"body.onnx": "0" * 64}, {}):
        with pytest.raises(ValidationError):
            Statement(name="a", version="1.0.0", licence="x", files=files)


@settings(max_examples=200)
@given(st.binary(max_size=120))
def test_whatever_follows_the_opening_is_a_statement_or_refused(raw: bytes) -> None:
    with pytest.raises(BundleError):
        statement_of(b"<!-- sottovoce-card " + raw)


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_statement_is_another_one_or_refused(data: st.DataObject) -> None:
    raw = bytearray(shipped_bundle().raw("CARD.md")[:2_000])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 900))] = data.draw(st.integers(0, 255))
    try:
        stated = statement_of(bytes(raw))
    except BundleError as refused:
        assert len(str(refused)) < 400 and "\n" not in refused.cause
        return
    assert stated is None or set(stated.files) | {MOMENTS} == set(MEASURED)


def test_a_card_without_one_states_nothing() -> None:
    for card in (b"", b"# Card", b"<!-- sottovoce-cards {} -->", b"\n<!-- sottovoce-card {} -->"):
        assert statement_of(card) is None
        assert text_of(card.decode()) == card.decode()
