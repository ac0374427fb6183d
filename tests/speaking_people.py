"""Made-up people with a voice of their own, for tests of calibration: log-odds, no sound."""

import numpy as np
import numpy.typing as npt


def speaking_people(
    rng: np.random.Generator,
    people: int,
    each: int = 12,
    own: float = 0.5,
    window: float = 1.0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.str_]]:
    """Calibrated log-odds of `each` windows of each class and person: logits, truth, people.

    A person shifts all windows of a class alike by a normal of spread `own`, each window has one
    of `window`; the classes lie so far apart that a window's log-odds are what they say.
    """
    apart = own**2 + window**2
    person = np.repeat(np.arange(people), 2 * each)
    truth = np.tile(np.repeat([True, False], each), people)
    effects = rng.normal(0, own, (people, 2))[person, truth.astype(int)]
    logits = np.where(truth, apart / 2, -apart / 2) + effects + rng.normal(0, window, len(person))
    return logits, truth, np.asarray([f"p{number:04d}" for number in person])
