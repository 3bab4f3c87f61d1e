"""What a finished set holds, and what is wrong with it."""
