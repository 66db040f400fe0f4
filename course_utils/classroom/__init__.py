"""Running, tidying and checking the lessons."""
