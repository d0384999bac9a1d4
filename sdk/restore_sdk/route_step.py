"""The step of a plan that chooses the restoring model: what it records, and whether that holds.

A compressed picture has a noise limit of its own since 0.6. Steps of earlier records say nothing of
compression and are judged by the noise alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from restore_manifests.schema import Body, Step

if TYPE_CHECKING:
    from restore_models.routing import Rule, Seen

__all__ = ["ROUTE", "make_route_step", "routing_problem"]

ROUTE = "route"
"""The step that looks at a sample of the source to choose the restoring model; it changes no pixel."""

_SINCE_0_6 = ("compression_thousandths", "compressed_from_thousandths", "compressed_limit_thousandths")


def make_route_step(*, router: str, program_sha256: str, arithmetic: str, rule: Rule, seen: Seen) -> Step:
    """The step, with all that the decision rests on: what `router` saw, and the rule."""
    return Step(
        operation=ROUTE,
        parameters={
            "model": router,
            "program_sha256": program_sha256,
            "arithmetic": arithmetic,
            "noise_thousandths": seen.noise,
            "limit_thousandths": rule.limit,
            "compression_thousandths": seen.compression,
            "compressed_from_thousandths": rule.compressed_from,
            "compressed_limit_thousandths": rule.compressed_limit,
            "below": rule.quiet,
            "otherwise": rule.noisy,
        },
    )


def routing_problem(body: Body, seen: Seen | None) -> str | None:
    """What is wrong with the choice of the restoring model, `seen` being what its sample really looks like;
    None where it is right or there was none."""
    from restore_models.routing import Rule  # noqa: PLC0415 -- torch stays out of light commands

    named = {step.operation: step.parameters for step in body.plan}
    route, restored = named.get(ROUTE), named.get("restore", {})
    if route is None:
        return None
    if seen is None or seen.noise != route.get("noise_thousandths"):
        return "the noise by which its model was chosen is another"
    earlier = route.keys().isdisjoint(_SINCE_0_6)
    if not earlier and seen.compression != route.get("compression_thousandths"):
        return "the compression by which its model was chosen is another"
    limit, start, compressed_limit = (route.get(name) for name in ("limit_thousandths", *_SINCE_0_6[1:]))
    if earlier:
        start, compressed_limit = 0, limit
    if type(limit) is not int or type(start) is not int or type(compressed_limit) is not int:
        return "the rule by which its model was chosen is none"
    rule = Rule(str(route.get("otherwise")), str(route.get("below")), limit, start, compressed_limit)
    chosen = rule.choose(seen)
    return None if restored.get("model") == chosen else "its model is not the one that its own rule chooses"
