"""What holds for all tests."""

import signal

# A job in the background may have been started with Ctrl-C ignored, and its children inherit that;
# the tests send it to owctl as a user's terminal does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
