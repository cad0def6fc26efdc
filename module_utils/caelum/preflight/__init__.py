"""What cannot work is refused before anything is built: one line that says what, where and the remedy."""
