"""Runs courses: lesson, round of the head, sum, optimiser, and again; then a vote, then a verdict.

Rules upheld here: a round's lesson is on disk before the round is begun, and its terms name it; a
round that fails, or whose sum clipped updates can't have given, moves nothing; a candidate is
published only if the gate says so, and is on disk before anybody hears of it; one course at a time.
It looks at the book and does what follows from it, so it may be asked, or started again, at
any moment.

    begun -> a lesson -> its round runs -> opened: counted | failed, suspicious: again, thrice
          -> (after the last) the vote -> published | the old head stays -> ended

In the life of a federated round: `post` asks **this** what to do, `course` says what is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_models.bundle import Bundle
from edge_models.errors import ContractError
from edge_models.frame import Frame
from edge_models.head import Head
from sync.coordinator.clipping import Clip
from sync.coordinator.course import (
    MOST_FAILURES,
    Asked,
    Course,
    Taken,
    keep,
    kept,
    optimiser_of,
    played,
)
from sync.coordinator.drafts import draft_of, noise_in
from sync.coordinator.gate import Rule, decide
from sync.coordinator.round_book import Entry, RoundBook, State
from sync.coordinator.rounds import Rounds, total_of
from sync.coordinator.suspicion import examined
from sync.envelope import decoded
from sync.errors import PolicyError, ProtocolError, StrategyError
from sync.federated import canary
from sync.federated.layout import Layout
from sync.federated.lesson import (
    VERSION,
    HeadForAll,
    Lesson,
    numbers_of,
    point_of,
    sign_head,
    sign_lesson,
)
from sync.federated.update import Mean, Training, from_sum
from sync.identity import Identity
from sync.policy import Policy, Purpose
from sync.secure_sum.terms import SignedTerms, Terms

FIRST_CLIP: Final = 1.0
CLIP_QUANTILE: Final = 0.95
RULE: Final = Rule(hostile=0.02)
TRAINING: Final = Training()


@dataclass(frozen=True, slots=True)
class School:
    """What is taught: a bundle's head in its frame; and how. `bundle` is the bundle's `space`.

    `frame` is along the bundle's own `head`; `flower_python` an interpreter with Flower, used only
    where a course asks for it.
    """

    bundle: str
    frame: Frame
    head: Head
    flower_python: Path
    training: Training = TRAINING
    rule: Rule = RULE

    @classmethod
    def of(cls, bundle: Bundle, flower_python: Path) -> "School":
        """The usual one for a bundle."""
        return cls(bundle.space, bundle.frame.along(bundle.head), bundle.head, flower_python)


class Learning:
    """The courses of one study; `rounds` runs their rounds."""

    def __init__(
        self,
        book: RoundBook,
        rounds: Rounds,
        school: School,
        *,
        study: str,
        policy: Policy,
        policy_digest: str,
        coordinator: Identity,
    ) -> None:
        self._book = book
        self._rounds = rounds
        self._school = school
        self._study = study
        self._policy = policy
        self._policy_digest = policy_digest
        self._coordinator = coordinator
        self._layout = Layout(school.frame.size)
        courses = kept(book)
        self._count = len(courses)
        self._course = next((one for one in courses if not one.ended), None)
        given = [one.published for one in courses if one.published is not None]
        self._head = given[-1] if given else None
        self._unsaid = self._head is not None  # after a restart, say it again: it costs little

    @property
    def course(self) -> Course | None:
        """The course that runs now."""
        return self._course

    @property
    def head_said(self) -> bytes | None:
        """The newest head that was given to everybody, signed: a HEAD parcel's content."""
        return None if self._head is None else sign_head(self._head, self._coordinator)

    def lesson_said(self, subject: str) -> bytes | None:
        """The lesson that terms are about, signed; None if it isn't that of the running round."""
        lesson = self.lesson(subject)
        return None if lesson is None else sign_lesson(lesson, self._coordinator)

    def lesson(self, subject: str) -> Lesson | None:
        """The same, unsigned."""
        course = self._course
        lesson = None if course is None else course.lesson
        return lesson if lesson is not None and lesson.digest == subject else None

    def begin(self, asked: Asked) -> Course:
        """Keep a new course; its first round is begun by `advance`.

        Raises:
            PolicyError: one runs already, or the policy has no prices for it.
            RoundBookError: it can't be kept.
        """
        if self._course is not None:
            raise PolicyError(
                f"Course {self._course.number} still runs.", "Ask again when it has ended."
            )
        self._course = Course(
            version=VERSION,
            number=self._count + 1,
            optimiser=asked.optimiser,
            moving_clip=asked.moving_clip,
            rounds=asked.rounds,
            minutes=float(asked.minutes),
            bundle=self._school.bundle,
            rho_head=self._policy.price(Purpose.HEAD).rho,
            rho_canary=self._policy.price(Purpose.CANARY).rho,
            delta=self._policy.delta,
            current=numbers_of(self._school.frame.point(self._current_head())),
        )
        keep(self._book, self._course)
        self._count += 1
        return self._course

    def advance(self, now: int) -> tuple[bytes, ...]:
        """Do what can be done now; HEAD parcels' contents that everybody has to be told.

        Raises:
            RoundBookError: the book can't be read or written; ask again.
            PolicyError: a round can't be had under the policy; the course has ended.
        """
        if (course := self._course) is not None:
            try:
                self._step(course, now)
            except (StrategyError, ContractError, PolicyError) as fault:
                self._keep(course, lesson=None, ended=True, why=str(fault.cause))
                raise PolicyError(
                    f"Course {course.number} has ended: {fault.cause}", fault.remedy
                ) from fault
        if not self._unsaid:
            return ()
        self._unsaid = False
        said = self.head_said
        return () if said is None else (said,)

    def _step(self, course: Course, now: int) -> None:
        if course.lesson is None:
            lesson = self._next(course)
            course = self._keep(course, lesson=lesson, candidate=lesson.candidate or None)
        entry = self._entry(course.lesson)
        if entry is None:
            self._start(course, now)
        elif entry.state is not State.RUNNING:
            self._judge(course, entry)

    def _next(self, course: Course) -> Lesson:
        """The next round's lesson: of the head until there were enough, then of the vote."""
        means = self._means(course)
        with optimiser_of(course.optimiser, self._school.flower_python) as optimiser:
            here, offered = played(
                point_of(course.current), [mean.update for mean in means], optimiser
            )
        votes = len(means) >= course.rounds
        if votes:
            self._school.frame.head(offered)  # raises where it is none
        training = self._school.training
        return Lesson(
            version=VERSION,
            study=self._study,
            purpose="canary" if votes else "head",
            bundle=course.bundle,
            course=course.number,
            place=len(course.taken) + 1,
            current=course.current if votes else numbers_of(here),
            candidate=numbers_of(offered) if votes else (),
            clip=_clip(course, means),
            steps=training.steps,
            rate=training.rate,
            shares=training.shares,
        )

    def _start(self, course: Course, now: int) -> None:
        lesson = course.lesson
        if lesson is None:
            return
        votes = lesson.purpose == Purpose.CANARY.value
        draft = draft_of(
            Purpose(lesson.purpose),
            lesson.digest,
            study=self._study,
            policy=self._policy,
            policy_digest=self._policy_digest,
            now=now,
            step_s=max(1, round(60 * course.minutes)),
            length=canary.LENGTH if votes else self._layout.length,
        )
        self._rounds.start(draft, now)

    def _judge(self, course: Course, entry: Entry) -> None:
        """Take in a round that is over; all that follows is kept at once."""
        lesson = course.lesson
        if lesson is None:
            return
        opened = entry.state is State.OPENED
        why = "" if opened else entry.why
        changes: dict[str, object] = {}
        if opened and lesson.purpose == Purpose.HEAD.value:
            outcome = examined(
                total_of(entry),
                self._layout,
                members=entry.members,
                sigma2=_sigma2(entry),
                scale=_terms(entry).scale,
            )
            why = "" if outcome.suspicion is None else outcome.suspicion.value
        elif opened:
            changes = self._verdict(course, lesson, entry)
        taken = Taken(
            purpose=lesson.purpose,
            lesson=lesson.digest,
            opened=opened,
            counted=opened and not why,
            members=entry.members,
            clip=lesson.clip,
            why=why,
        )
        after = course.model_copy(update={"taken": (*course.taken, taken)})
        if after.failures >= MOST_FAILURES:
            changes = {"ended": True, "why": f"{MOST_FAILURES} rounds in a row failed: {why}"}
        self._keep(after, lesson=None, **changes)

    def _verdict(self, course: Course, lesson: Lesson, entry: Entry) -> dict[str, object]:
        try:
            verdict = decide(
                total_of(entry),
                members=entry.members,
                sigma2=_sigma2(entry),
                rule=self._school.rule,
                scale=_terms(entry).scale,
            )
        except ProtocolError as fault:
            return {"ended": True, "why": fault.cause}
        found: dict[str, object] = {
            "ended": True,
            "gain": verdict.gain,
            "at_least": verdict.at_least,
            "why": "the votes don't prove the candidate better",
        }
        if verdict.publish:
            number = 1 if self._head is None else self._head.number + 1
            found["why"] = f"head {number} was published"
            found["published"] = HeadForAll(
                version=VERSION,
                study=self._study,
                bundle=course.bundle,
                number=number,
                head=self._school.frame.head(point_of(lesson.candidate)),
            )
        return found

    def _keep(self, course: Course, **changes: object) -> Course:
        after = course.model_copy(update=changes)
        keep(self._book, after)
        self._course = None if after.ended else after
        if after.published is not None:
            self._head, self._unsaid = after.published, True
        return after

    def _current_head(self) -> Head:
        given = self._head
        return given.head if given and given.bundle == self._school.bundle else self._school.head

    def _means(self, course: Course) -> list[Mean]:
        means = []
        for taken in course.counted:
            entry = self._entry_of(taken.lesson)
            if entry is None:
                raise ContractError("A round that was counted is not in the book.")
            scale = _terms(entry).scale
            means.append(
                from_sum(
                    total_of(entry), self._layout, taken.clip, members=entry.members, scale=scale
                )
            )
        return means

    def _entry(self, lesson: Lesson | None) -> Entry | None:
        return None if lesson is None else self._entry_of(lesson.digest)

    def _entry_of(self, digest: str) -> Entry | None:
        found = [e for e in self._book.entries(digest.encode()) if _terms(e).subject == digest]
        return found[-1] if found else None


def _clip(course: Course, means: Sequence[Mean]) -> float:
    clip = Clip(FIRST_CLIP, quantile=CLIP_QUANTILE)
    if course.moving_clip:
        for mean in means:
            clip = clip.after(mean.within)
    return clip.value


def _terms(entry: Entry) -> Terms:
    return decoded(entry.terms, SignedTerms).terms


def _sigma2(entry: Entry) -> float:
    """Parameter of all the noise in an opened sum, in the vector's own units."""
    terms = _terms(entry)
    return float(noise_in(terms, entry.joined).sum_sigma2(entry.members))
