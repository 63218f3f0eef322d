"""Phrases to scores and objects: everything between a text encoder and an answer.

Points and text vectors are loaded once; a phrase then costs one product of its 28 numbers with the
points' features. No ray is marched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from ovnerf.asking.description import Description
from ovnerf.asking.instances import Instance, find_instances
from ovnerf.asking.points import Points
from ovnerf.asking.relevancy import cosines, relevancy, softmax
from ovnerf.asking.text import Encode, has_text_encoder, text_encoder
from ovnerf.asking.text_cache import kept_vector
from ovnerf.asking.views import View
from ovnerf.config.phrases import Phrase, require_rivals
from ovnerf.config.query import Query
from ovnerf.encoders.text import unit_mean
from ovnerf.labels.vocabulary import prompts
from ovnerf.runtime.errors import UserError
from ovnerf.storage.text import word_form

Score = np.ndarray
"""f32 (n,), of one phrase at n points or pixels, in [0, 1]."""
LEAST_SHARE = float(np.finfo(np.float32).tiny)
"""Below every score that a phrase has in mode `softmax` where it wins; 0 is where it does not."""


@dataclass(frozen=True)
class Answer:
    """What was found for a phrase.

    Attributes:
        phrase: what was asked.
        negatives: what it was compared with.
        score: of the best instance. Without one, the mean of the `min_points` highest scores of
            points that may answer, which those of another class may not; 0 where there is none.
        relevancy: f32 (n,), of every point.
        instances: of highest score first.
    """

    phrase: Phrase
    negatives: tuple[str, ...]
    score: float
    relevancy: np.ndarray
    instances: list[Instance]

    @property
    def found(self) -> bool:
        """Whether there is an instance."""
        return bool(self.instances)


@dataclass
class Vectors:
    """Text vectors of words in one prompt bank, each made once.

    Attributes:
        description: of the run, whose encoder makes them.
        classes: vectors of the run's class names by name, for encoders without a text half.
        bank: prompt bank of phrases and negatives alike.
        open_encoder: loads the text half; called at the first word whose vector is not kept on
            the disk (`text_cache`).
    """

    description: Description
    classes: dict[str, np.ndarray]
    bank: Literal["ensemble", "bare"]
    open_encoder: Callable[[Description], Encode] = text_encoder
    known: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def encode(self) -> Encode:
        """The encoder's text half."""
        return self.open_encoder(self.description)

    def __getitem__(self, word: str) -> np.ndarray:
        """Unit vector f32 (D,) of a word or phrase.

        Raises:
            UserError: too long for the encoder, or unknown to one that has class names only.
        """
        if word not in self.known:
            self.known[word] = self.make(word)
        return self.known[word]

    def make(self, word: str) -> np.ndarray:
        """See `__getitem__`."""
        if not has_text_encoder(self.description):
            return self.class_vector(word)
        texts = prompts(word, self.bank)
        try:
            return kept_vector(
                self.description,
                texts,
                lambda: unit_mean(self.encode(texts)).float().cpu().numpy(),
            )
        except UserError as error:
            reason = error.message.removeprefix("class list: ")
            raise UserError(f"phrase {word[:60]!r}: {reason}", "use fewer words") from None

    def class_vector(self, word: str) -> np.ndarray:
        """Vector of a class name, for encoders that know no other words."""
        found = [name for name in self.classes if word_form(name) == word_form(word)]
        if not found:
            raise UserError(
                f"phrase {word!r}: the encoder `{self.description.encoder['kind']}` of "
                f"{self.description.source} has no text half, so it knows its class names only: "
                f"{', '.join(self.classes)}",
                "ask for one of them, or train with an `openclip`, `dense_clip` or `lseg` encoder",
            )
        return self.classes[found[0]]


