"""One file a command: parse, call one function of a room below, render."""
