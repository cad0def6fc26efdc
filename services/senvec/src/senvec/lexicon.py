"""Word lists for news about companies. The lists are this project's own, written for headlines."""

import re
from collections import Counter

WORD = re.compile(r"[a-z][a-z'&\-]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Valence on VADER's scale, -4 to 4: what the words say of a company's prospects.
FINANCE: dict[str, float] = {
    "accelerates": 1.4, "accretive": 1.6, "all-time-high": 2.2, "approval": 1.6, "approves": 1.4, "backlog": 0.6,
    "bankruptcy": -3.4, "bearish": -2.4, "beat": 2.0, "beats": 2.2, "bullish": 2.4, "buyback": 1.8, "buybacks": 1.8,
    "climbs": 1.5, "contracts": 0.3, "cuts": -1.6, "debut": 0.6, "decline": -1.6, "declines": -1.7, "default": -2.8,
    "deficit": -1.6, "delay": -1.5, "delays": -1.6, "delisted": -2.8, "dilution": -1.8, "dip": -1.0, "dips": -1.1,
    "dividend": 1.0, "downgrade": -2.3, "downgraded": -2.3, "downgrades": -2.3, "downturn": -2.0, "drop": -1.6,
    "drops": -1.7, "exceeds": 1.9, "expands": 1.2, "fall": -1.5, "falls": -1.6, "fraud": -3.2, "gains": 1.7,
    "glut": -1.6, "growth": 1.6, "halts": -1.7, "headwind": -1.4, "headwinds": -1.5, "impairment": -2.0,
    "investigation": -1.9, "jumps": 1.9, "launches": 0.9, "lawsuit": -1.8, "layoffs": -1.9, "liquidation": -2.4,
    "misses": -2.2, "missed": -1.9, "outperform": 2.0, "outperforms": 2.1, "outage": -1.7, "overweight": 1.5,
    "plummets": -2.7, "plunge": -2.6, "plunges": -2.7, "probe": -1.8, "profit": 1.7, "profits": 1.7, "raises": 1.5,
    "rally": 1.9, "rallies": 1.9, "rebound": 1.5, "rebounds": 1.6, "recall": -2.0, "recalls": -2.0, "record": 1.5,
    "recession": -2.2, "resigns": -1.3, "restates": -2.2, "rises": 1.5, "sell-off": -2.2, "selloff": -2.2,
    "shortage": -1.6, "shortfall": -1.9, "sinks": -2.1, "slides": -1.8, "slowdown": -1.8, "slows": -1.3,
    "slump": -2.2, "slumps": -2.3, "soars": 2.4, "stumbles": -1.8, "subpoena": -1.9, "surge": 2.0, "surges": 2.2,
    "tops": 1.6, "tumbles": -2.3, "underperform": -2.0, "underweight": -1.5, "unprofitable": -2.0, "upbeat": 1.8,
    "upgrade": 2.2, "upgraded": 2.2, "upgrades": 2.2, "weak": -1.6, "weaker": -1.7, "weakness": -1.7, "widens": -0.6,
    "writedown": -2.2, "write-down": -2.2,
}  # fmt: skip

# Ordinary words of finance that general lists take as praise or blame.
NEUTRAL = _words(
    "share shares interest interests gross tax taxes liability liabilities crude vice cancer capital stake stakes fine "
    "trust security securities bond bonds charge charges cost costs debt foreign mine mines energy like please"
)

UNCERTAIN = _words(
    "almost ambiguity ambiguous anticipate anticipates appear appears approximately assume assumes assumption believe "
    "believes cautious cautiously conditional contingency contingent could depend depends doubt doubts estimate "
    "estimated estimates expect expected expects exposure fluctuate fluctuates fluctuation if indefinite likely may "
    "maybe might nearly pending perhaps possible possibly predict predicts preliminary presumably probable probably "
    "provisional risk risks risky roughly rumor rumored rumors rumour rumours seems sometimes speculation "
    "speculative suggest suggests uncertain uncertainties uncertainty unclear unconfirmed undecided undetermined "
    "unexpected unforeseen unknown unpredictable unresolved unsettled vague variable volatile volatility"
)

LITIGIOUS = _words(
    "accuse accused accuses acquit allege alleged allegedly alleges allegation allegations antitrust appeal appeals "
    "arbitration attorney attorneys breach class-action claimant complaint convict convicted counterclaim court courts "
    "damages defendant defendants deposition felony fraud guilty indict indicted indictment infringe infringed "
    "infringement infringes injunction judge judgment jury lawsuit lawsuits lawyer lawyers legal legally litigate "
    "litigation patent patents plaintiff plaintiffs plea prosecute prosecutor prosecutors regulator regulators ruling "
    "rulings settle settlement settles statute subpoena subpoenas sue sued sues suing testify tort trial tribunal "
    "verdict violate violated violates violation violations"
)

EARNINGS = _words("earnings eps quarterly guidance revenue revenues results outlook")


def counted(text: str) -> Counter[str]:
    """How often each word stands in a text, in lower case; numbers and single letters are no words."""
    return Counter(WORD.findall(text.lower()))
