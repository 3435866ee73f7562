"""Run a command as an array of tasks, watch it, say why it failed.

`arguments` reads Kaldi's command line, `task` runs one task with its log and result, `local` runs an array
on this machine, `result` is what a task leaves behind, `report` is what the user sees. A cluster back-end
replaces `local` alone. Standard library only, Python 3.9 or later.
"""
