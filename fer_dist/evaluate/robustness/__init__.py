"""Models on harmed images and on covered faces."""
