"""The one exception that users are meant to see, and the one exit code that asks to be started again."""

# A command ended because it was asked to (USR1, TERM), with its state saved: start it again and it goes on.
REQUEUE = 85


class InputError(Exception):
    """Something outside the program is wrong: a file, an option, a resource.

    The message is the whole explanation: it names the file (and line or utterance) and the remedy.
    Commands print it without a traceback and exit 1.
    """
