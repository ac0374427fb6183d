"""The noise of running sums: a binary tree of nodes, and what a person in it pays.

Rules it upholds: a node's noise is drawn once; the price is counted over *all* nodes of the tree,
shown or not; how often a person may take part is part of the price, and is an argument.

Over T rounds a tree has a node for every aligned block of 1, 2, 4, … rounds. The running sum after
t rounds is made of at most log2(t) + 1 complete nodes, so its noise grows with the logarithm of t
and not with t. A person who takes part in c rounds below a node moves that node by c clips; over
a level whose nodes hold s rounds, k participations move it the most when they fill nodes one
after the other. So, squared L2, in clips,

    S(T, k, b) = sum over levels s = 1, 2, 4, … <= T of q m^2 + r^2,
                 m = ceil(s / b), (q, r) = divmod(k, m),

where b is the least number of rounds from one participation to the next (1: no rule). With k = 1 it
is the number of levels. With b = 1 and T a power of two it is attained. Everybody in every round
(k = T, b = 1) costs about 2 T^2 where independent noise costs T: the tree is for people who come
seldom.

    rho of one tree = S · squared_clip / (2 sigma2);   restarts: every tree is a new one, and adds.

Unit of privacy: the person, over all rounds. Neighbouring: all of a person's updates replaced by
zeros. Mechanism: discrete Gaussian of parameter `sigma2` in every number of every node.

Source: Kairouz et al. 2021 (arXiv 2103.00039), section 3, appendix D (restarts, several
participations); Dwork, Naor, Pitassi, Rothblum 2010; Honaker's refinement is not used.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from sync.noise import RandBelow, discrete_gaussian

Whole = npt.NDArray[np.int64]


def squared_moves(rounds: int, participations: int, apart: int = 1) -> int:
    """S: how far one person moves all nodes of a tree together, squared L2, in clips.

    `participations` in this tree at most, at least `apart` rounds from one to the next.

    Raises:
        ContractError: a number is below 1.
    """
    if min(rounds, participations, apart) < 1:
        raise ContractError("A tree has rounds, participations and a distance of at least 1.")
    most = min(participations, -(-rounds // apart))
    total, size = 0, 1
    while size <= rounds:
        in_a_node = -(-size // apart)
        whole, rest = divmod(most, in_a_node)
        total += whole * in_a_node**2 + rest**2
        size *= 2
    return total


@dataclass(frozen=True, slots=True)
class TreeNoise:
    """Trees of `rounds` rounds each, and noise of `sigma2` (whole units, squared) in every node.

    A person takes part at most `participations` times in a tree, `apart` rounds apart.
    """

    rounds: int
    participations: int
    apart: int
    sigma2: Fraction
    randbelow: RandBelow

    def __post_init__(self) -> None:
        squared_moves(self.rounds, self.participations, self.apart)
        if self.sigma2 <= 0:
            raise ContractError("A tree's noise is positive.")

    @classmethod
    def costing(
        cls,
        rho: Fraction,
        squared_clip: int,
        randbelow: RandBelow,
        *,
        rounds: int,
        participations: int,
        apart: int = 1,
    ) -> Self:
        """The trees of which each costs a person `rho`, exactly.

        Raises:
            ContractError: a number is outside its domain.
        """
        if rho <= 0 or squared_clip < 1:
            raise ContractError("A tree has a positive price and clip.")
        moved = squared_moves(rounds, participations, apart) * squared_clip
        return cls(rounds, participations, apart, moved / (2 * rho), randbelow)

    def rho(self, squared_clip: int, trees: int = 1) -> Fraction:
        """What a person pays for `trees` trees, zCDP."""
        moved = squared_moves(self.rounds, self.participations, self.apart)
        return trees * moved * squared_clip / (2 * self.sigma2)


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The complete nodes that now make up the running sum: (rounds below, noise), largest first."""

    size: int
    grown_rounds: int
    nodes: tuple[tuple[int, Whole], ...]

    @classmethod
    def empty(cls, size: int) -> Self:
        """A tree for vectors of `size` numbers, before its first round."""
        return cls(size, 0, ())

    @property
    def noise(self) -> Whole:
        """The noise in the running sum since the tree began, int64 (D,)."""
        return np.asarray(sum((noise for _, noise in self.nodes), np.zeros(self.size, np.int64)))

    def carried(self, noise: TreeNoise) -> Whole:
        """What the running sum's noise was before the next round: zeros where a tree begins."""
        if self.grown_rounds % noise.rounds == 0:
            return np.zeros(self.size, np.int64)
        return self.noise

    def grown(self, noise: TreeNoise) -> "Tree":
        """The tree after one more round; after `noise.rounds` of them a new one begins."""
        fresh = self.grown_rounds % noise.rounds == 0
        nodes = [] if fresh else list(self.nodes)
        rounds = 1
        while nodes and nodes[-1][0] == rounds:  # two complete halves become one node
            nodes.pop()
            rounds *= 2
        drawn = [discrete_gaussian(noise.sigma2, noise.randbelow) for _ in range(self.size)]
        nodes.append((rounds, np.asarray(drawn, np.int64)))
        return Tree(self.size, (0 if fresh else self.grown_rounds) + 1, tuple(nodes))
