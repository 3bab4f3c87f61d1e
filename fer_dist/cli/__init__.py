"""What a person types: the table of commands, and a file for each. Imports anything; nothing imports it."""
