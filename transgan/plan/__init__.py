"""Recipe + registry -> plan: every name resolved and every network built, or every mistake told, before a step."""

from transgan.plan.build import Conditioned, build_network, build_networks, mixes_batch
from transgan.plan.plan import Judge, NetworkPlan, Plan, Stage, Term
from transgan.plan.resolve import make_plan, options_checker

__all__ = [
    "Conditioned",
    "Judge",
    "NetworkPlan",
    "Plan",
    "Stage",
    "Term",
    "build_network",
    "build_networks",
    "make_plan",
    "mixes_batch",
    "options_checker",
]
