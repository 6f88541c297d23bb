"""Words: vectors learned from running text, and what they tell of words."""