class Asker:
    """Answers phrases from the points of a run."""

    def __init__(self, description: Description, points: Points, settings: Query) -> None:
        """Take a run's points; the text encoder is loaded at the first phrase."""
        self.description, self.points, self.settings = description, points, settings
        rows = getattr(points.text, settings.text_bank)
        classes = dict(zip(points.classes, rows, strict=True))
        self.vectors = Vectors(description, classes, settings.text_bank)

    def negatives(self, phrase: Phrase) -> tuple[str, ...]:
        """What a phrase is compared with: its own negatives, or those of the settings.

        An encoder that knows class names only compares with the other classes. A phrase is never
        compared with itself or its synonyms.

        Raises:
            UserError: nothing is left to compare it with. In mode `softmax`, where the phrases
                compete with each other, there may be none.
        """
        every = phrase.negatives or self.settings.negatives
        if not phrase.negatives and not has_text_encoder(self.description):
            every = tuple(self.vectors.classes)
        left = tuple(word for word in every if not phrase.means(word))
        if not left and self.settings.mode == "relevancy":
            raise UserError(
                f"phrase {phrase.text!r}: found nothing to compare it with but its own words "
                f"({', '.join(every) or 'no negatives'}), expected at least one other word",
                "name what it could be mistaken for after a `|`, or leave out a synonym",
            )
        return left

    def reduced(self, words: Sequence[str]) -> np.ndarray:
        """U^T t of each word, f32 (k, 28)."""
        matrix = self.points.matrix
        vectors = np.array([self.vectors[word] for word in words], dtype=np.float32)
        return vectors.reshape(-1, len(matrix)) @ matrix  # k may be 0

    def most_like(self, words: Sequence[str], feature: np.ndarray) -> np.ndarray:
        """Largest cosine of unit features f32 (n, 28) with any of the words, f32 (n,)."""
        return cosines(feature, self.reduced(words)).max(0)

    def scores(self, phrases: Sequence[Phrase], feature: np.ndarray) -> list[Score]:
        """A score of each phrase at unit features f32 (n, 28), of points or of rendered pixels.

        In mode `softmax` a score is 0 where another phrase, or a negative, is more like the point.

        Raises:
            UserError: two phrases of mode `softmax` have the same synonyms, so that none can win.
        """
        if self.settings.mode == "relevancy":
            # Phrases without negatives of their own share those of the settings.
            against = {
                words: self.most_like(words, feature)
                for words in dict.fromkeys(map(self.negatives, phrases))
            }
            return [
                relevancy(self.most_like(phrase.synonyms, feature), against[self.negatives(phrase)])
                for phrase in phrases
            ]
        require_rivals(phrases)
        asked = np.stack([self.most_like(phrase.synonyms, feature) for phrase in phrases])
        shares, winner = softmax(asked, cosines(feature, self.reduced(self.rivals(phrases))))
        return [np.where(winner == k, shares[k], np.float32(0)) for k in range(len(phrases))]

    def view_scores(self, phrases: Sequence[Phrase], view: View) -> list[Score]:
        """Scores f32 (H, W) of each phrase in a view; 0 where a ray meets nothing."""
        size = view.opacity.shape
        scores = self.scores(phrases, view.feature.reshape(-1, view.feature.shape[-1]))
        return [np.where(view.opacity > 0, score.reshape(size), np.float32(0)) for score in scores]

    def rivals(self, phrases: Sequence[Phrase]) -> list[str]:
        """All negatives of some phrases that are not asked for themselves."""
        words = {word for phrase in phrases for word in self.negatives(phrase)}
        return sorted(word for word in words if not any(phrase.means(word) for phrase in phrases))

    @property
    def threshold(self) -> float:
        """A point belongs to a phrase from this score on.

        In mode `softmax` every score above 0 is enough: the point is most like the phrase.
        """
        return self.settings.threshold if self.settings.mode == "relevancy" else LEAST_SHARE

    def answers(self, phrases: Sequence[Phrase]) -> list[Answer]:
        """What the points say to each phrase."""
        scores = self.scores(phrases, self.points.feature)
        return [self.answer(*pair) for pair in zip(phrases, scores, strict=True)]

    def of_another_class(self, phrase: Phrase) -> np.ndarray:
        """Points that a class other than the phrase's owns, bool (n,).

        Where no word of the phrase is a class name, no point is known to be of another class.
        """
        own = [number for number, name in enumerate(self.points.classes) if phrase.means(name)]
        return ~np.isin(self.points.label, own) if own else np.zeros(len(self.points), dtype=bool)

    def answer(self, phrase: Phrase, score: Score) -> Answer:
        """The objects of one phrase, from its score at every point."""
        points, settings = self.points, self.settings
        may_answer = ~self.of_another_class(phrase)
        chosen = np.flatnonzero((score >= self.threshold) & may_answer)
        up = self.description.up
        found = find_instances(points.xyz, points.cell, score, chosen, settings.min_points, up)
        highest = np.sort(score[may_answer])[-settings.min_points :]
        best = float(highest.mean()) if len(highest) else 0.0
        sure = found[0].score if found else best
        return Answer(phrase, self.negatives(phrase), sure, score, found)
