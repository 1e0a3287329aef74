"""What the tests of searches share."""

from small_search import searched as searched
