"""Pure functions of a predictions table: scores, their intervals, comparisons. Imports storage alone."""
