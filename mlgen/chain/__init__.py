"""Runs the chain that a card describes.

from mlgen.card import load_card
from mlgen.chain import plan_chain, run_chain

result = run_chain(plan_chain(load_card(Path("card.toml"))))
"""

from mlgen.chain.plan import Plan, PlannedStage, plan_chain
from mlgen.chain.report import RunResult, StageResult
from mlgen.chain.run import run_chain, train_chain
from mlgen.stages import Reporter, silent

__all__ = [
    "Plan",
    "PlannedStage",
    "Reporter",
    "RunResult",
    "StageResult",
    "plan_chain",
    "run_chain",
    "silent",
    "train_chain",
]
