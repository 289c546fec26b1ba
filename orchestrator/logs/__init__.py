"""From bytes to matches: cleaning, splitting into steps, and one pass over each log."""
