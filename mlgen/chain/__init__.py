"""Runs the chain that a card describes.

from mlgen.card import load_card
from mlgen.chain import plan_chain, run_chain

result = run_chain(plan_chain(load_card(Path("card.toml"))))

Of a card with a [process], the cross section:

result = integrate(plan_integration(load_card(Path("card.toml"))))
print(result.cross_section, result.error)
"""

from mlgen.chain.integration import integrate
from mlgen.chain.integration_result import IntegrationResult
from mlgen.chain.plan import Plan, PlannedStage, plan_chain, plan_integration
from mlgen.chain.report import RunResult, StageResult
from mlgen.chain.run import run_chain, train_chain
from mlgen.stages import Reporter, silent

__all__ = [
    "IntegrationResult",
    "Plan",
    "PlannedStage",
    "Reporter",
    "RunResult",
    "StageResult",
    "integrate",
    "plan_chain",
    "plan_integration",
    "run_chain",
    "silent",
    "train_chain",
]
