"""Adapters at work: an endpoint, a router that picks one per request, tools for agents, exports.

`route` and `quality` need no torch, nor do the tools and the exports; `model` and `batching`
reach it through the engine alone.
"""

from __future__ import annotations

from transferlens.serve.quality import RoutingQuality, evaluate_routing
from transferlens.serve.route import Route, Router, fit_router

__all__ = ["Route", "Router", "RoutingQuality", "evaluate_routing", "fit_router"]
