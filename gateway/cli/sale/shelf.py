"""The units of one sku as they must be, by the answers alone: never exactly known while answers are under way, but always within
bounds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Shelf:
    """One sku. All are counts of units, of which each try takes one.

    `sure`: promised at this moment whatever the clocks say, and `sure_max` the most there ever were. `alive`: promised and perhaps
    not over yet, so never below `sure`; `asking`: tries whose outcome is not known. `ended`: promises that are surely over.
    """

    units: int
    sure: int = 0
    sure_max: int = 0
    alive: int = 0
    asking: int = 0
    ended: int = 0
    sold: int = 0
    lost: int = 0
    false_refusals: int = 0

    @property
    def oversold(self) -> int:
        """Units that were promised to two at one moment. A hold that was told as lost had gone back before: it explains one."""
        return max(0, self.sure_max - self.units - self.lost)

    @property
    def held_min(self) -> int:
        """Units that must be held now."""
        return max(0, self.sure - self.sold)

    @property
    def held_max(self) -> int:
        """Units that may be held now."""
        return self.alive - self.sold + self.asking

    def promise(self, *, is_sure: bool) -> None:
        """One more unit is promised; not surely, where the answer came so late that the promise may be over."""
        self.alive += 1
        if is_sure:
            self.be_sure()

    def be_sure(self) -> None:
        """A promise is known to hold now."""
        self.sure += 1
        self.sure_max = max(self.sure_max, self.sure)

    def end(self) -> None:
        """A promise is surely over."""
        self.alive -= 1
        self.ended += 1

    def judge_refusal(self, ended_before: int) -> bool:
        """Whether a refusal can be true that was asked for when `ended` was `ended_before`, and has just been answered.

        At no moment in between can more units have been taken than are alive now, are being asked for now, or ended meanwhile
        (the try that was refused took none). If even these leave a unit over, the refusal hid it.
        """
        is_true = self.alive + self.asking + self.ended - ended_before >= self.units
        if not is_true:
            self.false_refusals += 1
        return is_true
