"""Tables of made-up people at one level, for tests of synthesis: numbers, no sound."""

import numpy as np

from edge_models.training.synthesis.table import Labels, Table


def made_up_table(
    people: int = 12, each: int = 40, size: int = 6, seed: int = 0, name: str = "p"
) -> Table:
    """People with voices of their own, four emotions; the third (sad) moves the first columns.

    Column 1 follows column 0 with a correlation of 0.8 within each label and person.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    emotion = np.tile(np.arange(each) % 4, people)
    values = rng.normal(size=(people * each, size)) + 0.5 * rng.normal(size=(people, size))[person]
    values[:, 1] = 0.8 * values[:, 0] + 0.6 * values[:, 1]
    sad = emotion == 3
    values[:, :2] += 2.0 * sad[:, None]
    truth = np.stack([sad, np.zeros_like(sad), sad], axis=1)
    known = np.tile([True, False, True], (len(sad), 1))
    count = len(person)
    labels = Labels(np.full(count, "one"), np.full(count, "clip"), emotion, truth, known)
    names = np.asarray([f"{name}{number:03d}" for number in person])
    return Table(values, labels, names, np.full(count, "one female"))
