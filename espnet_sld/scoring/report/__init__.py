"""`report.html`: one self-contained page of an experiment, and one over all experiments of a recipe.

Nothing here loads torch or ESPnet; a page is a function of the files that it shows. Audio is read by the
caller (`bin/report.py`), since this room does not know data directories.
"""
