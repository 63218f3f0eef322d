"""Settings of queries to a trained field."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ovnerf.config.asked import clean_words
from ovnerf.config.base import Fraction, Name, Positive, Strict


class Query(Strict):
    """Phrases that a trained field is asked for (docs/asking.md#query)."""

    phrases: tuple[str, ...] = ()
    """What `all` asks for, in the notation of docs/asking.md: `a; b` are synonyms,
    `phrase | x, y` has negatives of its own."""
    variants: tuple[Name, ...] = ()
    """Variants that `all` asks, for every scene, encoder and seed; none when empty."""
    negatives: tuple[str, ...] = Field(
        default=("object", "things", "stuff", "texture"), min_length=1
    )
    """Phrases that a point is compared with besides its own. An encoder that knows class names only
    takes the other classes instead."""
    text_bank: Literal["ensemble", "bare"] = "bare"
    """Prompts of phrases and negatives alike: 85 templates, or the bare words."""
    mode: Literal["relevancy", "softmax"] = "relevancy"
    """`relevancy`: each phrase by itself against the negatives. `softmax`: all phrases and
    negatives against each other; a point goes to the one it is most like."""
    threshold: Fraction = 0.5
    """A point belongs to a phrase from this relevancy on (`relevancy` only)."""
    min_points: Positive = 20
    """Smaller groups of connected points are not reported as objects."""
    normalize: bool = False
    """Pictures stretch each view's scores to the whole colour scale, and say so. Absent things glow
    then, too."""

    @field_validator("negatives")
    @classmethod
    def words_that_can_be_seen(cls, negatives: tuple[str, ...]) -> tuple[str, ...]:
        return clean_words(negatives)
