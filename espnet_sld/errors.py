"""The one exception that users are meant to see."""


class InputError(Exception):
    """Something outside the program is wrong: a file, an option, a resource.

    The message is the whole explanation: it names the file (and line or utterance) and the remedy.
    Commands print it without a traceback and exit 1.
    """
