"""What a person adds to a round of the head or to a vote: whole numbers from their own sessions.

Rules it upholds: price, clip and length are the policy's and the layout's; a lesson that fits
neither the bundle nor the terms is refused before anything is said; who has no labelled sessions
sends zeros and looks like everybody else.

In the life of a federated round: lesson and terms → **pupil** → noise share → mask → sum.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edge_models.frame import Frame
from sync.errors import RoundRefused
from sync.federated import canary
from sync.federated.layout import Layout
from sync.federated.lesson import Lesson, point_of
from sync.federated.sessions import Sessions
from sync.federated.update import to_integers, update_of
from sync.policy import Policy, Purpose
from sync.secure_sum.terms import Terms


@dataclass(frozen=True, slots=True)
class Pupil:
    """A contributor to head and canary rounds of one bundle; `sync.participation.Contributor`.

    `bundle` is its `space`; `lesson` gives the one of a digest, None if none is at hand; `frame` is
    along the bundle's own head; `sessions` reads the person's own, and is asked only when a round
    is ready for them.
    """

    policy: Policy
    bundle: str
    frame: Frame
    lesson: Callable[[str], Lesson | None]
    sessions: Callable[[], Sessions]

    def is_willing(self, terms: Terms) -> bool:
        """Whether the round's lesson is at hand.

        Raises:
            RoundRefused: it fits neither the terms nor this device's bundle and policy.
        """
        lesson = self.lesson(terms.subject)
        if lesson is None:
            return False
        self._must_fit(lesson, terms)
        return True

    def numbers(self, terms: Terms) -> list[int]:
        """The update or the vote, (N,) whole numbers within the policy's clip.

        Raises:
            RoundRefused: as `is_willing`, or the lesson has gone.
        """
        lesson = self.lesson(terms.subject)
        if lesson is None:
            raise _refused("its lesson is not at hand any more")
        self._must_fit(lesson, terms)
        current, training, sessions = point_of(lesson.current), lesson.training, self.sessions()
        if lesson.purpose == Purpose.CANARY.value:
            candidate = point_of(lesson.candidate)
            vote = canary.vote(candidate, current, sessions, self.frame, training)
            return [int(number) for number in vote]
        update = update_of(current, sessions, self.frame, training)
        layout = Layout(self.frame.size)
        return [int(number) for number in to_integers(update, lesson.clip, layout)]

    def _must_fit(self, lesson: Lesson, terms: Terms) -> None:
        if lesson.purpose != terms.purpose or lesson.digest != terms.subject:
            raise _refused("its lesson is of another round")
        if lesson.bundle != self.bundle:
            raise _refused(f"it is about the bundle '{lesson.bundle}', and here is '{self.bundle}'")
        if len(lesson.current) != self.frame.size:
            raise _refused("its head has another size than the bundle's")
        length, squared_clip = canary.LENGTH, canary.SQUARED_CLIP
        if lesson.purpose == Purpose.HEAD.value:
            layout = Layout(self.frame.size)
            length, squared_clip = layout.length, layout.squared_clip
        if terms.length != length:
            raise _refused(f"it sums {terms.length} numbers, and this device would send {length}")
        if self.policy.price(Purpose(lesson.purpose)).squared_clip != squared_clip:
            raise _refused("the policy's clip is not that of what this device would send")


def _refused(why: str) -> RoundRefused:
    return RoundRefused(
        f"This device takes no part in a round: {why}.", "Nothing was charged or sent."
    )
