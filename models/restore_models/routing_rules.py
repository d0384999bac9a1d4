"""The rules by which a model is chosen for an image: what they go by, and what they choose.

Nothing of it loads a model; `restore_models.routing` looks at images and has the shipped rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["AnyRule", "Choice", "EnlargingRule", "Rule", "Seen"]


@dataclass(frozen=True)
class Seen:
    """What the blind model sees in a sample of an image."""

    noise: int
    """Standard deviation in thousandths of an 8-bit level, not negative."""
    compression: int
    """100 minus the JPEG quality, in thousandths of a point, not negative."""
    blur: int = 0
    """As the model without noise sees it, where that is asked: the sigma of a Gaussian, in thousandths of a
    pixel, not negative."""
    reduction: int = 0
    """As `blur`: how often the image was halved before, in thousandths, not negative."""
    blur_after: int = 0
    """As `blur`, but of what the blind model has restored, where that is asked; else 0."""
    pixels: int = 0
    """How many the image has, as it came."""
    shown_compression: int = 0
    """As `compression`, but as the coefficients show it (`compression_grid`), where that is asked; else 0."""
    grey: bool = False
    """Whether its channels are alike in every pixel, or it has one."""


@dataclass(frozen=True)
class Choice:
    """Ids of models: `model` restores the image in its final size, `small` before that in the size that it
    came in, where one network is not enough."""

    model: str
    small: str | None = None


@dataclass(frozen=True)
class Rule:
    """`quiet` restores an image with less noise than its limit, `noisy` every other; ids of models.

    The limit is `compressed_limit` for images that have lost at least `compressed_from`, else `limit`. What
    `noisy` has restored, `quiet` restores again if it has at least `soft_after` of blur left, and
    `soft_per_level` more for each level of noise, in the `soft_tiles` tiles with the most detail (None: in
    all); None: never. What is noisy and not soft nor grey, and has
    lost less than `alone_compression`, is restored by `alone`, or by `alone_small` if it has at most
    `alone_pixels`; where there is none, by `noisy` as well. With at least `alone_strong_from` of noise
    `alone_strong` takes the place of `alone`, and `alone_strong_small`, or nothing, that of `alone_small`;
    where there is none, nothing does. What is grey is restored by `for_grey`, or by
    `for_grey_small` if it has at most `for_grey_pixels`, but by `quiet` if it is neither noisy nor compressed
    and has at least `for_grey_soft` of blur (None: that is not asked), and by `for_grey_compressed` and
    `for_grey_compressed_small` likewise if it has lost at least `compressed_from`, or shows that it lost at
    least `for_grey_shown` (None: that is not asked), and has less noise than `for_grey_compressed_noise`;
    where there is none, as above.
    """

    noisy: str
    quiet: str
    limit: int
    compressed_from: int
    compressed_limit: int
    soft_after: int | None = None
    soft_per_level: int = 0
    soft_tiles: int | None = None
    alone: str | None = None
    alone_compression: int = 0
    alone_small: str | None = None
    alone_pixels: int = 0
    alone_strong: str | None = None
    alone_strong_small: str | None = None
    alone_strong_from: int = 0
    for_grey: str | None = None
    for_grey_small: str | None = None
    for_grey_pixels: int = 0
    for_grey_soft: int | None = None
    for_grey_compressed: str | None = None
    for_grey_compressed_small: str | None = None
    for_grey_compressed_noise: int = 0
    for_grey_shown: int | None = None

    @property
    def router(self) -> str:
        """The model that looks."""
        return self.noisy

    def models(self) -> tuple[str, ...]:
        """All that it chooses among."""
        strong = (self.alone_strong, self.alone_strong_small)
        compressed = (self.for_grey_compressed, self.for_grey_compressed_small)
        others = (self.alone, self.alone_small, *strong, self.for_grey, self.for_grey_small, *compressed)
        return self.noisy, self.quiet, *(name for name in others if name is not None)

    def without_grey(self) -> Rule:
        """The same for images in colour only."""
        return replace(
            self,
            for_grey=None,
            for_grey_small=None,
            for_grey_soft=None,
            for_grey_compressed=None,
            for_grey_compressed_small=None,
            for_grey_shown=None,
        )

    @property
    def softness(self) -> str | None:
        """The model that is asked how soft an image is, if that is asked of any."""
        return None if self.soft_after is None and self.for_grey_soft is None else self.quiet

    def goes_by_softness(self, seen: Seen) -> bool:
        """Whether how soft an image is may decide over one that is as grey as that."""
        return self.asks_blur(seen) or (self.soft_after is not None and not self._goes_by_grey(seen))

    def choose(self, seen: Seen) -> Choice:
        """The models for an image that looks so."""
        if self.for_grey is not None and seen.grey:
            return Choice(self._of_grey(seen, self.for_grey))
        if not self.is_noisy(seen):
            return Choice(self.quiet)
        if self._is_soft(seen):
            return Choice(self.quiet, self.noisy)
        if self.alone is None or seen.grey or seen.compression >= self.alone_compression:
            return Choice(self.noisy)
        any_size, small = self.alone, self.alone_small
        if self.alone_strong is not None and seen.noise >= self.alone_strong_from:
            any_size, small = self.alone_strong, self.alone_strong_small
        return Choice(small if small is not None and seen.pixels <= self.alone_pixels else any_size)

    def asks_blur(self, seen: Seen) -> bool:
        """Whether `softness` is asked for the blur of an image that looks so, as it came."""
        may_be_asked = self.for_grey_soft is not None and self._goes_by_grey(seen)
        return may_be_asked and not self.is_noisy(seen) and seen.compression < self.compressed_from

    def asks_compression(self, seen: Seen) -> bool:
        """Whether an image that looks so is asked for the compression that its coefficients show."""
        asked = self.for_grey_shown is not None and self.for_grey_compressed is not None
        return (
            asked
            and self._goes_by_grey(seen)
            and seen.compression < self.compressed_from
            and seen.noise < self.for_grey_compressed_noise
        )

    def asks_blur_after(self, seen: Seen) -> bool:
        """Whether it is asked for the blur of what `noisy` has restored of such an image."""
        return self.soft_after is not None and self.is_noisy(seen) and not self._goes_by_grey(seen)

    def _goes_by_grey(self, seen: Seen) -> bool:
        return self.for_grey is not None and seen.grey

    def _of_grey(self, seen: Seen, for_grey: str) -> str:
        """What restores a grey image, where there is a model for such."""
        if self.asks_blur(seen) and self.for_grey_soft is not None and seen.blur >= self.for_grey_soft:
            return self.quiet
        any_size, small = for_grey, self.for_grey_small
        if self.for_grey_compressed is not None and self._is_compressed_grey(seen):
            any_size, small = self.for_grey_compressed, self.for_grey_compressed_small
        return small if small is not None and seen.pixels <= self.for_grey_pixels else any_size

    def _is_compressed_grey(self, seen: Seen) -> bool:
        """Whether a grey image has lost by compression, and has little noise."""
        shows = self.for_grey_shown is not None and seen.shown_compression >= self.for_grey_shown
        compressed = shows or seen.compression >= self.compressed_from
        return compressed and seen.noise < self.for_grey_compressed_noise

    def _is_soft(self, seen: Seen) -> bool:
        """Whether what `noisy` has restored is soft."""
        if self.soft_after is None:
            return False
        return seen.blur_after >= self.soft_after + self.soft_per_level * seen.noise // 1000

    def is_noisy(self, seen: Seen) -> bool:
        """Whether `noisy` restores the image, or restores it first."""
        limit = self.compressed_limit if seen.compression >= self.compressed_from else self.limit
        return seen.noise >= limit


@dataclass(frozen=True)
class EnlargingRule:
    """`enlarged`, the id of a model, restores an enlarged image.

    Before that, where it has at least `clean_noise` or has lost at least `clean_compression`, the model that
    `small` says; else, where it has at least `clean_blur` or `clean_reduction`, `small.quiet`; else none.
    """

    small: Rule
    enlarged: str
    clean_noise: int
    clean_compression: int
    clean_blur: int
    clean_reduction: int

    @property
    def router(self) -> str:
        """The model that looks."""
        return self.small.router

    def models(self) -> tuple[str, ...]:
        """All that it chooses among."""
        return (*self.small.models(), self.enlarged)

    @property
    def softness(self) -> str:
        """The model that is asked how soft an image is."""
        return self.small.quiet

    def goes_by_softness(self, _seen: Seen) -> bool:
        """As `Rule.goes_by_softness`: always."""
        return True

    def asks_blur(self, _seen: Seen) -> bool:
        """As `Rule.asks_blur`: always."""
        return True

    def asks_blur_after(self, _seen: Seen) -> bool:
        """As `Rule.asks_blur_after`: never."""
        return False

    def asks_compression(self, _seen: Seen) -> bool:
        """As `Rule.asks_compression`: never."""
        return False

    def choose(self, seen: Seen) -> Choice:
        """The models for an image that looks so before it is enlarged."""
        if seen.noise >= self.clean_noise or seen.compression >= self.clean_compression:
            return Choice(self.enlarged, self.small.noisy if self.small.is_noisy(seen) else self.small.quiet)
        if seen.blur >= self.clean_blur or seen.reduction >= self.clean_reduction:
            return Choice(self.enlarged, self.small.quiet)
        return Choice(self.enlarged)


AnyRule = Rule | EnlargingRule
