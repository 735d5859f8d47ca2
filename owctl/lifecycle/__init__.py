"""Plan what has to change, carry it out, wait until the services answer."""
