"""A *simulated* cohort: virtual participants made of real recordings, answers drawn from a survey.

Rules it upholds: nobody in it exists, and nothing measured on it is a clinical figure; train and
test participants speak with the voices of *different* speakers; one seed gives one cohort; no
torch is needed, and without recordings the voices are a labelled mixture of public constants.

A participant has a voice (one speaker's windows), a low and a worried state that change week by
week, and talks on most days. The share of windows that sound sad rises with the PHQ-9 of the week,
of fearful ones with its GAD-7; the rest are of other emotions. Every two weeks there is a
questionnaire, which asks about these. Who is worse talks and answers less. Where others are in
the room, some windows hold their voice, or both. There are as many different voices as there
are speakers, however many participants: an attack on identity attacks speakers.

    answers    what they answer: sums by a survey's law, PHQ-9 items, PHQ-8, GAD-7
    calendar   weeks, days in runs of silence, hours, what is missing
    voices     described windows of recordings
    made_up    or of nobody, where there are none
    together   windows in which two recordings are heard at once
    room       who is heard in a window
    people     participants and their windows, which are places in the table of voices
    draw       the cohort
    summary    what came out, beside what is published
    tables     the cohort as CSV or Parquet, openly marked
    command    `sottovoce cohort`
"""

from edge_models.training.cohort.answers import (
    BOTH_OF_EITHER,
    COPULA,
    GAD_FROM_8,
    GENERAL,
    MOST_GAD7,
    MOST_PHQ8,
    MOST_PHQ9,
    PHQ_FROM_10,
    PRIORS,
    PUPILS,
    Prior,
    PriorName,
)
from edge_models.training.cohort.calendar import Habits
from edge_models.training.cohort.draw import (
    LARGEST,
    SMALLEST,
    drawn_cohort,
    simulated_cohort,
)
from edge_models.training.cohort.made_up import made_up_voices
from edge_models.training.cohort.people import Answered, Cohort, Participant, People
from edge_models.training.cohort.room import ALONE, AT_HOME, Heard, Room
from edge_models.training.cohort.voices import (
    Origin,
    Voices,
    voices_of_recordings,
)

__all__ = [
    "ALONE",
    "AT_HOME",
    "BOTH_OF_EITHER",
    "COPULA",
    "GAD_FROM_8",
    "GENERAL",
    "LARGEST",
    "MOST_GAD7",
    "MOST_PHQ8",
    "MOST_PHQ9",
    "PHQ_FROM_10",
    "PRIORS",
    "PUPILS",
    "SMALLEST",
    "Answered",
    "Cohort",
    "Habits",
    "Heard",
    "Origin",
    "Participant",
    "People",
    "Prior",
    "PriorName",
    "Room",
    "Voices",
    "drawn_cohort",
    "made_up_voices",
    "simulated_cohort",
    "voices_of_recordings",
]
