"""Other ways to choose: again what was chosen before, with few preemptions, or at random."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from swaplab.explore.again import Follow
from swaplab.explore.found import Findings
from swaplab.explore.program import ProgramError
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import Task

__all__ = ["FewPreemptions", "PriorityWalk", "RandomWalk", "Replay"]


class Replay(Follow):
    """Chooses what is written down, and gives the execution up where that ends.

    Args:
        choices: numbers of tasks, in turn.

    Attributes:
        preemptions: how often that interrupts a task that could have gone on.
    """

    def __init__(self, choices: list[int]) -> None:
        super().__init__(choices)
        self.preemptions = 0

    def run(self, explorer: Explorer) -> None:
        """Run the one execution."""
        with explorer.installed():
            explorer.execute(0)

    def pick(self, explorer: Explorer) -> Task | None:
        """Return whose turn it is.

        Raises:
            ProgramError: that task cannot go on now, so this is not the program that was explored.
        """
        depth, tasks = explorer.depth, explorer.able()
        if depth == len(self.choices):
            return None
        chosen = super().pick(explorer)
        if chosen is None:
            names = ", ".join(f"{task.number} ({task.name})" for task in tasks)
            raise ProgramError(
                f"the schedule does not fit: step {depth} can be of {names}, and it says {self.choices[depth]}"
            )
        self.preemptions += explorer.task in tasks and chosen is not explorer.task
        return chosen


class _Sample:
    """A search that leaves executions out.

    Attributes:
        limit: which it runs.
        findings: what breaks.
        executions, steps: run.
        reordered: nothing is known of that.
    """

    has_shortest = knows_all = False

    def __init__(self, limit: str) -> None:
        self.limit = limit
        self.findings = Findings()
        self.executions = self.steps = 0
        self.reordered: set[tuple[str, str]] = set()

    @property
    def name(self) -> str:
        """Which executions it runs."""
        return self.limit

    def execute(self, explorer: Explorer) -> None:
        """Run one execution, and take in what breaks."""
        explorer.execute(0)
        self.executions += 1
        self.steps += explorer.depth
        if explorer.found:
            self.findings.look(explorer.execution(), explorer.found)


class FewPreemptions(_Sample):
    """Depth first through all executions in which at most so many tasks are interrupted that could go on.

    Args:
        bound: how many.
    """

    def __init__(self, bound: int) -> None:
        super().__init__(f"at most {bound} preemptions")
        self.bound = bound
        self._choices: list[list[tuple[int, int]]] = []

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run them all, with `visit` after each, which says whether to go on; return whether it always did."""
        with explorer.installed():
            while True:
                self._used = 0
                self.execute(explorer)
                if not visit():
                    return False
                while self._choices and len(self._choices[-1]) == 1:
                    self._choices.pop()
                if not self._choices:
                    return True
                self._choices[-1].pop(0)

    def pick(self, explorer: Explorer) -> Task:
        """Go on with the running task first, then interrupt it."""
        if explorer.depth == len(self._choices):
            self._choices.append(self._offers(explorer.task, explorer.able()))
        number, cost = self._choices[explorer.depth][0]
        self._used += cost
        return explorer.tasks[number]

    def _offers(self, running: Task | None, tasks: list[Task]) -> list[tuple[int, int]]:
        if running is None or running not in tasks:
            return [(task.number, 0) for task in tasks]
        offers = [(running.number, 0)]
        if self._used < self.bound:
            offers += [(task.number, 1) for task in tasks if task is not running]
        return offers


class RandomWalk(_Sample):
    """Any task may go on at any step.

    Args:
        seed: of the choices.
        executions: to run.
    """

    def __init__(self, seed: int, executions: int) -> None:
        super().__init__(f"{executions:,} random executions, seed {seed}")
        self.executions_max = executions
        self.random = Random(seed)  # noqa: S311

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run them, with `visit` after each, which says whether to go on; return whether it always did."""
        with explorer.installed():
            for _ in range(self.executions_max):
                self.begin()
                self.execute(explorer)
                if not visit():
                    return False
        return True

    def begin(self) -> None:
        """Prepare for an execution."""

    def pick(self, explorer: Explorer) -> Task:
        """Draw one."""
        return self.random.choice(explorer.able())


class PriorityWalk(RandomWalk):
    """PCT: random priorities, lowered at a few random steps; finds a bug of depth d with probability 1/(n k^(d-1)).

    Burckhardt, Kothari, Musuvathi, Nagarakatte: "A randomized scheduler with probabilistic guarantees of finding
    bugs", ASPLOS 2010.

    Args:
        seed: of the choices.
        executions: to run.
        depth: of the bugs to look for: ordering constraints that it takes.
        steps: how long executions are, about.
    """

    def __init__(self, seed: int, executions: int, depth: int, steps: int) -> None:
        super().__init__(seed, executions)
        self.limit += f", for bugs of depth {depth}"
        self.depth = depth
        self.steps = steps

    def begin(self) -> None:
        """Draw where priorities change."""
        self._priorities: dict[int, float] = {}
        self._changes = {self.random.randrange(self.steps): -rank for rank in range(1, self.depth)}

    def pick(self, explorer: Explorer) -> Task:
        """Take the one with the highest priority."""
        tasks = explorer.able()
        for task in tasks:
            self._priorities.setdefault(task.number, self.random.random())
        change = self._changes.get(explorer.depth)
        if change is not None and explorer.task:
            self._priorities[explorer.task.number] = change
        return max(tasks, key=lambda task: self._priorities[task.number])
