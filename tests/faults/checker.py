"""The checker: what clients saw and what the stores hold at the end decide whether the laws held. Pure: no clock, no I/O.

The laws are those of the fault review, by their numbers: K1 no oversell, K2 conservation, K3 holds and counters, K4 sales are stored,
K5 refusals do nothing, K6 the unknown happens once at most, K7 the chained log, K8 one end per hold, K9 deadlines, K10 real-time
order, K11 one key one meaning, K12 every answer is true, K13 losses are told, K16 recovery, K17 honest problems.
"""

from __future__ import annotations

from typing import Final

from tests.faults import laws_of_answers, laws_of_effects, laws_of_log, laws_of_stores, laws_of_time
from tests.faults.account import Account, Violation
from tests.faults.history import Circumstances, History
from tests.faults.stores import Stores

DECIDED: Final = ("K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12", "K13", "K16", "K17")

#: What can not be decided from the outside, or not yet, and why.
UNDECIDED: Final = {
    "K4b": "nobody outside sees the instant of a commit; what is left of it is in K4 and K12: an answer that says durable is stored",
    "K6 of extend": "the deadline counts from the last call, so that every resend may rightly be an event",
    "K12 of refusals after a loss": "units that a lost hold held were rightly refused to others, and the log does not know them",
    "K12 of totals": "a shortage without a location sums levels that are read in one instant; no single level tells it",
    "K14": "one shard: there is nothing to be all or nothing across",
    "K15": "there are no webhooks",
    "K16 of resources": "tasks and memory are of the process, not of its answers",
}


def check(history: History, stores: Stores, circumstances: Circumstances) -> list[Violation]:
    """Every violation that was found, law by law; none = the run was right."""
    account = Account(stores, circumstances.shop)
    return [
        *laws_of_log.never_oversold(account, history),
        *laws_of_log.adds_up(account),
        *laws_of_stores.stores_agree(account),
        *laws_of_stores.holds_add_up(account),
        *laws_of_effects.sales_are_stored(account, history, circumstances),
        *laws_of_effects.refusals_do_nothing(account, history),
        *laws_of_log.is_chained(account),
        *laws_of_log.ends_once(account),
        *laws_of_log.keeps_deadlines(account, circumstances),
        *laws_of_time.lasts_as_promised(history, circumstances),
        *laws_of_answers.order_is_real(account, history, circumstances),
        *laws_of_effects.keys_have_one_meaning(account, history, circumstances),
        *laws_of_answers.answers_are_true(account, history, circumstances),
        *laws_of_effects.losses_are_told(account, history, circumstances),
        *laws_of_answers.recovers_in_time(history, circumstances),
        *laws_of_answers.problems_are_honest(history),
    ]
