"""What managed nodes share: transitions, process, signals."""
