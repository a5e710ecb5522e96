"""How many examples a property test tries."""

from hypothesis import settings

_USUAL = 100  # what Hypothesis tries, and our profile `ci` does


def examples(number: int) -> settings:
    """Let a property test try so many examples, or a share of them where the profile is quick."""
    return settings(max_examples=max(2, number * settings().max_examples // _USUAL))
