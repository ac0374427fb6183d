"""Who was it? A panel of retrained attackers, and what their answers say about people.

    rng = np.random.default_rng(7)
    samples = Samples(rows, person, sentence, session, affect)  # (N, D) and columns of words
    attacked = campaign(samples, seed=7, permutations=4)        # both directions, and chance
    told = told_apart([attacked], size=6)                       # questions of six windows
    print(top1(told, rng), chance(told, rng), worst_decile(told))
    print(verification(told, rng))                              # EER, TPR at 1 % and 0.1 % FPR
    original = told_apart([campaign(raw_samples, 7, 4)], 6)     # level 1 of the same windows
    print(reduction(told, original, rng))                       # R with its interval over people
    for attack in attacked.attacks:
        print(attack.chosen[6], attack.every[6])                # each member's own top-1

Several galleries (folds, sets, streams) are put beside each other by
`told_apart([campaign(...), campaign(...)], 6)`. `QUICK_PANEL` is for trials: a third of the time.

Rules it upholds: attackers are retrained on what they attack; enrolment and test share no text; the
attacker is chosen on held-out enrolment; *chance* is the same panel, its choice included, under
identities permuted within each affect; one seed gives one answer.
"""

from edge_models.training.identity.figures import (
    Told,
    above_chance,
    chance,
    reduction,
    together,
    told_apart,
    top1,
    worst_decile,
)
from edge_models.training.identity.panel import (
    PANEL,
    QUICK_PANEL,
    Attack,
    Campaign,
    attack,
    campaign,
)
from edge_models.training.identity.samples import SIX, Samples
from edge_models.training.identity.verification import (
    accepted_at,
    equal_error_rate,
    verification,
    verified,
)

__all__ = [
    "PANEL",
    "QUICK_PANEL",
    "SIX",
    "Attack",
    "Campaign",
    "Samples",
    "Told",
    "above_chance",
    "accepted_at",
    "attack",
    "campaign",
    "chance",
    "equal_error_rate",
    "reduction",
    "together",
    "told_apart",
    "top1",
    "verification",
    "verified",
    "worst_decile",
]
