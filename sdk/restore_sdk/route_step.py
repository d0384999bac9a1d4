"""The step of a plan that chooses the restoring models: what it records, and whether that holds.

A compressed picture has a noise limit of its own since 0.6. Steps of earlier records say nothing of
compression and are judged by the noise alone. Since 0.7 a picture that is to be enlarged may be restored
before that; steps of earlier records name no model for enlarged ones and choose one model only. Since 0.8
what is soft and noisy is restored twice in one size; steps of earlier records have no limit for that. Since
0.9 a third model restores what is noisy and nothing else, and may have a fourth for small pictures; steps of
earlier records name neither. Since 0.10 there are one or two for grey pictures; steps of earlier records name
none, and such pictures are judged by their damage. Since 0.11 a step may say that only the
tiles with the most detail, and how many, are asked for the softness; where it does not, all are. Since 0.13
there are one or two for grey pictures that were compressed; where a step names none, those for grey pictures
restore them too. Since 0.14 what such a picture's coefficients show of its compression may count as well;
where a step has no limit for that, they are not asked. Since 0.16 there are one or two for strong noise and
nothing else; where a step names none, the others restore that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from restore_manifests.schema import Body, Step

if TYPE_CHECKING:
    from restore_models.routing import AnyRule, Choice, Rule, Seen

__all__ = [
    "RESTORE_SMALL",
    "ROUTE",
    "asks_compression",
    "look_after",
    "make_route_step",
    "may_restore_twice",
    "restores_twice",
    "routing_problem",
    "second_look",
    "soft_tiles",
]

ROUTE = "route"
"""The step that looks at a sample of the source to choose the restoring models; it changes no pixel."""

RESTORE_SMALL = "restore_small"
"""The step that restores a picture in the size that it came in, before it is enlarged or restored again."""

_SINCE_0_6 = ("compression_thousandths", "compressed_from_thousandths", "compressed_limit_thousandths")
_SINCE_0_7 = tuple(f"clean_{name}_thousandths" for name in ("noise", "compression", "blur", "reduction"))
_SOFT = ("blur_thousandths", "reduction_thousandths")
_SINCE_0_8 = ("blur_after_thousandths", "soft_after_thousandths", "soft_per_level_thousandths")
_BLUR_AFTER, _SOFT_AFTER, _SOFT_PER_LEVEL = _SINCE_0_8
_SOFT_TILES = "soft_tiles"
_ALONE, _ALONE_COMPRESSION = "alone", "alone_compression_thousandths"
_GREY, _PIXELS = "grey", "pixels"
_OF_SMALL = ("alone_small", "alone_pixels")
_SINCE_0_16 = ("alone_strong", "alone_strong_from_thousandths", "alone_strong_small")
_STRONG, _STRONG_FROM, _SMALL_STRONG = _SINCE_0_16
_FOR_GREY = "for_grey"
_OF_SMALL_GREY = ("for_grey_small", "for_grey_pixels")
_FOR_GREY_SOFT = "for_grey_soft_thousandths"
_SINCE_0_13 = (
    "for_grey_compressed",
    "for_grey_compressed_noise_thousandths",
    "for_grey_compressed_small",
)
_GREY_COMPRESSED, _GREY_NOISE, _SMALL_GREY_COMPRESSED = _SINCE_0_13
_GREY_SHOWN, _SHOWN = "for_grey_shown_thousandths", "shown_compression_thousandths"


def make_route_step(
    *,
    router: str,
    program_sha256: str,
    arithmetic: str,
    rule: AnyRule,
    seen: Seen,
    soft_program_sha256: str | None = None,
) -> Step:
    """The step, with all that the decision rests on: what `router` saw, and the rule.

    `soft_program_sha256` is of the program of `below`, where it was asked how soft the image is.
    """
    from restore_models.routing import EnlargingRule  # noqa: PLC0415 -- torch stays out of light commands

    twice: dict[str, Any] = {}
    if isinstance(rule, EnlargingRule):
        limits = (rule.clean_noise, rule.clean_compression, rule.clean_blur, rule.clean_reduction)
        twice = {
            "below_program_sha256": soft_program_sha256,
            **dict(zip(_SOFT, (seen.blur, seen.reduction), strict=True)),
            **dict(zip(_SINCE_0_7, limits, strict=True)),
            "enlarged": rule.enlarged,
        }
        rule = rule.small
    elif rule.soft_after is not None:
        limits_after = (seen.blur_after, rule.soft_after, rule.soft_per_level)
        twice = dict(zip(_SINCE_0_8, limits_after, strict=True))
        if rule.soft_tiles is not None:
            twice[_SOFT_TILES] = rule.soft_tiles
        if soft_program_sha256 is not None:
            twice["below_program_sha256"] = soft_program_sha256
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
            **twice,
            **_of_noise_alone(rule, seen),
            **_of_grey(rule, seen),
        },
    )


def _of_noise_alone(rule: Rule, seen: Seen) -> dict[str, Any]:
    """What a step states of noise alone, where there is a model for it."""
    if rule.alone is None:
        return {}
    alone: dict[str, Any] = {_ALONE: rule.alone, _ALONE_COMPRESSION: rule.alone_compression, _GREY: seen.grey}
    if rule.alone_small is not None:
        alone |= {
            _PIXELS: seen.pixels,
            **dict(zip(_OF_SMALL, (rule.alone_small, rule.alone_pixels), strict=True)),
        }
    if rule.alone_strong is not None:
        alone |= {_STRONG: rule.alone_strong, _STRONG_FROM: rule.alone_strong_from}
        if rule.alone_strong_small is not None:
            alone[_SMALL_STRONG] = rule.alone_strong_small
    return alone


def _of_grey(rule: Rule, seen: Seen) -> dict[str, Any]:
    """What a step states of grey pictures, where there is a model for them."""
    if rule.for_grey is None:
        return {}
    grey: dict[str, Any] = {_GREY: seen.grey, _FOR_GREY: rule.for_grey}
    if rule.for_grey_soft is not None:
        soft = (rule.for_grey_soft, seen.blur, seen.reduction)
        grey |= dict(zip((_FOR_GREY_SOFT, *_SOFT), soft, strict=True))
    if rule.for_grey_small is not None:
        grey |= {
            _PIXELS: seen.pixels,
            **dict(zip(_OF_SMALL_GREY, (rule.for_grey_small, rule.for_grey_pixels), strict=True)),
        }
    if rule.for_grey_compressed is not None:
        grey |= {_GREY_COMPRESSED: rule.for_grey_compressed, _GREY_NOISE: rule.for_grey_compressed_noise}
        if rule.for_grey_compressed_small is not None:
            grey[_SMALL_GREY_COMPRESSED] = rule.for_grey_compressed_small
        if rule.for_grey_shown is not None:
            grey |= {_GREY_SHOWN: rule.for_grey_shown, _SHOWN: seen.shown_compression}
    return grey


def second_look(step: Step, seen: Seen) -> Step | None:
    """What names the program that says how soft the image is as it came, as a step does; None where it was
    not asked. `seen` is what the sample looks like."""
    rule = _stated_rule(step.parameters)
    return _below(step) if rule is not None and rule.asks_blur(seen) else None


def asks_compression(step: Step, seen: Seen) -> bool:
    """Whether the coefficients of the source are asked for its compression; `seen` is as above."""
    rule = _stated_rule(step.parameters)
    return rule is not None and rule.asks_compression(seen)


def look_after(step: Step, seen: Seen) -> Step | None:
    """As `second_look`, for the program that says how soft the image is once it is restored: it is asked of
    what is noisy. `seen` is what the sample looks like."""
    from restore_models.routing import Rule  # noqa: PLC0415 -- torch stays out of light commands

    rule = _stated_rule(step.parameters) if may_restore_twice(step) else None
    return _below(step) if isinstance(rule, Rule) and rule.asks_blur_after(seen) else None


def soft_tiles(step: Step) -> int | None:
    """How many tiles of the sample say how soft it is once it is restored; None: all."""
    tiles = step.parameters.get(_SOFT_TILES)
    return tiles if type(tiles) is int else None


def may_restore_twice(step: Step) -> bool:
    """Whether the rule of this step may choose two models that restore in one size."""
    return _SOFT_AFTER in step.parameters and "enlarged" not in step.parameters


def _below(step: Step) -> Step:
    named = {
        "model": step.parameters.get("below"),
        "program_sha256": step.parameters.get("below_program_sha256"),
        "arithmetic": step.parameters.get("arithmetic"),
    }
    return Step(operation="look", parameters=named)


def restores_twice(plan: Sequence[Step]) -> bool:
    """Whether two networks restore, one of them the picture in the size that it came in."""
    return any(step.operation == RESTORE_SMALL for step in plan)


def routing_problem(body: Body, seen: Seen | None) -> str | None:
    """What is wrong with the choice of the restoring models, `seen` being what the sample really looks like;
    None where it is right or there was none."""
    named = {step.operation: step.parameters for step in body.plan}
    route = named.get(ROUTE)
    if route is None:
        return None
    rule = _stated_rule(route)
    if seen is None or seen.noise != route.get("noise_thousandths"):
        problem = "the noise by which its model was chosen is another"
    elif _states_compression(route) and seen.compression != route.get("compression_thousandths"):
        problem = "the compression by which its model was chosen is another"
    elif _GREY_SHOWN in route and seen.shown_compression != route.get(_SHOWN):
        problem = "the compression that its coefficients show is another"
    elif route.get(_PIXELS, seen.pixels) != seen.pixels:
        problem = "the size by which its model was chosen is another"
    elif route.get(_GREY, seen.grey) is not seen.grey:
        problem = "it is not as grey or coloured as where its model was chosen"
    elif rule is None:
        problem = "the rule by which its model was chosen is none"
    elif not _states_softness(route, seen):
        problem = "the softness by which its models were chosen is another"
    elif rule.choose(seen) != _planned(named):
        problem = "its model is not the one that its own rule chooses"
    else:
        return None
    return problem


def _planned(named: Mapping[str, Mapping[str, Any]]) -> Choice:
    """What restores by a plan, whose steps' parameters are `named` by operation."""
    from restore_models.routing import Choice  # noqa: PLC0415 -- torch stays out of light commands

    small = named.get(RESTORE_SMALL)
    return Choice(str(named.get("restore", {}).get("model")), str(small.get("model")) if small else None)


