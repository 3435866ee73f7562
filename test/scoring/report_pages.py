"""A report.html for a test: written with few resamples, and its parts to look at."""

import base64
import json
import re

from espnet_sld.bin import report
from espnet_sld.scoring.report.build import write_experiment_report
from espnet_sld.scoring.report.media import Limits

FEW = Limits(resamples=200)


def write(experiment, limits=FEW):
    """The page of an experiment, with audio and images."""
    made = write_experiment_report(experiment, report.read_samples, limits, None, report.read_pictures)
    return made.path.read_text()


def data_of(page):
    """What the page's program reads."""
    return json.loads(re.search(r"<script type=application/json id=data>(.*?)</script>", page, re.S)[1])


def section(page, name):
    """One section's HTML."""
    return re.search(rf'<section id="{name}">.*?</section>', page, re.S)[0]


def plain(html):
    """HTML without its tags."""
    return re.sub(r"<[^>]+>", " ", html).replace("&#x27;", "'")


def decoded(address):
    """The bytes of a `data:` address."""
    return base64.b64decode(address.partition(",")[2])
