"""What the computer is and can do."""