def _states_softness(route: Mapping[str, Any], seen: Seen) -> bool:
    """Whether what a step says of the softness is so; most do not say anything."""
    asked = "enlarged" in route or _FOR_GREY_SOFT in route
    if asked and (seen.blur, seen.reduction) != tuple(route.get(name) for name in _SOFT):
        return False
    if "enlarged" in route:
        return True
    return _SOFT_AFTER not in route or seen.blur_after == route.get(_BLUR_AFTER)


def _states_compression(route: Mapping[str, Any]) -> bool:
    return not route.keys().isdisjoint(_SINCE_0_6)


def _stated_rule(route: Mapping[str, Any]) -> AnyRule | None:
    """The rule that a step states; None if its limits are none."""
    from restore_models.routing import EnlargingRule, Rule  # noqa: PLC0415 -- as above

    limit, start, compressed_limit = (route.get(name) for name in ("limit_thousandths", *_SINCE_0_6[1:]))
    if not _states_compression(route):
        start, compressed_limit = 0, limit
    if type(limit) is not int or type(start) is not int or type(compressed_limit) is not int:
        return None
    rule = Rule(str(route.get("otherwise")), str(route.get("below")), limit, start, compressed_limit)
    if "enlarged" in route:
        limits = [limit for name in _SINCE_0_7 if type(limit := route.get(name)) is int]
        return (
            EnlargingRule(rule, str(route["enlarged"]), *limits) if len(limits) == len(_SINCE_0_7) else None
        )
    if not route.keys().isdisjoint(_SINCE_0_8):
        after, per_level = route.get(_SOFT_AFTER), route.get(_SOFT_PER_LEVEL)
        tiles = route.get(_SOFT_TILES)
        if type(after) is not int or type(per_level) is not int or not _is_count(tiles):
            return None
        rule = replace(rule, soft_after=after, soft_per_level=per_level, soft_tiles=tiles)
    judged = rule if _ALONE not in route else _with_noise_alone(rule, route)
    return judged if judged is None or _FOR_GREY not in route else _with_grey(judged, route)


