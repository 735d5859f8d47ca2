"""One file per kind of member: how each is captured."""
