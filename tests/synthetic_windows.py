"""Windows of made-up people, for tests of training: numbers, no sound."""

import numpy as np

from edge_models.training.corpora import EMOTIONS
from edge_models.training.streams import Kind, Windows


def synthetic_windows(
    people: int = 10, each: int = 48, functionals: int = 20, signal: float = 2.0, seed: int = 0
) -> Windows:
    """People with voices of their own; sadness and fear move two groups of functionals."""
    rng = np.random.default_rng(seed)
    count = people * each
    person = np.repeat(np.arange(people), each)
    emotion = np.tile(np.arange(each) % len(EMOTIONS), people)
    sad = emotion == EMOTIONS.index("sad")
    fearful = emotion == EMOTIONS.index("fearful")
    summaries = rng.normal(0, 2, (people, functionals))[person]
    summaries = summaries + rng.normal(0, 1, (count, functionals))
    summaries[:, :5] += signal * sad[:, None]
    summaries[:, 5:10] += signal * fearful[:, None]
    truth = np.stack([sad, fearful, sad | fearful], axis=1)
    known = np.ones_like(truth)
    second_set = person % 3 == 2
    known[second_set, 1] = False
    turn = np.arange(count) % each
    return Windows(
        summaries=summaries.astype(np.float32),
        truth=truth,
        known=known,
        emotion=emotion,
        person=np.asarray([f"p{number:02d}" for number in person]),
        dataset=np.where(second_set, "two", "one"),
        sex=np.where(person % 2 == 0, "female", "male"),
        kind=np.where(turn < each * 2 // 3, str(Kind.CLIP), str(Kind.JOINED)),
        take=np.where((turn // len(EMOTIONS)) % 2 == 1, 1, 0),
        fold=person % 5,
        session=np.where((turn // 2) % 2 == 1, "02", "01"),
        sentence=np.where(turn % 2 == 1, "02", "01"),
        language=np.where(second_set, "de", "en"),
        age_band=np.where(person % 4 == 3, "", "18-29"),
    )