def _is_count(tiles: object) -> bool:
    """Whether a step says how many tiles are asked, one at least, or does not say it."""
    return tiles is None or (type(tiles) is int and tiles > 0)


def _with_noise_alone(rule: Rule, route: Mapping[str, Any]) -> Rule | None:
    """`rule` with what a step states of noise alone; None if its limits are none."""
    compression, small, pixels = (route.get(name) for name in (_ALONE_COMPRESSION, *_OF_SMALL))
    if type(compression) is not int:
        return None
    rule = replace(rule, alone=str(route[_ALONE]), alone_compression=compression)
    if not route.keys().isdisjoint(_OF_SMALL):
        if not isinstance(small, str) or type(pixels) is not int:
            return None
        rule = replace(rule, alone_small=small, alone_pixels=pixels)
    return rule if route.keys().isdisjoint(_SINCE_0_16) else _with_strong_noise(rule, route)


def _with_strong_noise(rule: Rule, route: Mapping[str, Any]) -> Rule | None:
    """As `_with_noise_alone`, of strong noise."""
    model, start, small = (route.get(name) for name in _SINCE_0_16)
    if not isinstance(model, str) or type(start) is not int:
        return None
    if _SMALL_STRONG in route and not isinstance(small, str):
        return None
    return replace(rule, alone_strong=model, alone_strong_from=start, alone_strong_small=small)


