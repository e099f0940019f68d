"""What the page learns of how often a concept is right."""

from geohash_rs.errors import CalibrationError
from geohash_rs.serve.messages import LimitAnswer, PromiseAnswer
from geohash_rs.trust.promise import Promise

__all__ = ["limit_answers", "promise_answer"]

PRECISIONS = (0.7, 0.8, 0.9, 0.95)  # that the page offers


def promise_answer(promise: Promise | None) -> PromiseAnswer | None:
    """Describe a promise for the page.

    Args:
        promise: What is known about precision by cost.

    Returns:
        What the slider shows; None without a promise.
    """
    if promise is None:
        return None
    return PromiseAnswer(
        values=promise.values.tolist(), promised=promise.promised.tolist(), delta=promise.delta
    )


def limit_answers(promise: Promise | None) -> list[LimitAnswer]:
    """Find the largest cost of each precision that the page offers.

    Args:
        promise: What is known about precision by cost.

    Returns:
        One for each precision, with the reason where it cannot be promised; none without a promise.
    """
    limits: list[LimitAnswer] = []
    if promise is None:
        return limits
    for precision in PRECISIONS:
        try:
            found = LimitAnswer(precision=precision, cost=promise.limit(precision), problem=None)
        except CalibrationError as error:
            found = LimitAnswer(precision=precision, cost=None, problem=str(error))
        limits.append(found)
    return limits
