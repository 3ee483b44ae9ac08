"""Recipe + registry -> plan: every name resolved, or every mistake reported, before the first step."""

from transgan.plan.build import Conditioned, build_network, build_networks, mixes_batch
from transgan.plan.plan import Direction, DiscriminatorUse, MediaPlan, NetworkPlan, Plan, Stage, Term
from transgan.plan.resolve import make_plan

__all__ = [
    "Conditioned",
    "Direction",
    "DiscriminatorUse",
    "MediaPlan",
    "NetworkPlan",
    "Plan",
    "Stage",
    "Term",
    "build_network",
    "build_networks",
    "make_plan",
    "mixes_batch",
]
