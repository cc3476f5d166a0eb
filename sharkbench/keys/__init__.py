"""What the name of a result is made of: settings that were stated, and the code that makes it."""