def _with_grey(rule: Rule, route: Mapping[str, Any]) -> Rule | None:
    """`rule` with what a step states of grey pictures; None if its limits are none."""
    rule = replace(rule, for_grey=str(route[_FOR_GREY]))
    if _FOR_GREY_SOFT in route:
        soft = route[_FOR_GREY_SOFT]
        if type(soft) is not int:
            return None
        rule = replace(rule, for_grey_soft=soft)
    if not route.keys().isdisjoint(_OF_SMALL_GREY):
        small, pixels = (route.get(name) for name in _OF_SMALL_GREY)
        if not isinstance(small, str) or type(pixels) is not int:
            return None
        rule = replace(rule, for_grey_small=small, for_grey_pixels=pixels)
    return rule if route.keys().isdisjoint(_SINCE_0_13) else _with_compressed_grey(rule, route)


def _with_compressed_grey(rule: Rule, route: Mapping[str, Any]) -> Rule | None:
    """As `_with_grey`, of those that were compressed."""
    model, noise, small = (route.get(name) for name in _SINCE_0_13)
    if not isinstance(model, str) or type(noise) is not int:
        return None
    rule = replace(rule, for_grey_compressed=model, for_grey_compressed_noise=noise)
    if _GREY_SHOWN in route:
        shown = route[_GREY_SHOWN]
        if type(shown) is not int:
            return None
        rule = replace(rule, for_grey_shown=shown)
    if _SMALL_GREY_COMPRESSED not in route:
        return rule
    return replace(rule, for_grey_compressed_small=small) if isinstance(small, str) else None
